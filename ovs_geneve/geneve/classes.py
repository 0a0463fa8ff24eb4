# SPDX-License-Identifier: Apache-2.0
"""Who owns which option class (IANA registry "Geneve Option Class", RFC 8926 7.2).

The table is data, `option_classes.csv`, in ascending order: an update of the registry is an update
of that file and of nothing else.
"""

from __future__ import annotations

import bisect
import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ovs_geneve.values import OptionClass, option_class

FIRST_ASSIGNABLE = 0x0100
"Below it the IETF alone assigns: RFC 8926 7.2, IETF Review."

FIRST_EXPERIMENTAL = 0xFF00
"From here to 0xffff anybody may use a class, and nobody can rely on being alone in it."


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRange:
    """Classes in a row that have one owner, both ends included."""

    first: int
    last: int
    owner: str


@cache
def registry() -> tuple[ClassRange, ...]:
    """Return the assigned ranges in ascending order."""
    table = files(__package__).joinpath("option_classes.csv").read_text(encoding="utf-8")
    return tuple(
        ClassRange(first=int(row["first"], 16), last=int(row["last"], 16), owner=row["owner"])
        for row in csv.DictReader(table.splitlines())
    )


def owner(number: OptionClass) -> str:
    """Name the owner of a class, or say why it has none; raise EncodeError beyond 16 bits."""
    option_class(number)
    if is_experimental(number):
        return "experimental"
    found = _assigned(number)
    if found:
        return found.owner
    return "unassigned" if number >= FIRST_ASSIGNABLE else "IETF, unassigned"


def is_experimental(number: OptionClass) -> bool:
    """Tell whether a class is for experiments: 0xff00 to 0xffff."""
    return option_class(number) >= FIRST_EXPERIMENTAL


def is_assigned(number: OptionClass) -> bool:
    """Tell whether the registry, as shipped, names an owner of the class."""
    return _assigned(option_class(number)) is not None


def _assigned(number: int) -> ClassRange | None:
    ranges = registry()
    index = bisect.bisect_right(ranges, number, key=lambda entry: entry.first) - 1
    return ranges[index] if index >= 0 and number <= ranges[index].last else None
