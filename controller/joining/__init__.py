# SPDX-License-Identifier: Apache-2.0
"""A machine becomes a host, or ceases to be one: what is seen of it, which steps follow, and taking them.

`facts.py` and `steps.py` are values, `join.py` and `leave.py` decide (pure); `observe.py` looks, `carry_out.py` acts.
"""
