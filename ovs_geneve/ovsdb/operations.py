# SPDX-License-Identifier: Apache-2.0
"""The operations of a transaction (RFC 7047 5.2) as values; `encode_operation` gives their JSON.

A row is a mapping from column to a Python value: bool, int, float, str, UUID or `NamedUuid`; a set is a
frozenset, set, tuple or list; a map is a Mapping; None is the empty set, that is "no value" of an
optional column.

    [Insert("Bridge", {"name": "br-int"}, uuid_name="bridge"),
     Mutate("Open_vSwitch", (), (Mutation("bridges", "insert", {NamedUuid("bridge")}),))]
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from ovs_geneve.errors import EncodeError
from ovs_geneve.ovsdb.messages import Json
from ovs_geneve.ovsdb.schema import Atom

_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
"<id> of RFC 7047 3.1."

_INT64 = 1 << 63

_FUNCTIONS = frozenset({"<", "<=", "==", "!=", ">=", ">", "includes", "excludes"})
_MUTATORS = frozenset({"+=", "-=", "*=", "/=", "%=", "insert", "delete"})


@dataclass(frozen=True, slots=True)
class NamedUuid:
    """The row that an `Insert` of the same transaction with this `uuid_name` makes (RFC 7047 5.1)."""

    name: str

    def __post_init__(self) -> None:
        _check_id("named uuid", self.name)


InputAtom: TypeAlias = bool | int | float | str | UUID | NamedUuid
_ATOMS = (str, int, float, UUID, NamedUuid)
InputMap: TypeAlias = (
    Mapping[str, InputAtom]
    | Mapping[int, InputAtom]
    | Mapping[UUID, InputAtom]
    | Mapping[Atom, Atom]
    | Mapping[InputAtom, InputAtom]
)
Input: TypeAlias = InputAtom | Collection[InputAtom] | InputMap | None
"What can be written to a column; everything that a `Replica` holds is among it."


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of a `where` (RFC 7047 5.1, <condition>)."""

    column: str
    function: str
    value: Input

    def __post_init__(self) -> None:
        if self.function not in _FUNCTIONS:
            raise EncodeError(f"condition on {self.column}", f"unknown function {self.function!r}")


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change of a column from its present value (RFC 7047 5.1, <mutation>).

    "delete" on a map takes a map, which removes equal pairs, or a set of keys.
    """

    column: str
    mutator: str
    value: Input

    def __post_init__(self) -> None:
        if self.mutator not in _MUTATORS:
            raise EncodeError(f"mutation of {self.column}", f"unknown mutator {self.mutator!r}")


Where: TypeAlias = Sequence[Condition]
"Conditions that must all hold; none at all takes every row."


@dataclass(frozen=True, slots=True)
class Insert:
    """Make a row; other operations of the transaction call it `NamedUuid(uuid_name)`."""

    table: str
    row: Mapping[str, Input] = field(hash=False)
    uuid_name: str | None = None

    def __post_init__(self) -> None:
        if self.uuid_name is not None:
            _check_id("uuid_name", self.uuid_name)


@dataclass(frozen=True, slots=True)
class Select:
    """Read rows; all columns when `columns` is None."""

    table: str
    where: Where = ()
    columns: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """Set columns of the rows that match."""

    table: str
    where: Where
    row: Mapping[str, Input] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Mutate:
    """Change columns of the rows that match, from whatever they hold then."""

    table: str
    where: Where
    mutations: Sequence[Mutation]


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the rows that match."""

    table: str
    where: Where


@dataclass(frozen=True, slots=True)
class Wait:
    """Go on only when the rows that match equal `rows` ("==") or do not ("!=").

    `timeout` is in milliseconds: 0 tests once, None waits for ever.
    """

    table: str
    where: Where
    columns: Sequence[str]
    until: str
    rows: Sequence[Mapping[str, Input]] = field(hash=False)
    timeout: int | None = 0

    def __post_init__(self) -> None:
        if self.until not in ("==", "!="):
            raise EncodeError("wait until", f"{self.until!r} is neither == nor !=")


@dataclass(frozen=True, slots=True)
class Commit:
    """Ask, when `durable`, for the answer only once the transaction is on disk."""

    durable: bool = True


@dataclass(frozen=True, slots=True)
class Abort:
    """Let the transaction fail; for trying out what precedes it."""


@dataclass(frozen=True, slots=True)
class Comment:
    """Leave a line in the database's log."""

    comment: str


@dataclass(frozen=True, slots=True)
class Assert:
    """Fail unless this connection holds the lock (RFC 7047 4.1.8)."""

    lock: str


