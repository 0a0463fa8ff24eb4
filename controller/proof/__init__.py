# SPDX-License-Identifier: Apache-2.0
"""Proves of compiled flows that networks are isolated; docs/decisions/0016-isolation-proof.md says how."""
