# SPDX-License-Identifier: Apache-2.0
"""A copy of some tables of a database, kept by what a monitor reports (RFC 7047 4.1.5, ovsdb-server(7)).

Pure: bytes and connections are `client.py`'s. Rows never change, a change makes a new `Row`; so whoever
holds a row holds the contents of one moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias
from uuid import UUID

from msgspec import UNSET, Struct

from ovs_geneve.errors import DecodeError, NotSupported
from ovs_geneve.ovsdb.messages import RowUpdate, RowUpdate2, Update
from ovs_geneve.ovsdb.schema import ColumnType, DatabaseSchema, Value, parse_uuid

NO_TXN = "00000000-0000-0000-0000-000000000000"
"The transaction id that asks monitor_cond_since for everything."


class Row(Struct, frozen=True, eq=False, gc=False, repr_omit_defaults=True):
    """One row as it stood after some transaction; `row["name"]` gives a column."""

    table: str
    uuid: UUID
    columns: Mapping[str, Value]
    "The monitored columns; `_uuid` is not among them."
    memo: object = None
    "What a reader made of this row, no part of it: a row never changes, so that is made once (`rows.typed`)."

    def __getitem__(self, column: str) -> Value:
        """Give the column's value; KeyError when it is not monitored."""
        return self.columns[column]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Row):
            return NotImplemented
        return (self.table, self.uuid, self.columns) == (other.table, other.uuid, other.columns)

    def __ne__(self, other: object) -> bool:
        return not self == other  # Struct has one of its own, which compares identities

    def __hash__(self) -> int:
        return hash((self.table, self.uuid))


class RowChange(Struct, frozen=True, gc=False):
    """One row before and after a transaction: inserted, deleted or changed."""

    table: str
    uuid: UUID
    old: Row | None
    "None when the row was inserted."
    new: Row | None
    "None when the row was deleted."


Changes: TypeAlias = list[RowChange]
"What one update changed; each row is named once."

