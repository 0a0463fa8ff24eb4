# SPDX-License-Identifier: Apache-2.0
"""GENEVE on the wire, RFC 8926."""
