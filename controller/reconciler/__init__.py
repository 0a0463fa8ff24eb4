# SPDX-License-Identifier: Apache-2.0
"""Keeps every host equal to what the compiler says."""
