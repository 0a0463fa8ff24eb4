# SPDX-License-Identifier: Apache-2.0
"""Where the intent outlives the process: what `service.py` asks of a store, and one that only remembers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from controller.errors import StoreUnavailable
from controller.intent.intent import Intent
from controller.intent.model import Change, ObjectKey


class IntentStore(Protocol):
    """Keeps one intent for one writer."""

    async def load(self) -> Intent:
        """Return what is stored now; raise StoreUnavailable when that cannot be told."""
        ...

    async def commit(self, changes: Sequence[Change], base: Intent, revision: int, last_key: int) -> None:
        """Store the changes, all or none of them, and return once they are durable.

        At most one change an object (`merged`). `base` is the intent they were decided on. Raises
        StoreUnavailable when nothing was stored or nobody can tell: load again before the next commit.
        """
        ...

    async def close(self) -> None:
        """Let go of what the store holds; it is not used afterwards."""
        ...


class MemoryStore:
    """A store that lasts as long as the object; for tests and throw-away controllers."""

    def __init__(self, intent: Intent | None = None) -> None:
        self._intent = intent if intent is not None else Intent()

    async def load(self) -> Intent:
        """Return what was committed last."""
        return self._intent

    async def commit(self, changes: Sequence[Change], base: Intent, revision: int, last_key: int) -> None:
        """Remember the changes."""
        if base.revision != self._intent.revision:
            raise StoreUnavailable(f"stored is revision {self._intent.revision}, not {base.revision}")
        after = self._intent.with_changes(changes, revision)
        self._intent = replace(after, last_key=ObjectKey(last_key))

    async def close(self) -> None:
        """Do nothing: there is nothing to let go."""
