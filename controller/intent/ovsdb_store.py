# SPDX-License-Identifier: Apache-2.0
"""The intent in an OVSDB database, `schema.ovsschema`: embedded, alone or a cluster.

Each commit is one transaction that goes through only on the revision it was decided on and leaves a number of its
own, Global.commit. So a commit whose answer was lost is simply sent again: if the first one was stored after all, the
second is refused, and the number tells that it was ours. It is never applied twice and never reported wrong.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID, uuid4

from controller.errors import StoreUnavailable
from controller.intent.intent import Intent
from controller.intent.model import AnyObject, Change, Kind
from controller.intent.rows import TABLES, decode_row, encode_row
from ovs_geneve.errors import ConnectionLost, DecodeError, TransactionFailed, WaitTimedOut
from ovs_geneve.ovsdb.client import OvsdbClient
from ovs_geneve.ovsdb.operations import (
    Commit,
    Delete,
    Input,
    Insert,
    NamedUuid,
    Operation,
    Select,
    Update,
    Wait,
    where_uuid,
)
from ovs_geneve.ovsdb.results import OperationResult
from ovs_geneve.ovsdb.schema import NO_UUID, Value

T = TypeVar("T")
Columns = Mapping[str, Value]

DATABASE = "OVS_Geneve_Intent"

PATIENCE = 10.0
"Seconds to wait for a store that is away: longer than an election takes."

_PAUSE = 0.01
"Seconds before another attempt, so that a server that hangs up at once does not keep us busy."

_UNDECIDED = frozenset({"cluster error", "not leader"})
"What a member of a cluster says when it lost its leader midway (OVS ovsdb/transaction.c, raft.c)."

_BROKEN = frozenset({"I/O error", "resources exhausted"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Snapshot:
    """What one read of the database found."""

    intent: Intent
    commit: UUID
    rows: Mapping[Kind, dict[str, UUID]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Transaction:
    """One commit, ready to be sent as often as it takes."""

    commit: UUID
    operations: tuple[Operation, ...]
    inserts: tuple[tuple[int, Change], ...]
    "Where among the operations the inserts are."


class OvsdbStore:
    """Keeps the intent in the database at `remote`; a cluster's members are separated by commas.

    Leads its own connection, to the cluster's leader. For one event loop and one writer.
    """

    def __init__(self, remote: str, *, tls: ssl.SSLContext | None = None, patience: float = PATIENCE) -> None:
        self._client = OvsdbClient(
            remote,
            DATABASE,
            {"Global": ["revision"]},
            tls=tls,
            leader_only=True,
            min_backoff=0.05,
            max_backoff=1.0,
            name=f"intent store {remote}",
        )
        self._patience = patience
        self._runner: asyncio.Task[None] | None = None
        self._rows: Mapping[Kind, dict[str, UUID]] = {kind: {} for kind in Kind}
        self._commit = NO_UUID
        "The last commit we know to be stored."
        self._base: Intent | None = None
        "The intent as of that commit, while the fate of a later one is open."

    async def load(self) -> Intent:
        """Return what is stored now; an empty database becomes an empty intent."""
        if self._runner is None:
            self._runner = asyncio.create_task(self._client.run(), name="intent-store")
        if self._base is not None and await self._patiently(self._stored_commit) == self._commit:
            base, self._base = self._base, None
            return base
        return (await self._learn()).intent

    async def commit(self, changes: Sequence[Change], base: Intent, revision: int, last_key: int) -> None:
        """Store the changes in one durable transaction."""
        transaction = self._transaction(changes, base, revision, last_key)
        self._base = base
        results = await self._patiently(lambda: self._send(transaction))
        if results is None:
            await self._learn()
            return
        self._base, self._commit = None, transaction.commit
        for change in changes:
            if change.new is None:
                del self._rows[change.kind][change.name]
        for position, change in transaction.inserts:
            uuid = results[position].uuid
            assert uuid is not None  # an insert's result has one
            self._rows[change.kind][change.name] = uuid

    async def close(self) -> None:
        """Hang up."""
        await self._client.close()
        if self._runner is not None:
            await self._runner

    async def _learn(self) -> _Snapshot:
        snapshot = await self._patiently(self._read)
        self._rows, self._commit, self._base = snapshot.rows, snapshot.commit, None
        return snapshot

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Attempt until there is an answer; what is attempted must bear repetition."""
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    await self._client.ready()
                    try:
                        return await attempt()
                    except ConnectionLost:
                        await asyncio.sleep(_PAUSE)
        except TimeoutError as error:
            why = f": {self._client.last_error}" if self._client.last_error is not None else ""
            raise StoreUnavailable(f"{self._client.name} does not answer{why}") from error
        except ConnectionLost as error:
            raise StoreUnavailable(str(error)) from error

    async def _send(self, transaction: _Transaction) -> tuple[OperationResult, ...] | None:
        """Return the results, or None when an earlier attempt was stored and its results are lost."""
        try:
            return await self._client.transact(transaction.operations)
        except WaitTimedOut as error:
            if await self._stored_commit() == transaction.commit:
                return None
            raise StoreUnavailable("another controller wrote to the intent store") from error
        except TransactionFailed as error:
            if error.error in _UNDECIDED:
                raise ConnectionLost(str(error)) from error
            if error.error in _BROKEN:
                raise StoreUnavailable(str(error)) from error
            raise

    async def _stored_commit(self) -> UUID:
        (found,) = await self._client.transact([Select("Global", (), ("commit",))])
        commit = found.rows[0]["commit"] if found.rows else NO_UUID
        assert isinstance(commit, UUID)  # its column is of that type
        return commit

    async def _read(self) -> _Snapshot:
        columns = ("revision", "last_key", "commit")
        schema = self._client.replica.schema
        assert schema is not None  # we are connected
        selects = [
            Select(table, (), [*(schema.tables[table].keys() - {"_version"})]) for table in TABLES.values()
        ]
        globals_, *found = await self._client.transact([Select("Global", (), columns), *selects])
        if not globals_.rows:
            await self._initialise()
            return await self._read()
        tables = {kind: result.rows for kind, result in zip(TABLES, found, strict=True)}
        return _decode(globals_.rows[0], tables)

    async def _initialise(self) -> None:
        row: dict[str, Input] = {"revision": 0, "last_key": 0, "commit": uuid4()}
        nothing = Wait("Global", (), ("revision",), "==", ())
        try:
            await self._client.transact([nothing, Insert("Global", row), Commit()])
        except WaitTimedOut:
            return  # another controller was first, which is as good

    def _transaction(
        self, changes: Sequence[Change], base: Intent, revision: int, last_key: int
    ) -> _Transaction:
        commit = uuid4()
        made = {
            (change.kind, change.name): NamedUuid(f"new{position}")
            for position, change in enumerate(changes)
            if change.old is None
        }

        def row_of(kind: Kind, name: str) -> UUID | NamedUuid:
            return made.get((kind, name)) or self._rows[kind][name]

        now: dict[str, Input] = {"revision": revision, "last_key": last_key, "commit": commit}
        then: dict[str, Input] = {"revision": base.revision, "commit": self._commit}
        before = (
            Wait("Global", (), ("revision", "commit"), "==", (then,)),
            Update("Global", (), now),
        )
        operations = [_operation(change, row_of) for change in changes]
        return _Transaction(
            commit=commit,
            operations=(*before, *operations, Commit()),
            inserts=tuple(
                (len(before) + position, change)
                for position, change in enumerate(changes)
                if change.old is None
            ),
        )


def _operation(change: Change, row_of: Callable[[Kind, str], UUID | NamedUuid]) -> Operation:
    table = TABLES[change.kind]
    row = row_of(change.kind, change.name)
    if change.new is None:
        return Delete(table, where_uuid(row))
    columns = encode_row(change.new, row_of)
    if isinstance(row, NamedUuid):
        return Insert(table, columns, uuid_name=row.name)
    return Update(table, where_uuid(row), columns)


def _decode(state: Columns, tables: Mapping[Kind, Sequence[Columns]]) -> _Snapshot:
    known = dict[UUID, AnyObject]()
    rows = {kind: dict[str, UUID]() for kind in Kind}
    for kind, found in tables.items():
        for columns in found:
            held = decode_row(kind, columns, known)
            uuid = columns["_uuid"]
            assert isinstance(uuid, UUID)  # every row has one
            known[uuid] = held
            rows[kind][held.name] = uuid
    revision, last_key, commit = state["revision"], state["last_key"], state["commit"]
    if not (isinstance(revision, int) and isinstance(last_key, int) and isinstance(commit, UUID)):
        raise DecodeError("Global", "columns of other types than ours")
    return _Snapshot(intent=Intent.of(known.values(), revision, last_key), commit=commit, rows=rows)
