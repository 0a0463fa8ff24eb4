# SPDX-License-Identifier: Apache-2.0
"""Types of OVSDB columns (RFC 7047 3.2) and the values they hold: JSON to Python, whole or as a difference.

column type                        Python value
one of an atom                     bool, int, float, str, uuid.UUID
none or one ("min": 0, "max": 1)   the same, or None
a set                              frozenset
a map                              an immutable Mapping
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import TypeAlias
from uuid import UUID

import msgspec

from ovs_geneve.errors import DecodeError
from ovs_geneve.ovsdb.messages import decode_as

Atom: TypeAlias = bool | int | float | str | UUID
"One value of a column, or one member of it."

Value: TypeAlias = Atom | frozenset[Atom] | Mapping[Atom, Atom] | None
"What a column of one row holds."

NO_UUID = UUID(int=0)
"The default of a uuid column."

_DEFAULTS: Mapping[str, Atom] = MappingProxyType(
    {"integer": 0, "real": 0.0, "boolean": False, "string": "", "uuid": NO_UUID}
)


@dataclass(frozen=True)
class ColumnType:
    """The type of one column: how many of which atoms (RFC 7047 3.2, <type>)."""

    key: str
    "integer, real, boolean, string or uuid."
    value: str | None = None
    "The atoms a map leads to; None for a column that is no map."
    least: int = 1
    most: int | None = 1
    "None stands for unlimited."

    @property
    def is_map(self) -> bool:
        """Tell whether the column holds pairs."""
        return self.value is not None

    @property
    def is_many(self) -> bool:
        """Tell whether more than one member fits: only then differences are by member (4.1.14)."""
        return self.most is None or self.most > 1

    @cached_property
    def default(self) -> Value:
        """Give the value that `insert` and `initial` leave out (RFC 7047 5.2.1)."""
        if self.value is not None:
            pairs = {_DEFAULTS[self.key]: _DEFAULTS[self.value]} if self.least else {}
            return MappingProxyType(pairs)
        if self.is_many:
            return frozenset((_DEFAULTS[self.key],) * min(self.least, 1))
        return _DEFAULTS[self.key] if self.least else None

    @cached_property
    def decode(self) -> Callable[[object], Value]:
        """Give the function from JSON to a value of this type; it raises ValueError."""
        atom = _ATOMS[self.key]
        if self.value is not None:
            return _map_decoder(atom, _ATOMS[self.value])
        if self.is_many:
            return _set_decoder(atom)
        return _optional_decoder(atom) if self.least == 0 else atom

    def apply(self, old: Value, difference: object) -> Value:
        """Apply what `modify` says to the old value (ovsdb-server(7) 4.1.14); raises ValueError."""
        new = self.decode(difference)
        if not self.is_many:
            return new
        if isinstance(old, frozenset) and isinstance(new, frozenset):
            return old ^ new
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            return _apply_to_map(old, new)
        raise ValueError("a difference needs a set or a map to start from")


def _apply_to_map(old: Mapping[Atom, Atom], difference: Mapping[Atom, Atom]) -> Mapping[Atom, Atom]:
    """A pair the old map has goes; a pair with another value, or a new key, comes."""
    result = dict(old)
    for key, value in difference.items():
        if key in result and result[key] == value:
            del result[key]
        else:
            result[key] = value
    return MappingProxyType(result)


def _integer(json: object) -> Atom:
    if type(json) is int:
        return json
    raise ValueError(f"{json!r} is no integer")


def _real(json: object) -> Atom:
    if type(json) is float or type(json) is int:
        return float(json)
    raise ValueError(f"{json!r} is no real")


def _boolean(json: object) -> Atom:
    if type(json) is bool:
        return json
    raise ValueError(f"{json!r} is no boolean")


def _string(json: object) -> Atom:
    if type(json) is str:
        return json
    raise ValueError(f"{json!r} is no string")


def _uuid(json: object) -> Atom:
    if isinstance(json, list) and len(json) == 2 and json[0] == "uuid" and type(json[1]) is str:
        return parse_uuid(json[1])
    raise ValueError(f"{json!r} is no uuid")


@lru_cache(maxsize=65_536)
def parse_uuid(text: str) -> UUID:
    """Parse a row's uuid; raises ValueError. Cached: a snapshot names each row where it is and where it is meant."""
    return msgspec.convert(text, UUID)


