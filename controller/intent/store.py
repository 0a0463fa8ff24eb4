# SPDX-License-Identifier: Apache-2.0
"""Where the intent outlives the process: what `service.py` asks of a store, and one that only remembers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from controller.errors import Overtaken
from controller.intent.intent import Intent
from controller.intent.model import Change

OnMoved = Callable[[Intent, Sequence[Change]], None]
"""Called with the stored intent each time it changed, and with what changed: in order, nothing twice, at most one
change an object. The first call gives all that is stored and names no changes."""


class IntentStore(Protocol):
    """Keeps one intent for any number of writers."""

    @property
    def is_following(self) -> bool:
        """Tell whether the store answers, so that what was told last is what is stored."""
        ...

    async def follow(self, on_moved: OnMoved) -> None:
        """Tell from now on what is stored, whoever wrote it; return when the whole was told.

        Raises StoreUnavailable when the store does not answer.
        """
        ...

    async def commit(self, base: Intent, after: Intent, changes: Sequence[Change]) -> None:
        """Store the changes that lead from `base` to `after`, all or none, and return once they are durable.

        `base` is the intent told last: the very object. By the time this returns, `after` has been told. When they
        are the same, it only makes sure that this is what is stored. Raises Overtaken when somebody else's
        commit came first, and StoreUnavailable when nothing was stored or nobody can tell.
        """
        ...

    async def close(self) -> None:
        """Let go of what the store holds; it is not used afterwards."""
        ...


class MemoryStore:
    """A store that lasts as long as the object, for as many services as like; for tests."""

    is_following = True

    def __init__(self, intent: Intent | None = None) -> None:
        self.intent = intent if intent is not None else Intent()
        self._followers: list[OnMoved] = []

    async def follow(self, on_moved: OnMoved) -> None:
        """Tell what was committed last, and what will be."""
        self._followers.append(on_moved)
        on_moved(self.intent, ())

    async def commit(self, base: Intent, after: Intent, changes: Sequence[Change]) -> None:
        """Remember the changes."""
        if base is not self.intent:
            raise Overtaken("another commit came first")
        if after is not base:
            self.intent = after
            for on_moved in self._followers:
                on_moved(after, changes)

    async def close(self) -> None:
        """Do nothing: there is nothing to let go."""
