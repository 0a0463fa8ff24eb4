# SPDX-License-Identifier: Apache-2.0
"""REST under /v1."""
