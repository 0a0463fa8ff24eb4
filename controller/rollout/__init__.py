# SPDX-License-Identifier: Apache-2.0
"""Options go into networks and out of them step by step; slots rest before they are given again."""
