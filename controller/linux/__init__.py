# SPDX-License-Identifier: Apache-2.0
"""From intent to what the kernel of a host without Open vSwitch should hold (docs/linux-hosts.md)."""
