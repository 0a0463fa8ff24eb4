# SPDX-License-Identifier: Apache-2.0
"""The one writer of the intent.

    submit ─► waiting ─► evaluate each on what the former left ─► one commit ─► intent moves ─► on_change ─► answers
                          refused ones change nothing              durable

Nobody sees an intent that is not durable, and nobody is answered before everybody could see it. Commands that
wait while a commit is under way share the next one, so that a slow disk costs latency and not throughput.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from controller.errors import StoreUnavailable
from controller.intent.commands import Command, Decision, evaluate
from controller.intent.intent import Intent, difference, merged
from controller.intent.model import AnyObject, Change
from controller.intent.store import IntentStore

MAX_BATCH = 256
"Commands a commit: evaluating more would hold up the loop by more than about 10 ms."

RELOAD_SECONDS = 1.0
"How often to look at a store whose last commit failed, while nobody asks."

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
    answer: asyncio.Future[Result]


class IntentService:
    """Takes commands one by one, stores them in batches, and tells what changed."""

    def __init__(self, store: IntentStore, *, require_match: bool = False) -> None:
        self._store = store
        self._require_match = require_match
        self._intent = Intent()
        self._waiting = deque[_Waiting]()
        self._wake = asyncio.Event()
        self._in_doubt = False
        "The last commit failed: what is stored has to be looked at before anything else is."
        self._writer: asyncio.Task[None] | None = None
        self.on_change: OnChange = _ignore
        "Called in the loop, after the commit and before the answers; must not block."

    @property
    def intent(self) -> Intent:
        """The intent as committed last."""
        return self._intent

    @property
    def is_certain(self) -> bool:
        """Tell whether commands can be stored: the last commit went through, or nobody tried yet."""
        return self._writer is not None and not self._in_doubt

    async def start(self) -> None:
        """Load what is stored and begin to take commands; raise StoreUnavailable when it does not answer."""
        self._intent = await self._store.load()
        self._writer = asyncio.create_task(self._write(), name="intent-writer")

    async def stop(self) -> None:
        """End after the commit under way; what still waits gets StoreUnavailable. The store stays open."""
        writer, self._writer = self._writer, None
        self._wake.set()
        if writer is not None:
            await writer

    async def submit(self, command: Command) -> Result:
        """Decide on a command and store what it changes; return once that is durable.

        Raises an IntentError when it is refused. With StoreUnavailable nothing was stored, or nobody can
        tell yet; every command may be sent again. A caller that is cancelled meanwhile leaves its
        command in the batch.
        """
        return await self.enqueue(command)

    def enqueue(self, command: Command) -> asyncio.Future[Result]:
        """Submit without waiting: commands that are enqueued in one go share a commit."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if self._writer is None:
            answer.set_exception(StoreUnavailable("the controller is stopping"))
        else:
            self._waiting.append(_Waiting(command=command, answer=answer))
            self._wake.set()
        return answer

    async def _write(self) -> None:
        try:
            while self._writer is not None:
                await self._work()
                batch = self._next_batch()
                if await self._is_certain(batch) and batch:
                    await self._process(batch)
        finally:
            self._writer = None
            _refuse(self._waiting, StoreUnavailable("the controller is stopping"))

    async def _work(self) -> None:
        """Wait until there is something to do."""
        if self._waiting or self._writer is None:
            return
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(RELOAD_SECONDS if self._in_doubt else None):
                await self._wake.wait()

    def _next_batch(self) -> list[_Waiting]:
        size = min(MAX_BATCH, len(self._waiting))
        return [self._waiting.popleft() for _ in range(size)]

    async def _is_certain(self, batch: Sequence[_Waiting]) -> bool:
        """Tell whether our intent is the stored one; after a failed commit, look, and refuse while blind."""
        if not self._in_doubt:
            return True
        try:
            stored = await self._store.load()
        except StoreUnavailable as error:
            _refuse(batch, error)
            return False
        self._in_doubt = False
        self._publish(stored, difference(self._intent, stored))
        return True

    async def _process(self, batch: Sequence[_Waiting]) -> None:
        outcomes, after = self._evaluate(batch)
        results = [outcome for outcome in outcomes if isinstance(outcome, Result)]
        changes = merged(change for result in results for change in result.changes)
        if after.revision != self._intent.revision:
            try:
                await self._store.commit(changes, self._intent, after.revision, after.last_key)
            except Exception as error:
                # Refusals fail too: they may rest on what a neighbour in the batch was about to change.
                self._in_doubt = True
                _refuse(batch, error)
                return
            self._publish(after, changes)
        for waiting, outcome in zip(batch, outcomes, strict=True):
            _answer(waiting, outcome)

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
            if decision.changes:
                intent = intent.with_changes(decision.changes, intent.revision + 1)
            outcomes.append(_result(decision, intent.revision))
        return outcomes, intent

    def _publish(self, after: Intent, changes: Sequence[Change]) -> None:
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


def _result(decision: Decision, revision: int) -> Result:
    return Result(
        object=decision.result, created=decision.created, revision=revision, changes=decision.changes
    )


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