_ATOMS: Mapping[str, Callable[[object], Atom]] = MappingProxyType(
    {"integer": _integer, "real": _real, "boolean": _boolean, "string": _string, "uuid": _uuid}
)


def _members(json: object, tag: str) -> list[object] | None:
    """Give what stands behind "set" or "map", None for JSON of another form."""
    if isinstance(json, list) and len(json) == 2 and json[0] == tag and isinstance(json[1], list):
        return json[1]
    return None


def _optional_decoder(atom: Callable[[object], Atom]) -> Callable[[object], Value]:
    def decode(json: object) -> Value:
        members = _members(json, "set") if type(json) is list else None
        if members is None:
            return atom(json)
        if len(members) > 1:
            raise ValueError("at most one value fits")
        return atom(members[0]) if members else None

    return decode


def _set_decoder(atom: Callable[[object], Atom]) -> Callable[[object], Value]:
    def decode(json: object) -> Value:
        members = _members(json, "set")
        return frozenset((atom(json),)) if members is None else frozenset(map(atom, members))

    return decode


def _map_decoder(key: Callable[[object], Atom], value: Callable[[object], Atom]) -> Callable[[object], Value]:
    def decode(json: object) -> Value:
        pairs = _members(json, "map")
        if pairs is None:
            raise ValueError(f"{json!r} is no map")
        result: dict[Atom, Atom] = {}
        for pair in pairs:
            if not isinstance(pair, list) or len(pair) != 2:
                raise ValueError(f"{pair!r} is no pair")
            result[key(pair[0])] = value(pair[1])
        return MappingProxyType(result)

    return decode


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSchema:
    """What get_schema tells of a database: its tables and the types of their columns."""

    name: str
    version: str
    tables: Mapping[str, Mapping[str, ColumnType]]


class _BaseType(msgspec.Struct):
    type: str


class _Type(msgspec.Struct):
    key: _BaseType | str
    value: _BaseType | str | None = None
    min: int = 1
    max: int | str = 1


class _Column(msgspec.Struct):
    type: _Type | str


class _Table(msgspec.Struct):
    columns: dict[str, _Column]


class _Schema(msgspec.Struct):
    name: str
    tables: dict[str, _Table]
    version: str = ""


def decode_schema(data: bytes | msgspec.Raw) -> DatabaseSchema:
    """Read a <database-schema> (RFC 7047 3.2); DecodeError names the column it cannot read."""
    schema = decode_as(data, _Schema, "database schema")
    tables = {name: _columns(name, table) for name, table in schema.tables.items()}
    return DatabaseSchema(name=schema.name, version=schema.version, tables=MappingProxyType(tables))


def _columns(table: str, wire: _Table) -> Mapping[str, ColumnType]:
    columns = {name: _column_type(f"{table}.{name}", column.type) for name, column in wire.columns.items()}
    columns["_uuid"] = ColumnType("uuid")
    columns["_version"] = ColumnType("uuid")
    return MappingProxyType(columns)


def _column_type(where: str, wire: _Type | str) -> ColumnType:
    if isinstance(wire, str):
        return ColumnType(_atomic(where, wire))
    if isinstance(wire.max, str) and wire.max != "unlimited":
        raise DecodeError(where, f"max {wire.max!r} is neither a number nor unlimited")
    return ColumnType(
        _atomic(where, wire.key),
        None if wire.value is None else _atomic(where, wire.value),
        wire.min,
        None if isinstance(wire.max, str) else wire.max,
    )


def _atomic(where: str, wire: _BaseType | str) -> str:
    name = wire if isinstance(wire, str) else wire.type
    if name not in _ATOMS:
        raise DecodeError(where, f"unknown type {name!r}")
    return name
