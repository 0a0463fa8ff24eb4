# SPDX-License-Identifier: Apache-2.0
"""One file a behaviour; each returns flows."""
