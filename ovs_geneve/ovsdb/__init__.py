# SPDX-License-Identifier: Apache-2.0
"""OVSDB (RFC 7047 and Open vSwitch's ovsdb-server(7) extensions)."""
