# SPDX-License-Identifier: Apache-2.0
"""The stored intent as a monitor of its database tells it: rows in, an `Intent` and what changed out. Pure.

    snapshot ─► every row is decoded ─► the whole intent
    update ───► is it our own commit? ─► what was prepared, no row is decoded
                └─ no ──► rows that changed are decoded ─► the next intent

No row is kept: the old columns of a row that changes are those that its object encodes to. What is kept beside the
intent is which row each object is in. After a reconnect rows are asked for only if Global names another commit than
the one we know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast
from uuid import UUID

from msgspec import UNSET

from controller.intent.intent import Intent, difference
from controller.intent.model import AnyObject, Change, Kind, ObjectKey
from controller.intent.rows import TABLES, decode_row, encode_row
from controller.intent.store import OnMoved
from ovs_geneve.errors import DecodeError, NotSupported
from ovs_geneve.ovsdb.messages import RowUpdate, RowUpdate2, Update
from ovs_geneve.ovsdb.replica import NO_TXN, RowChange
from ovs_geneve.ovsdb.schema import NO_UUID, Atom, ColumnType, DatabaseSchema, Value

GLOBAL = "Global"

_Columns = dict[str, Value]
_Types = Mapping[str, ColumnType]
_Wire = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The one row of Global: where the intent's history stands."""

    revision: int = 0
    last_key: int = 0
    commit: UUID = NO_UUID
    "The number of the last commit, whoever made it; none before the database is initialised."
    writers: Mapping[str, UUID] = field(default_factory=dict)
    "The last commit of each controller."


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCommit:
    """A commit of ours under way: what it makes of the intent."""

    commit: UUID
    base: Intent
    after: Intent
    changes: Sequence[Change]


