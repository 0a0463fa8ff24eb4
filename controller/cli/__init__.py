# SPDX-License-Identifier: Apache-2.0
"""The command ovs-geneve, a file a noun."""
