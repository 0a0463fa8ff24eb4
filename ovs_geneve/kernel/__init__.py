# SPDX-License-Identifier: Apache-2.0
"""The Linux kernel as a GENEVE endpoint: devices, bridges, neighbours, routes and traffic control, by netlink.

objects ─► plan(desired, observed) (pure) ─► steps ─► netlink
objects ─► render (pure) ─► the ip, bridge and tc commands that make the same
"""
