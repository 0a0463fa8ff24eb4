# SPDX-License-Identifier: Apache-2.0
"""From intent to flows, groups and TLV maps: pure."""
