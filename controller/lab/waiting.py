# SPDX-License-Identifier: Apache-2.0
"""Waiting for what a daemon does in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable

from controller.lab.errors import LabError

_EVERY = 0.05


def wait_until(condition: Callable[[], bool], timeout: float, what: str, hint: str = "") -> None:
    """Return when `condition` holds. Raises LabError, with what was waited for, after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise LabError(f"waited {timeout:g} s in vain for {what}", hint)
        time.sleep(_EVERY)