Operation: TypeAlias = Insert | Select | Update | Mutate | Delete | Wait | Commit | Abort | Comment | Assert
"Any operation of a transaction."


def where_uuid(uuid: UUID | NamedUuid) -> tuple[Condition]:
    """Give the `where` that takes this row alone; a `NamedUuid` is one of the same transaction."""
    return (Condition("_uuid", "==", uuid),)


def encode_operation(operation: Operation) -> dict[str, Json]:
    """Render an operation as the JSON of RFC 7047 5.2; EncodeError names the column that does not fit."""
    match operation:
        case Insert():
            wire: dict[str, Json] = {"op": "insert", "table": operation.table, "row": _row(operation.row)}
            return wire if operation.uuid_name is None else {**wire, "uuid-name": operation.uuid_name}
        case Commit():
            return {"op": "commit", "durable": operation.durable}
        case Abort():
            return {"op": "abort"}
        case Comment():
            return {"op": "comment", "comment": _text("comment", operation.comment)}
        case Assert():
            return {"op": "assert", "lock": _text("lock", operation.lock)}
        case _:
            return _encode_on_rows(operation)


def _encode_on_rows(operation: Select | Update | Mutate | Delete | Wait) -> dict[str, Json]:
    where: list[Json] = [_triple(one.column, one.function, one.value) for one in operation.where]
    wire: dict[str, Json] = {"table": operation.table, "where": where}
    match operation:
        case Select():
            columns = operation.columns
            return {"op": "select", **wire} | ({} if columns is None else {"columns": list(columns)})
        case Update():
            return {"op": "update", **wire, "row": _row(operation.row)}
        case Mutate():
            changes: list[Json] = [_triple(one.column, one.mutator, one.value) for one in operation.mutations]
            return {"op": "mutate", **wire, "mutations": changes}
        case Delete():
            return {"op": "delete", **wire}
        case Wait():
            rows: list[Json] = [_row(row) for row in operation.rows]
            wire |= {"op": "wait", "columns": list(operation.columns), "until": operation.until, "rows": rows}
            return wire if operation.timeout is None else {**wire, "timeout": operation.timeout}


def encode_value(where: str, value: Input) -> Json:
    """Render a value as RFC 7047 5.1 <value>; EncodeError names `where`. The order of members is fixed."""
    if isinstance(value, _ATOMS):  # the usual case, and the cheap question
        return _atom(where, value)
    if value is None:
        return ["set", []]
    if isinstance(value, Mapping):
        return encode_map(where, value)
    if isinstance(value, (AbstractSet, tuple, list)):
        return encode_set(where, value)
    return _atom(where, value)


def encode_set(where: str, members: Collection[InputAtom]) -> Json:
    """Render a set; duplicates go, for the server refuses them."""
    atoms = {_order(member): _atom(where, member) for member in members}
    return ["set", [atoms[key] for key in sorted(atoms)]]


def encode_map(where: str, pairs: InputMap) -> Json:
    """Render a map, sorted by key."""
    if not pairs:
        return ["map", []]
    wire = {_order(key): [_atom(where, key), _atom(where, value)] for key, value in pairs.items()}
    return ["map", [wire[key] for key in sorted(wire)]]


def _order(atom: InputAtom) -> tuple[str, str]:
    return type(atom).__name__, atom.name if isinstance(atom, NamedUuid) else str(atom)


def _row(row: Mapping[str, Input]) -> dict[str, Json]:
    return {column: encode_value(column, value) for column, value in row.items()}


def _triple(column: str, how: str, value: Input) -> Json:
    return [column, how, encode_value(column, value)]


def _atom(where: str, atom: object) -> Json:
    match atom:
        case bool():
            return atom
        case str():
            return _text(where, atom)
        case int():
            if -_INT64 <= atom < _INT64:
                return int(atom)
            raise EncodeError(where, f"{atom} has more than 64 bits")
        case float():
            if math.isfinite(atom):
                return atom
            raise EncodeError(where, f"{atom} is no number of JSON")
        case UUID():
            return ["uuid", str(atom)]
        case NamedUuid():
            return ["named-uuid", atom.name]
        case _:
            raise EncodeError(where, f"a {type(atom).__name__} fits no column")


def _text(where: str, text: str) -> str:
    """OVSDB has no NUL in strings (RFC 7047 3.1, <string>), JSON on the wire is UTF-8."""
    if "\0" in text:
        raise EncodeError(where, "a string must not hold NUL")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise EncodeError(where, f"not a text of Unicode: {error.reason}") from error
    return text


def _check_id(field_name: str, text: str) -> None:
    if not _ID.match(text):
        raise EncodeError(field_name, f"{text!r} is no identifier (letters, digits, _)")
