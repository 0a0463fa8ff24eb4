# SPDX-License-Identifier: Apache-2.0
"""A stand-in for a NIC with flow offload: the kernel module standin_nic, what builds it, and how a test uses it.

It shows the control path only: which rules a driver is given, and what the rest does when it refuses them. It offloads
nothing, and says so in its driver's name. No figure taken with it says anything about a NIC.
"""
