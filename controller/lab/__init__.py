# SPDX-License-Identifier: Apache-2.0
"""Hosts in network namespaces."""
