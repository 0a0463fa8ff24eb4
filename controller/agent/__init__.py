# SPDX-License-Identifier: Apache-2.0
"""The agent of a host without Open vSwitch: keeps its kernel equal to what the controller says."""
