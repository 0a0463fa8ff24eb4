# SPDX-License-Identifier: Apache-2.0
"""The kernels of hosts without Open vSwitch, as the controller follows them: what agents are told and tell."""
