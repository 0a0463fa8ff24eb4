# SPDX-License-Identifier: Apache-2.0
"""Keeps the pauses of Python's garbage collector short while a large intent is in memory."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from types import TracebackType

THRESHOLDS = (5000, 5, 5)
"""A transaction of 256 ports makes some 8,000 short-lived lists: with Python's 700 allocations a collection looked at
them twelve times over. Collecting took 1.27 s of processor time for 40,000 ports then, and 0.91 s with these."""

LONG_SECONDS = 0.02
"A full collection that takes longer met much that stays: with 60,000 ports not frozen it took 1.0 s."

THAW_EVERY = 64
"Freezes after which everything is looked at once more."

_OLDEST = 2


class Collector:
    """Takes what stays out of the collector's sight (gc.freeze), at the start and as the intent grows; a context.

    Until `start` the collector rests: what is loaded and compiled first all stays.

    Objects of the intent live long and form no cycles, yet every full collection walks over all of them: with
    60,000 ports written, each took up to 1.0 s of processor time and all together a quarter of the controller's;
    frozen as they come, 0.07 s and a fortieth. What is frozen is freed as before when its last reference goes. A
    cycle that was alive at a freeze (a connection, a request under way) is not, hence the thaw.
    """

    def __init__(self, *, long_seconds: float = LONG_SECONDS, thaw_every: int = THAW_EVERY) -> None:
        self._long_seconds = long_seconds
        self._thaw_every = thaw_every
        self._began = 0.0
        self._freezes = 0
        self._thresholds = gc.get_threshold()

    def __enter__(self) -> Collector:
        gc.disable()
        return self

    def start(self) -> None:
        """Begin to collect, leaving aside what is there."""
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
        gc.callbacks.append(self._look)
        gc.enable()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._look in gc.callbacks:
            gc.callbacks.remove(self._look)
        gc.enable()
        gc.set_threshold(*self._thresholds)
        gc.unfreeze()

    def _look(self, phase: str, info: Mapping[str, int]) -> None:
        """Follow each collection's start and stop (gc.callbacks)."""
        if info["generation"] != _OLDEST:
            return
        if phase == "start":
            self._began = time.thread_time()
        elif time.thread_time() - self._began >= self._long_seconds:
            self._freezes += 1
            if self._freezes % self._thaw_every:
                gc.freeze()
            else:
                gc.unfreeze()  # the next full collection sees all, takes long, and freezes what is left
