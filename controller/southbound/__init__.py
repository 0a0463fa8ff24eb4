# SPDX-License-Identifier: Apache-2.0
"""The I/O towards hosts: OVSDB and OpenFlow."""
