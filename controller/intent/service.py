# SPDX-License-Identifier: Apache-2.0
"""The one writer of the intent.

    submit ─► waiting ─► evaluate each on what the former left ─► one commit ─► the store tells ─► answers
                ▲         refused ones change nothing              durable        it moved
                └───────────────── overtaken: again ──────────────────┘           └─► intent moves ─► on_change

Nobody sees an intent that is not durable, and nobody is answered before everybody could see it. What other
controllers write comes the same way, from the store; a batch that they overtook is decided again, so that an answer,
refusals too, always rests on what was stored at some moment after the question. Commands that
wait while a commit is under way share the next one, so that a slow disk costs latency and not throughput.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from controller.errors import IntentError, Overtaken, StoreUnavailable
from controller.intent.commands import Command, evaluate
from controller.intent.intent import Intent, merged
from controller.intent.model import AnyObject, Change
from controller.intent.store import IntentStore

MAX_BATCH = 64
"Commands a commit: evaluating more would hold up the loop by more than about 10 ms."

_GRACE = 3
"Times to be overtaken before a batch is made smaller and waits: other controllers are as busy."

_PAUSE = 0.002
"Seconds to wait then, at most, for each time."

OnChange = Callable[[Intent, Intent, Sequence[Change]], None]
"Called with the intent before, after, and what changed: at most one change an object."


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a command."""

    object: AnyObject | None
    "As stored; None when it is gone."
    created: bool
    revision: int
    "The intent's revision that holds the result."
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    command: Command
    then: Command | None
    answer: asyncio.Future[Result]


class IntentService:
    """Takes commands one by one, stores them in batches, and tells what changed."""

    def __init__(self, store: IntentStore, *, require_match: bool = False) -> None:
        self._store = store
        self._require_match = require_match
        self._intent = Intent()
        self._waiting = deque[_Waiting]()
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self.on_change: OnChange = _ignore
        "Called in the loop, after the commit and before the answers; must not block."

    @property
    def intent(self) -> Intent:
        """The intent as committed last."""
        return self._intent

    @property
    def is_certain(self) -> bool:
        """Tell whether commands can be stored: the store answers."""
        return self._writer is not None and self._store.is_following

    async def start(self) -> None:
        """Load what is stored and begin to take commands; raise StoreUnavailable when it does not answer."""
        await self._store.follow(self._moved)
        self._writer = asyncio.create_task(self._write(), name="intent-writer")

    async def stop(self) -> None:
        """End after the commit under way; what still waits gets StoreUnavailable. The store stays open."""
        writer, self._writer = self._writer, None
        self._wake.set()
        if writer is not None:
            await writer

    async def submit(self, command: Command, then: Command | None = None) -> Result:
        """Decide on a command and store what it changes; return once that is durable.

        What follows from it, `then`, is stored in the same commit; if that is refused, the command stands alone.

        Raises an IntentError when it is refused. With StoreUnavailable nothing was stored, or nobody can
        tell yet; every command may be sent again. A caller that is cancelled meanwhile leaves its
        command in the batch.
        """
        return await self.enqueue(command, then)

    def enqueue(self, command: Command, then: Command | None = None) -> asyncio.Future[Result]:
        """Submit without waiting: commands that are enqueued in one go share commits."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if self._writer is None:
            answer.set_exception(StoreUnavailable("the controller is stopping"))
        else:
            self._waiting.append(_Waiting(command=command, then=then, answer=answer))
            self._wake.set()
        return answer

    async def _write(self) -> None:
        try:
            while self._writer is not None:
                if not self._waiting:
                    self._wake.clear()
                    await self._wake.wait()
                if self._waiting and self._writer is not None:
                    await self._process(self._next_batch())
        finally:
            self._writer = None
            _refuse(self._waiting, StoreUnavailable("the controller is stopping"))

    def _next_batch(self) -> list[_Waiting]:
        size = min(MAX_BATCH, len(self._waiting))
        return [self._waiting.popleft() for _ in range(size)]

    async def _process(self, batch: list[_Waiting]) -> None:
        for overtaken in itertools.count():
            batch = await self._yield(batch, overtaken)
            try:
                outcomes = await self._decide(batch)
            except Overtaken:
                continue
            except Exception as error:
                # Refusals fail too: they may rest on what a neighbour in the batch was about to change.
                _refuse(batch, error)
            else:
                for waiting, outcome in zip(batch, outcomes, strict=True):
                    _answer(waiting, outcome)
            break

    async def _decide(self, batch: Sequence[_Waiting]) -> list[Result | Exception]:
        base = self._intent
        outcomes, after = self._evaluate(batch)
        results = [outcome for outcome in outcomes if isinstance(outcome, Result)]
        changes = merged(change for result in results for change in result.changes)
        await self._store.commit(base, after, changes)
        return outcomes

    async def _yield(self, batch: list[_Waiting], overtaken: int) -> list[_Waiting]:
        """Let others go first, and try with less, which is quicker, if they did so over and over."""
        if overtaken < _GRACE:
            return batch
        await asyncio.sleep(random.uniform(0, _PAUSE * overtaken))
        keep = (len(batch) + 1) // 2
        self._waiting.extendleft(reversed(batch[keep:]))
        return batch[:keep]

    def _evaluate(self, batch: Sequence[_Waiting]) -> tuple[list[Result | Exception], Intent]:
        intent = self._intent
        outcomes = list[Result | Exception]()
        for waiting in batch:
            try:
                decision = evaluate(intent, waiting.command, require_match=self._require_match)
            except Exception as error:
                # Not only IntentError: a fault of ours hits the command that met it, not its neighbours.
                outcomes.append(error)
                continue
            changes = decision.changes
            intent = _after(intent, changes)
            if waiting.then is not None:
                with suppress(IntentError):
                    more = evaluate(intent, waiting.then).changes
                    intent, changes = _after(intent, more), (*changes, *more)
            outcomes.append(
                Result(
                    object=decision.result,
                    created=decision.created,
                    revision=intent.revision,
                    changes=changes,
                )
            )
        return outcomes, intent

    def _moved(self, after: Intent, changes: Sequence[Change]) -> None:
        before, self._intent = self._intent, after
        if not changes:
            return
        try:
            self.on_change(before, after, changes)
        except Exception as error:
            # What is stored is stored, and its submitters must hear so.
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"on_change failed at revision {after.revision}", "exception": error}
            )


def _after(intent: Intent, changes: Sequence[Change]) -> Intent:
    return intent.with_changes(changes, intent.revision + 1) if changes else intent


def _answer(waiting: _Waiting, outcome: Result | Exception) -> None:
    if waiting.answer.done():
        return  # its caller was cancelled
    if isinstance(outcome, Result):
        waiting.answer.set_result(outcome)
    else:
        waiting.answer.set_exception(outcome)


def _refuse(batch: Iterable[_Waiting], error: Exception) -> None:
    for waiting in batch:
        _answer(waiting, error)


def _ignore(before: Intent, after: Intent, changes: Sequence[Change]) -> None:
    """Stand in until somebody wants to hear."""
