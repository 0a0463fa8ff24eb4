# SPDX-License-Identifier: Apache-2.0
"""What users declared, and where it is kept."""
