# SPDX-License-Identifier: Apache-2.0
"""The intent in an OVSDB database, `schema.ovsschema`: embedded, alone or a cluster.

Each commit is one transaction that goes through only on the revision it was decided on and leaves a number of its
own, Global.commit. So a commit whose answer was lost is simply sent again: if the first one was stored after all, the
second is refused, and the number tells that it was ours. It is never applied twice and never reported wrong.
"""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import UUID, uuid4

from controller.errors import StoreUnavailable
from controller.intent.intent import Intent
from controller.intent.model import AnyObject, Change, Kind, ObjectKey
from controller.intent.rows import TABLES, decode_row, encode_row
from ovs_geneve.errors import ConnectionLost, DecodeError, TransactionFailed, WaitTimedOut
from ovs_geneve.ovsdb.client import OvsdbClient
from ovs_geneve.ovsdb.operations import (
    Commit,
    Condition,
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
from ovs_geneve.ovsdb.schema import NO_UUID, Value

T = TypeVar("T")
Columns = Mapping[str, Value]

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

_OPERATIONS_BEFORE = 2
"Operations of a commit that precede those of the changes."

_NewRows = Mapping[tuple[Kind, str], UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Snapshot:
    """What one read of the database found."""

    intent: Intent
    commit: UUID
    rows: Mapping[Kind, dict[str, UUID]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Transaction:
    """One commit, ready to be sent as often as it takes, and what it makes of the intent."""

    commit: UUID
    base: Intent
    changes: Sequence[Change]
    revision: int
    last_key: int
    operations: tuple[Operation, ...]

    @property
    def after(self) -> Intent:
        """The intent once this is stored."""
        after = self.base.with_changes(self.changes, self.revision)
        return replace(after, last_key=ObjectKey(self.last_key))

    def inserted(self) -> Iterator[tuple[int, Change]]:
        """Yield the objects that get a new row, and where among the operations that is."""
        return (
            (position, change)
            for position, change in enumerate(self.changes, start=_OPERATIONS_BEFORE)
            if change.old is None
        )


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
        self._doubtful: _Transaction | None = None
        "The commit after it, as long as its fate is open."

    async def load(self) -> Intent:
        """Return what is stored now; an empty database becomes an empty intent.

        All rows are read at the start, and when somebody else wrote. After a commit of ours that failed, a
        look at Global tells enough.
        """
        if self._runner is None:
            self._runner = asyncio.create_task(self._client.run(), name="intent-store")
        stored = await self._patiently(self._stored_commit)
        doubtful = self._doubtful
        if doubtful is not None and stored == self._commit:
            self._doubtful = None
            return doubtful.base
        if doubtful is not None and stored == doubtful.commit:
            self._adopt(doubtful, await self._patiently(lambda: self._find_rows(doubtful)))
            return doubtful.after
        with _collector_at_rest():
            snapshot = await self._patiently(self._read, max(self._patience, READ_SECONDS))
        self._rows, self._commit, self._doubtful = snapshot.rows, snapshot.commit, None
        return snapshot.intent

    async def commit(self, changes: Sequence[Change], base: Intent, revision: int, last_key: int) -> None:
        """Store the changes in one durable transaction."""
        transaction = self._transaction(changes, base, revision, last_key)
        self._doubtful = transaction
        rows = await self._patiently(lambda: self._send(transaction))
        if rows is None:
            rows = await self._patiently(lambda: self._find_rows(transaction))
        self._adopt(transaction, rows)

    async def close(self) -> None:
        """Hang up."""
        await self._client.close()
        if self._runner is not None:
            await self._runner

    def _adopt(self, transaction: _Transaction, rows: _NewRows) -> None:
        """Take over what a stored transaction did to the rows."""
        for change in transaction.changes:
            if change.new is None:
                del self._rows[change.kind][change.name]
        for kind, name in rows:
            self._rows[kind][name] = rows[kind, name]
        self._commit, self._doubtful = transaction.commit, None

    async def _patiently(self, attempt: Callable[[], Awaitable[T]], seconds: float | None = None) -> T:
        """Attempt until there is an answer; what is attempted must bear repetition."""
        try:
            async with asyncio.timeout(self._patience if seconds is None else seconds):
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

    async def _send(self, transaction: _Transaction) -> _NewRows | None:
        """Return the rows it made, or None when an earlier attempt made them and its answer is lost."""
        try:
            results = await self._client.transact(transaction.operations)
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
        return {
            (change.kind, change.name): _uuid(results[position].uuid)
            for position, change in transaction.inserted()
        }

    async def _find_rows(self, transaction: _Transaction) -> _NewRows:
        """Look for the rows that a stored transaction made: by their revision, which only it wrote."""
        since = (Condition("revision", ">", transaction.base.revision),)
        names = {kind: "port" if kind is Kind.BINDING else "name" for kind in TABLES}
        selects = [Select(TABLES[kind], since, ("_uuid", names[kind])) for kind in TABLES]
        found = await self._client.transact(selects)
        rows = {
            (kind, row[names[kind]]): _uuid(row["_uuid"])
            for kind, result in zip(TABLES, found, strict=True)
            for row in result.rows
        }
        new = dict[tuple[Kind, str], UUID]()
        for _, change in transaction.inserted():
            name: Value = change.name
            if change.kind is Kind.BINDING:
                # Rows of ports that were there, or that this transaction made as well.
                name = self._rows[Kind.PORT].get(change.name) or rows[Kind.PORT, name]
            new[change.kind, change.name] = rows[change.kind, name]
        return new

    async def _stored_commit(self) -> UUID:
        (found,) = await self._client.transact([Select("Global", (), ("commit",))])
        return _uuid(found.rows[0]["commit"]) if found.rows else NO_UUID

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
        before = (Wait("Global", (), ("revision", "commit"), "==", (then,)), Update("Global", (), now))
        assert len(before) == _OPERATIONS_BEFORE
        return _Transaction(
            commit=commit,
            base=base,
            changes=changes,
            revision=revision,
            last_key=last_key,
            operations=(*before, *(_operation(change, row_of) for change in changes), Commit()),
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
            uuid = _uuid(columns["_uuid"])
            known[uuid] = held
            rows[kind][held.name] = uuid
    revision, last_key, commit = state["revision"], state["last_key"], state["commit"]
    if not (isinstance(revision, int) and isinstance(last_key, int) and isinstance(commit, UUID)):
        raise DecodeError("Global", "columns of other types than ours")
    return _Snapshot(intent=Intent.of(known.values(), revision, last_key), commit=commit, rows=rows)


def _uuid(value: Value) -> UUID:
    if not isinstance(value, UUID):
        raise DecodeError("intent store", f"{value!r} is no UUID")
    return value


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Keep the garbage collector from looking, again and again, at what is being read and all stays.

    It would double the time to load a large intent.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