class IntentFollower:
    """Follows the tables of the intent (`ovs_geneve.ovsdb.client.Follower`)."""

    def __init__(self) -> None:
        self._types: Mapping[str, _Types] = {}
        self._schema: DatabaseSchema | None = None
        self._last_txn_id: str | None = None
        self._names: Mapping[Kind, dict[UUID, str]] = {kind: {} for kind in TABLES}
        self._is_complete = False
        self._was_complete = False
        self.on_moved: OnMoved = _ignore
        self.intent = Intent()
        self.state = State()
        self.rows: Mapping[Kind, dict[str, UUID]] = {kind: {} for kind in TABLES}
        "The row each object is in."
        self.is_outdated = False
        self.own: OwnCommit | None = None
        "A commit whose update is awaited."

    @property
    def schema(self) -> DatabaseSchema | None:
        """The server's schema, None before the first `bind`."""
        return self._schema

    @property
    def last_txn_id(self) -> str | None:
        """The transaction the intent belongs to, None where the server tells none."""
        return self._last_txn_id

    def bind(self, schema: DatabaseSchema) -> None:
        """Take the types of the columns from the server; every column of a table is followed."""
        missing = sorted({GLOBAL, *TABLES.values()} - schema.tables.keys())
        if missing or "writers" not in schema.tables[GLOBAL]:
            raise NotSupported(f"{schema.name} {schema.version}", "schema 1.1.0; see ovsdb-client convert")
        types = {
            table: {name: kind for name, kind in schema.tables[table].items() if not name.startswith("_")}
            for table in (GLOBAL, *TABLES.values())
        }
        if types != self._types:
            self._forget_contents()
        self._types, self._schema = types, schema

    def monitored(self) -> Mapping[str, Sequence[str]]:
        """Give tables and columns as a monitor request names them."""
        return {table: list(columns) for table, columns in self._types.items()}

    def keeps(self, table: str) -> bool:
        """Have the rows left out of a snapshot when they are known, as long as Global says what we know."""
        return self._is_complete and table != GLOBAL

    def apply(self, update: Update) -> Sequence[RowChange]:
        """Take over what the monitor reported and tell what it means; there are no rows to hand out."""
        try:
            self._apply(update)
        except DecodeError:
            self._forget_contents()
            raise
        return ()

    def _apply(self, update: Update) -> None:
        state = self._next_state(update)
        if update.snapshot and self._is_complete:
            # Only Global was asked for, in the belief that the rest has not changed.
            self.is_outdated = state.commit != self.state.commit
            if self.is_outdated:
                self._forget_contents()
                return
        elif update.snapshot:
            self._take_all(update, state)
        elif self._is_own(update, state):
            self._take_own(update, state)
        else:
            self._take_changes(update, state)
        self._last_txn_id = update.txn_id if update.txn_id != NO_TXN else None

    def _forget_contents(self) -> None:
        """Have everything sent at the next connection, to be compared with the intent."""
        self._is_complete = False
        self._last_txn_id = None

    def _take_all(self, update: Update, state: State) -> None:
        held = dict[UUID, AnyObject]()
        rows, names = (
            {kind: dict[str, UUID]() for kind in TABLES},
            {kind: dict[UUID, str]() for kind in TABLES},
        )
        for kind, uuid, row in _rows(update):
            held[uuid] = one = decode_row(kind, self._whole(kind, _contents(row)), held)
            rows[kind][one.name] = uuid
            names[kind][uuid] = one.name
        before, self.intent = self.intent, Intent.of(held.values(), state.revision, state.last_key)
        self.rows, self._names, self.state = rows, names, state
        changes = difference(before, self.intent) if self._was_complete else ()
        self._is_complete, self._was_complete, self.is_outdated = True, True, False
        self.on_moved(self.intent, changes)

    def _is_own(self, update: Update, state: State) -> bool:
        """Tell whether an update is our commit under way and nothing else; it went through on its base alone."""
        own = self.own
        if own is None or own.base is not self.intent or own.commit != state.commit:
            return False
        return sum(map(len, update.tables.values())) == len(own.changes) + 1

    def _take_own(self, update: Update, state: State) -> None:
        own, self.own = self.own, None
        assert own is not None  # it was asked about
        for kind, uuid, row in _rows(update):
            if _is_gone(row):
                self._forget_row(kind, uuid)
            elif uuid not in self._names[kind]:
                self._note_row(kind, uuid, self._name_in(kind, _contents(row)))
        self.intent, self.state = own.after, state
        self.on_moved(own.after, own.changes)

    def _take_changes(self, update: Update, state: State) -> None:
        held = dict[UUID, AnyObject]()
        changes = dict[tuple[Kind, str], Change]()
        for kind, uuid, row in _rows(update):
            old, new = self._before(kind, uuid), None
            if not _is_gone(row):
                held[uuid] = new = self._after(kind, old, row, held)
            one = new or old
            if one is None:
                raise DecodeError(TABLES[kind], f"{uuid} goes and was never reported")
            # An object that was deleted and made again within one update is in another row now.
            other = changes.get((kind, one.name))
            if other is not None:
                old, new = old or other.old, new or other.new
            changes[kind, one.name] = Change(kind=kind, name=one.name, old=old, new=new)
        for kind, uuid, row in _rows(update):
            if _is_gone(row):
                self._forget_row(kind, uuid)
            else:
                self._note_row(kind, uuid, held[uuid].name)
        moved = tuple(change for change in changes.values() if change.old != change.new)
        after = self.intent.with_changes(moved, state.revision)
        self.intent, self.state = replace(after, last_key=ObjectKey(state.last_key)), state
        self.on_moved(self.intent, moved)

    def _before(self, kind: Kind, uuid: UUID) -> AnyObject | None:
        name = self._names[kind].get(uuid)
        return None if name is None else self.intent.get(kind, name)

    def _after(
        self, kind: Kind, old: AnyObject | None, row: RowUpdate | RowUpdate2, held: Mapping[UUID, AnyObject]
    ) -> AnyObject:
        """Decode a row after an update; `held` has the objects of rows that changed with it."""
        if isinstance(row, RowUpdate2) and row.modify is not UNSET:
            if old is None:
                raise DecodeError(TABLES[kind], "modifies a row that was never reported")
            columns = self._modified(
                TABLES[kind], cast("_Columns", encode_row(old, self._row_of)), row.modify
            )
        else:
            columns = self._whole(kind, _contents(row))
        referred = {uuid: one for uuid in _references(columns) if (one := self._held(uuid, held)) is not None}
        new = decode_row(kind, columns, referred)
        if old is not None and old.name != new.name:
            raise DecodeError(
                TABLES[kind], f"{old.name} was renamed: whatever refers to it has to be read anew"
            )
        return new

    def _held(self, uuid: UUID, changed: Mapping[UUID, AnyObject]) -> AnyObject | None:
        if uuid in changed:
            return changed[uuid]
        found = (self._before(kind, uuid) for kind in TABLES)
        return next((one for one in found if one is not None), None)

    def _row_of(self, kind: Kind, name: str) -> UUID:
        return self.rows[kind][name]

    def _note_row(self, kind: Kind, uuid: UUID, name: str) -> None:
        self.rows[kind][name] = uuid
        self._names[kind][uuid] = name

    def _forget_row(self, kind: Kind, uuid: UUID) -> None:
        name = self._names[kind].pop(uuid, "")
        if self.rows[kind].get(name) == uuid:
            del self.rows[kind][name]

    def _name_in(self, kind: Kind, wire: _Wire) -> str:
        if kind is not Kind.BINDING:
            return str(wire["name"])
        return self._names[Kind.PORT][cast("UUID", self._whole(kind, wire)["port"])]

    def _next_state(self, update: Update) -> State:
        columns: _Columns = {
            "revision": self.state.revision,
            "last_key": self.state.last_key,
            "commit": self.state.commit,
            "writers": cast("Mapping[Atom, Atom]", self.state.writers),
        }
        for row in update.tables.get(GLOBAL, {}).values():
            if isinstance(row, RowUpdate2) and row.modify is not UNSET:
                columns = self._modified(GLOBAL, columns, row.modify)
            elif not _is_gone(row):
                columns = self._decoded(GLOBAL, _contents(row))
        return State(**columns)  # type: ignore[arg-type]  # their types are the schema's

    def _whole(self, kind: Kind, wire: _Wire) -> _Columns:
        return self._decoded(TABLES[kind], wire)

    def _decoded(self, table: str, wire: _Wire) -> _Columns:
        """Decode all of a row; what the server leaves out has its default."""
        types = self._types[table]
        columns = {name: kind.default for name, kind in types.items()}
        for name, json in wire.items():
            try:
                columns[name] = types[name].decode(json)
            except (ValueError, KeyError) as error:
                raise DecodeError(f"{table}.{name}", str(error)) from error
        return columns

    def _modified(self, table: str, old: _Columns, wire: _Wire) -> _Columns:
        """Change a row that was there; a column that only newer controllers know is left out."""
        types = self._types[table]
        columns = dict(old)
        for name, json in wire.items():
            try:
                if name in columns:
                    columns[name] = types[name].apply(columns[name], json)
            except (ValueError, KeyError) as error:
                raise DecodeError(f"{table}.{name}", str(error)) from error
        return columns


def _rows(update: Update) -> Iterator[tuple[Kind, UUID, RowUpdate | RowUpdate2]]:
    """Yield the rows of objects; those that others refer to come first."""
    for kind, table in TABLES.items():
        for key, row in update.tables.get(table, {}).items():
            try:
                yield kind, UUID(key), row
            except ValueError as error:
                raise DecodeError(table, f"{key!r} is no row") from error


def _is_gone(row: RowUpdate | RowUpdate2) -> bool:
    return row.new is UNSET if isinstance(row, RowUpdate) else row.delete is not UNSET


def _contents(row: RowUpdate | RowUpdate2) -> _Wire:
    for wire in (row.new,) if isinstance(row, RowUpdate) else (row.initial, row.insert):
        if wire is not UNSET:
            return wire
    raise DecodeError("update", "a row without its contents")


def _references(columns: _Columns) -> Iterator[UUID]:
    for value in columns.values():
        if isinstance(value, UUID):
            yield value
        elif isinstance(value, Mapping):
            yield from (member for member in value.values() if isinstance(member, UUID))


def _ignore(intent: Intent, changes: Sequence[Change]) -> None:
    """Stand in until somebody wants to hear."""
