# SPDX-License-Identifier: Apache-2.0
"""The intent in an OVSDB database, `schema.ovsschema`: embedded, alone or a cluster; for any number of controllers.

Each commit is one transaction that goes through only on the commit it was decided on and leaves a number of its own,
in Global.commit and, under its writer's name, in Global.writers. So a commit whose answer was lost is looked for
there, and sent again if it is not: it is never applied twice and never reported wrong, whoever else writes.
What is stored comes from a monitor, own commits included (`follower.py`).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from uuid import UUID, uuid4

from controller.errors import Overtaken, SetupError, StoreUnavailable
from controller.intent.follower import GLOBAL, IntentFollower, OwnCommit
from controller.intent.intent import Intent
from controller.intent.model import Change, Kind
from controller.intent.rows import TABLES, encode_row
from controller.intent.store import OnMoved
from ovs_geneve.errors import ConnectionLost, NotSupported, TransactionFailed, WaitTimedOut
from ovs_geneve.ovsdb.client import ConnectionState, OvsdbClient
from ovs_geneve.ovsdb.operations import (
    Commit,
    Delete,
    Input,
    InputAtom,
    Insert,
    NamedUuid,
    Operation,
    Update,
    Wait,
    where_uuid,
)
from ovs_geneve.ovsdb.schema import NO_UUID

DATABASE = "OVS_Geneve_Intent"

PATIENCE = 10.0
"Seconds to wait for a store that is away: longer than an election takes."

READ_SECONDS = 120.0
"For reading all rows, once the store answers: about 8 s for 100,000 ports."

_PAUSE = 0.01
"Seconds before another attempt, so that a server that hangs up at once does not keep us busy."

_UNDECIDED = frozenset({"cluster error", "not leader"})
"What a member of a cluster says when it lost its leader midway (OVS ovsdb/transaction.c, raft.c)."

_BROKEN = frozenset({"I/O error", "resources exhausted"})


class OvsdbStore:
    """Keeps the intent in the database at `remote`; a cluster's members are separated by commas.

    Leads its own connection, to the cluster's leader. `writer` is a name that no other store of the database
    has, and that this one had before. For one event loop; one commit at a time.
    """

    def __init__(
        self, remote: str, *, writer: str = "", tls: ssl.SSLContext | None = None, patience: float = PATIENCE
    ) -> None:
        self._writer = writer or str(uuid4())
        self._follower = IntentFollower()
        self._client = OvsdbClient(
            remote,
            DATABASE,
            {},
            tls=tls,
            leader_only=True,
            min_backoff=0.05,
            max_backoff=1.0,
            sync_timeout=READ_SECONDS,
            follower=self._follower,
            name=f"intent store {remote}",
        )
        self._patience = patience
        self._runner: asyncio.Task[None] | None = None

    @property
    def is_following(self) -> bool:
        """Tell whether the store answers."""
        return self._client.connected

    async def follow(self, on_moved: OnMoved) -> None:
        """Tell from now on what is stored; an empty database becomes an empty intent."""
        self._follower.on_moved = on_moved
        self._runner = asyncio.create_task(self._client.run(), name="intent-store")
        await self._patiently(self._initialise)

    async def commit(self, base: Intent, after: Intent, changes: Sequence[Change]) -> None:
        """Store the changes in one durable transaction."""
        commit = uuid4()
        operations: Sequence[Operation] = ()

        async def attempt() -> None:
            nonlocal operations
            if self._is_stored(commit):
                return  # by an attempt whose answer was lost
            if self._follower.intent is not base:
                raise Overtaken("another controller wrote to the intent store")
            operations = operations or self._operations(commit, base, after, changes)
            await self._send(operations, commit)

        if base is not after:
            self._follower.own = OwnCommit(commit=commit, base=base, after=after, changes=changes)
        try:
            await self._patiently(attempt)
        finally:
            self._follower.own = None

    async def close(self) -> None:
        """Hang up."""
        await self._client.close()
        if self._runner is not None:
            await self._runner

    def _is_stored(self, commit: UUID) -> bool:
        return self._follower.state.writers.get(self._writer) == commit

    async def _patiently(self, attempt: Callable[[], Awaitable[None]]) -> None:
        """Attempt until there is an answer; what is attempted must bear repetition."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._patience
        while True:
            await self._connected(ends)
            try:
                async with asyncio.timeout(self._patience):
                    return await attempt()
            except TimeoutError as error:
                raise self._unavailable() from error
            except ConnectionLost as error:
                if loop.time() > ends:
                    raise self._unavailable() from error
                await asyncio.sleep(_PAUSE)

    async def _connected(self, ends: float) -> None:
        """Wait until we know what is stored; contents that are on their way may take longer."""
        while not self._client.connected:
            try:
                async with asyncio.timeout_at(ends):
                    await self._client.ready()
            except TimeoutError as error:
                if self._client.state is ConnectionState.SYNCING:
                    ends += self._patience
                elif not self._client.connected:
                    raise self._unavailable() from error
            except ConnectionLost as error:
                raise self._unavailable() from error
            except NotSupported as error:
                raise SetupError(f"{self._client.name}: {error}") from error

    def _unavailable(self) -> StoreUnavailable:
        why = f": {self._client.last_error}" if self._client.last_error is not None else ""
        return StoreUnavailable(f"{self._client.name} does not answer{why}")

    async def _initialise(self) -> None:
        """Give an empty database its one row of Global."""
        if self._follower.state.commit != NO_UUID:
            return
        row: dict[str, Input] = {"revision": 0, "last_key": 0, "commit": uuid4()}
        nothing = Wait(GLOBAL, (), ("revision",), "==", ())
        with suppress(WaitTimedOut):  # another controller was first, which is as good
            await self._client.transact([nothing, Insert(GLOBAL, row), Commit()])

    async def _send(self, operations: Sequence[Operation], commit: UUID) -> None:
        """Send a commit once; by the time of its answer the monitor has told what the database holds then."""
        try:
            await self._client.transact(operations)
        except WaitTimedOut as error:
            if not self._is_stored(commit):
                raise Overtaken("another controller wrote to the intent store") from error
        except TransactionFailed as error:
            if error.error in _UNDECIDED:
                raise ConnectionLost(str(error)) from error
            if error.error in _BROKEN:
                raise StoreUnavailable(str(error)) from error
            raise

    def _operations(
        self, commit: UUID, base: Intent, after: Intent, changes: Sequence[Change]
    ) -> tuple[Operation, ...]:
        state = self._follower.state
        then: dict[str, Input] = {"revision": state.revision, "commit": state.commit}
        unmoved = Wait(GLOBAL, (), ("revision", "commit"), "==", (then,))
        if after is base:
            return (unmoved,)
        writers: dict[str, InputAtom] = {**state.writers, self._writer: commit}
        now: dict[str, Input] = {
            "revision": after.revision,
            "last_key": after.last_key,
            "commit": commit,
            "writers": writers,
        }
        made = {
            (change.kind, change.name): NamedUuid(f"new{position}")
            for position, change in enumerate(changes)
            if change.old is None
        }

        def row_of(kind: Kind, name: str) -> UUID | NamedUuid:
            return made.get((kind, name)) or self._follower.rows[kind][name]

        written = (_operation(change, row_of) for change in changes)
        return (unmoved, Update(GLOBAL, (), now), *written, Commit())


def _operation(change: Change, row_of: Callable[[Kind, str], UUID | NamedUuid]) -> Operation:
    table = TABLES[change.kind]
    row = row_of(change.kind, change.name)
    if change.new is None:
        return Delete(table, where_uuid(row))
    columns = encode_row(change.new, row_of)
    if isinstance(row, NamedUuid):
        return Insert(table, columns, uuid_name=row.name)
    return Update(table, where_uuid(row), columns)
