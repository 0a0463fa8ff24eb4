# SPDX-License-Identifier: Apache-2.0
"""Hands events from the loop to an os-ken app with a thread of its own, without ever waiting for it.

os-ken's queue of an app holds 128 events and blocks who puts one more. What does not fit waits here, in order,
up to `LIMIT`; beyond that the app is far behind, and events are dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

LOG = logging.getLogger(__name__)

LIMIT = 10_000
RETRY = 0.01
"Seconds until a full queue is tried again."


class Mailbox:
    """The way to one app. `app` has os-ken's `events` queue and the semaphore that counts its free places."""

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._app = app
        self._loop = loop
        self._waiting: deque[tuple[Any, Any]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.dropped = 0

    def put(self, event: tuple[Any, Any]) -> None:
        """Pass on an event and the state it is for."""
        if len(self._waiting) >= LIMIT:
            self.dropped += 1
            if self.dropped & (self.dropped - 1) == 0:  # 1, 2, 4, 8, …: a flood must not fill the log as well
                LOG.warning("app %s does not keep up: %d events dropped", self._app.name, self.dropped)
            return
        self._waiting.append(event)
        self._pass_on()

    def _pass_on(self) -> None:
        if not self._app.is_active:
            self._waiting.clear()
        while self._waiting and self._app._events_sem.acquire(blocking=False):
            self._app.events.put(self._waiting.popleft())
        if self._waiting and self._timer is None:
            self._timer = self._loop.call_later(RETRY, self._try_again)

    def _try_again(self) -> None:
        self._timer = None
        self._pass_on()
