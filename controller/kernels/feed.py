# SPDX-License-Identifier: Apache-2.0
"""What one Linux host's agent has still to be told, and what it has still to acknowledge.

Parts that change while they wait to be sent are sent once, as they are then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from controller.linux.part import Part


class Feed:
    """The names of a host's parts that are to be sent, and the generations that are not acknowledged."""

    def __init__(self) -> None:
        self._turn = 0
        self._dirty: set[Part] = set()
        self._wake = asyncio.Event()
        self._pending: list[tuple[int, int]] = []
        "Generation and revision of changes that are not acknowledged, oldest first."
        self._sent = 0
        "The generation that an agent was told last: of later ones the oldest revision is enough."
        self._acknowledged = False
        self._closed = False
        self.generation = 0
        "Counts changes of what the host should hold."
        self.is_open = False

    @property
    def turn(self) -> int:
        """Say which agent follows: a number that the next one changes."""
        return self._turn

    def open(self) -> None:
        """Begin with another agent; until it says so nobody knows what its kernel has, the host may have booted."""
        self._turn += 1
        self._acknowledged = False
        self._dirty.clear()
        self._sent = self.generation
        self.is_open = True
        self._wake.set()

    def send_away(self) -> None:
        """End what the agent follows that does."""
        self._turn += 1
        self.is_open = False
        self._wake.set()

    def end(self, turn: int) -> bool:
        """End what an agent followed; False when another one follows already."""
        if turn != self._turn:
            return False
        self.is_open = False
        return True

    def close(self) -> None:
        """Send whoever follows away: there is no such host any more."""
        self._closed = True
        self._wake.set()

    def changed(self, parts: Iterable[Part], revision: int) -> None:
        """Take note that parts are others now."""
        self.generation += 1
        if self._pending and self._pending[-1][0] > self._sent:
            _, revision = self._pending.pop()
        self._pending.append((self.generation, revision))
        self._dirty.update(parts)
        self._wake.set()

    async def wait(self, turn: int, seconds: float) -> frozenset[Part] | None:
        """Return the parts that changed, none after some time; None when it is over for this agent."""
        try:
            async with asyncio.timeout(seconds):
                while not self._dirty and not self._is_over(turn):
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            return None if self._is_over(turn) else frozenset()
        if self._is_over(turn):
            self._wake.set()
            return None
        parts, self._dirty = frozenset(self._dirty), set()
        self._sent = self.generation
        return parts

    def acknowledge(self, generation: int) -> None:
        """Take note that the kernel is equal to this generation."""
        self._acknowledged = True
        self._pending = [one for one in self._pending if one[0] > generation]

    @property
    def behind_since(self) -> int | None:
        """Return the revision of the oldest change that the kernel may lack."""
        if self._pending:
            return min(revision for _, revision in self._pending)
        return None if self._acknowledged else 0

    def is_behind(self, revision: int) -> bool:
        """Tell whether the kernel may lack a change of this revision."""
        return not self._acknowledged or any(changed <= revision for _, changed in self._pending)

    def _is_over(self, turn: int) -> bool:
        return self._closed or turn != self._turn
