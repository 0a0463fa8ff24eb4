# SPDX-License-Identifier: Apache-2.0
"""How long a test waits for what should take milliseconds: longer on a machine that is known to be slow.

Where the kernel under test is emulated (tests/vm) a process starts twenty to thirty times slower; the environment
variable PATIENCE then says by what to multiply.
"""

import os
import time
from collections.abc import Callable

FACTOR = float(os.environ.get("PATIENCE", "1"))


def patient(seconds: float) -> float:
    """Return how long to wait for something that takes so many seconds at most on an idle machine."""
    return seconds * FACTOR


def until(what: Callable[[], object], seconds: float, why: str) -> None:
    """Return when something is so; fail for this reason when it is not within so many seconds."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, why
        time.sleep(0.2)