_Columns: TypeAlias = Mapping[str, ColumnType]


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the rows of one table are made with."""

    types: _Columns
    defaults: dict[str, Value]
    decoders: Mapping[str, Callable[[object], Value]]

    @classmethod
    def of(cls, types: _Columns) -> _Shape:
        defaults = {name: column.default for name, column in types.items()}
        return cls(types, defaults, {name: column.decode for name, column in types.items()})


class Replica:
    """The monitored tables of one database.

    `tables` maps each table to the columns wanted; a column written with a trailing "?" is left out when the
    server's schema lacks it, any other unknown name raises NotSupported in `bind`.
    """

    def __init__(self, tables: Mapping[str, Sequence[str]]) -> None:
        self._wanted = {table: tuple(columns) for table, columns in tables.items()}
        self._types: dict[str, _Columns] = {}
        self._shapes: dict[str, _Shape] = {}
        self._rows: dict[str, dict[UUID, Row]] = {table: {} for table in tables}
        self._views = {table: MappingProxyType(rows) for table, rows in self._rows.items()}
        self._schema: DatabaseSchema | None = None
        self._last_txn_id: str | None = None

    @property
    def schema(self) -> DatabaseSchema | None:
        """The server's schema, None before the first `bind`."""
        return self._schema

    @property
    def last_txn_id(self) -> str | None:
        """The transaction these contents belong to, None where the server tells none."""
        return self._last_txn_id

    @property
    def is_outdated(self) -> bool:
        """Never: it asks for all it needs in the first place."""
        return False

    def bind(self, schema: DatabaseSchema) -> None:
        """Take the types of the columns from the server; NotSupported names a missing table or column.

        The rows stay, to be compared with the next snapshot.
        """
        types = {table: _column_types(schema, table, columns) for table, columns in self._wanted.items()}
        if types != self._types:
            # A difference is only understood between rows of the same shape.
            self._last_txn_id = None
        self._types = types
        self._shapes = {table: _Shape.of(columns) for table, columns in types.items()}
        self._schema = schema

    def monitored(self) -> Mapping[str, Sequence[str]]:
        """Give tables and columns as a monitor request names them, those the server lacks left out."""
        return {table: list(columns) for table, columns in self._types.items()}

    def keeps(self, table: str) -> bool:
        """Have every snapshot hold all rows: they are compared with those known."""
        return False

    def rows(self, table: str) -> Mapping[UUID, Row]:
        """Give a table's rows; the mapping is a live view, the rows in it are not."""
        return self._views[table]

    def get(self, table: str, uuid: UUID) -> Row | None:
        """Give one row, None when there is none."""
        return self._rows[table].get(uuid)

    def find(self, table: str, **columns: Value) -> Iterator[Row]:
        """Yield the rows whose columns hold these values, in no order; looks at every row of the table."""
        for row in list(self._rows[table].values()):
            if all(row.columns[name] == value for name, value in columns.items()):
                yield row

    def apply(self, update: Update) -> Changes:
        """Take over what a monitor reported and return what really changed.

        A snapshot is compared with the present rows. DecodeError leaves the rows as they were and forgets
        the transaction id, so that the next monitor starts from a snapshot.
        """
        try:
            changes = self._changes(update)
        except DecodeError:
            self._last_txn_id = None
            raise
        for change in changes:
            if change.new is None:
                self._rows[change.table].pop(change.uuid, None)
            else:
                self._rows[change.table][change.uuid] = change.new
        self._last_txn_id = update.txn_id if update.txn_id != NO_TXN else None
        return changes

    def _changes(self, update: Update) -> Changes:
        changes: Changes = []
        reported: dict[str, set[UUID]] = {table: set() for table in self._rows}
        for table, row_updates in update.tables.items():
            if table not in self._types:
                raise DecodeError(f"update of {table}", "this table is not monitored")
            rows = self._rows[table]
            for key, row_update in row_updates.items():
                uuid = _row_uuid(table, key)
                old = rows.get(uuid)
                if old is not None:
                    reported[table].add(uuid)
                new = self._next(table, uuid, None if update.snapshot else old, row_update)
                # First what costs nothing: in a first snapshot there is nothing to compare.
                if old is not new and (old is None or new is None or old != new):
                    changes.append(RowChange(table, uuid, old, new))
        if update.snapshot:
            changes.extend(self._vanished(reported))
        return changes

    def _vanished(self, reported: Mapping[str, set[UUID]]) -> Iterator[RowChange]:
        for table, rows in self._rows.items():
            for uuid, row in rows.items():
                if uuid not in reported[table]:
                    yield RowChange(table, uuid, row, None)

    def _next(self, table: str, uuid: UUID, old: Row | None, update: RowUpdate | RowUpdate2) -> Row | None:
        """Work out the row after an update, None when that deletes it."""
        if isinstance(update, RowUpdate):
            return None if update.new is UNSET else self._whole(table, uuid, update.new)
        if update.initial is not UNSET:
            return self._whole(table, uuid, update.initial)
        if update.insert is not UNSET:
            return self._whole(table, uuid, update.insert)
        if update.modify is not UNSET:
            return self._modified(table, uuid, old, update.modify)
        if update.delete is not UNSET:
            return None
        raise DecodeError(f"update of {table} {uuid}", "none of initial, insert, modify and delete")

    def _whole(self, table: str, uuid: UUID, wire: Mapping[str, object]) -> Row:
        shape = self._shapes[table]
        columns, decoders = shape.defaults.copy(), shape.decoders
        name = ""
        try:
            for name, json in wire.items():
                columns[name] = decoders[name](json)
        except (ValueError, KeyError) as error:
            raise _bad_column(table, name, error) from error
        return Row(table, uuid, MappingProxyType(columns))

    def _modified(self, table: str, uuid: UUID, old: Row | None, wire: Mapping[str, object]) -> Row:
        if old is None:
            raise DecodeError(f"update of {table} {uuid}", "modifies a row that was never reported")
        types = self._types[table]
        columns = dict(old.columns)
        for name, json in wire.items():
            try:
                columns[name] = types[name].apply(columns[name], json)
            except (ValueError, KeyError) as error:
                raise _bad_column(table, name, error) from error
        return Row(table, uuid, MappingProxyType(columns))


def _column_types(schema: DatabaseSchema, table: str, wanted: Sequence[str]) -> _Columns:
    since = f"a newer schema than {schema.name} {schema.version}"
    if table not in schema.tables:
        raise NotSupported(f"table {table}", since)
    known = schema.tables[table]
    types: dict[str, ColumnType] = {}
    for name in wanted:
        column = name.removesuffix("?")
        if column in known:
            types[column] = known[column]
        elif column == name:
            raise NotSupported(f"column {table}.{name}", since)
    return types


def _row_uuid(table: str, key: str) -> UUID:
    try:
        return parse_uuid(key)
    except ValueError as error:
        raise DecodeError(f"update of {table}", f"{key!r} is no row") from error


def _bad_column(table: str, name: str, error: Exception) -> DecodeError:
    reason = "this column is not monitored" if isinstance(error, KeyError) else str(error)
    return DecodeError(f"{table}.{name}", reason)
