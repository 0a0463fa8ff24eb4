# SPDX-License-Identifier: Apache-2.0
"""The safety guard: finds bad options that peers send, keeps their good packets flowing, names the culprit."""
