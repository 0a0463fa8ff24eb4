# SPDX-License-Identifier: Apache-2.0
"""A file a question; each prints one JSON document. README.md has the figures and how they were taken."""
