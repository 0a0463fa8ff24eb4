# SPDX-License-Identifier: Apache-2.0
"""The wire: GENEVE, OpenFlow as Open vSwitch speaks it, OVSDB. Knows no policy, imports no controller."""
