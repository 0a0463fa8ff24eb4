# SPDX-License-Identifier: Apache-2.0
"""Which packets a NIC can take off the processors: by what its driver is written to accept, by what it did accept."""
