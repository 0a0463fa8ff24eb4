# SPDX-License-Identifier: Apache-2.0
"""How long a test waits for what should take milliseconds: longer on a machine that is known to be slow.

Where the kernel under test is emulated (tests/vm) a process starts twenty to thirty times slower; the environment
variable PATIENCE then says by what to multiply.
"""

import os

FACTOR = float(os.environ.get("PATIENCE", "1"))


def patient(seconds: float) -> float:
    """Return how long to wait for something that takes so many seconds at most on an idle machine."""
    return seconds * FACTOR
