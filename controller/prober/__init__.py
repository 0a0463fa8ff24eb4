# SPDX-License-Identifier: Apache-2.0
"""Proves with packets that hosts reach each other, with the options they should carry and at the size they should."""
