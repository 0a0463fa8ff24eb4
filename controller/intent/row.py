# SPDX-License-Identifier: Apache-2.0
"""Reads the columns of one row, each as the type it must have. Pure; ValueError and KeyError for what it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from uuid import UUID

from controller.intent.model import AnyObject, Kind
from ovs_geneve.ovsdb.operations import NamedUuid
from ovs_geneve.ovsdb.schema import Atom, Value

Rows = Mapping[UUID, AnyObject]
"Objects by the row they are in."

Reference = Callable[[Kind, str], "UUID | NamedUuid"]
"Tells the row an object is in, or will be in after this transaction."


class Row:
    """Columns of a row, each with the type it must have."""

    __slots__ = ("_columns", "_known")

    def __init__(self, columns: Mapping[str, Value], known: Rows) -> None:
        self._columns = columns
        self._known = known

    def text(self, column: str) -> str:
        """Return a text."""
        value = self._columns[column]
        if not isinstance(value, str):
            raise ValueError(f"{column}: {value!r} is no text")
        return value

    def text_or_none(self, column: str) -> str | None:
        """Return a text, None where there is none."""
        return None if self._columns[column] is None else self.text(column)

    def number(self, column: str) -> int:
        """Return a number, or a truth value as one."""
        value = self._columns[column]
        if not isinstance(value, int):
            raise ValueError(f"{column}: {value!r} is no number")
        return value

    def number_or_none(self, column: str) -> int | None:
        """Return a number, None where there is none."""
        return None if self._columns[column] is None else self.number(column)

    def truth(self, column: str) -> bool:
        """Return a truth value."""
        return bool(self.number(column))

    def mapping(self, column: str) -> dict[str, str]:
        """Return a map as texts."""
        return {str(key): str(value) for key, value in self._pairs(column)}

    def pairs(self, column: str) -> tuple[tuple[str, str], ...]:
        """Return what a map of texts holds, sorted; it mostly is empty."""
        return tuple(sorted(self.mapping(column).items())) if self._columns[column] else ()

    def sequence(self, column: str) -> Iterator[Atom]:
        """Yield what is at positions 0, 1, 2, …"""
        return (value for _, value in sorted(self._pairs(column), key=itemgetter(0)))

    def referred(self, column: str) -> AnyObject:
        """Return the object that is referred to."""
        return self.find(self._columns[column])

    def referred_or_none(self, column: str) -> AnyObject | None:
        """Return the object that is referred to, None where there is none."""
        return None if self._columns[column] is None else self.referred(column)

    def name_or_none(self, column: str) -> str | None:
        """Return the name of the object that is referred to."""
        held = self.referred_or_none(column)
        return None if held is None else held.name

    def texts(self, column: str) -> tuple[str, ...]:
        """Return what a set of texts holds, sorted; OVSDB shows a set of one as that one."""
        value = self._columns[column]
        if value is None or isinstance(value, str):
            return () if value is None else (value,)
        if not isinstance(value, frozenset | set | tuple | list):
            raise ValueError(f"{column}: {value!r} is no set")
        return tuple(sorted(str(member) for member in value))

    def find(self, uuid: Value) -> AnyObject:
        """Return the object in a row."""
        if not isinstance(uuid, UUID):
            raise ValueError(f"{uuid!r} is no row")
        return self._known[uuid]

    def _pairs(self, column: str) -> Iterable[tuple[Atom, Atom]]:
        value = self._columns[column]
        if not isinstance(value, Mapping):
            raise ValueError(f"{column}: {value!r} is no map")
        return value.items()
