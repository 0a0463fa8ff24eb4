# SPDX-License-Identifier: Apache-2.0
"""What hosts on this machine do with offload, for reports."""
