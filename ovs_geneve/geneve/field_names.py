# SPDX-License-Identifier: Apache-2.0
"""Names for the values of an enum and for the bits of flags: checked, parsed, rendered.

Names of an enum go with values ("gold", 1), names of flags with bits ("urgent", 0), of which 0 is the least
significant. A name looks like that of a field, so that it can be neither a number nor half of "a|b" or "a/b".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ovs_geneve.errors import EncodeError

Names = tuple[tuple[str, int], ...]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
"A dot separates option and field in `context.tier`, a slash value and mask, a bar flags."


def check_values(where: str, names: Names, bits: int) -> None:
    """Refuse names of an enum unless there are some, each with a value of its own that fits `bits`."""
    if not names:
        raise EncodeError(where, "an enum wants at least one named value")
    _check_distinct(where, names, "value")
    for name, value in names:
        if not 0 <= value < 1 << bits:
            raise EncodeError(where, f"{name} = {value} does not fit {bits} bits")


def check_flags(where: str, names: Names, bits: int) -> None:
    """Refuse names of flags unless each has a bit of its own among `bits`."""
    _check_distinct(where, names, "bit")
    for name, bit in names:
        if not 0 <= bit < bits:
            raise EncodeError(where, f"flag {name} is bit {bit}, the field has {bits} bits, from 0")


def read_value(text: str, names: Names, number: Callable[[str], int]) -> int:
    """Return the value that a name of an enum or, with `number`, a text stands for; ValueError rises."""
    value = dict(names).get(text)
    return number(text) if value is None else value


def read_flags(text: str, names: Names, number: Callable[[str], int]) -> int:
    """Return the bits in "a|b", in which numbers may stand too; ValueError rises."""
    bits = dict(names)
    value = 0
    for word in text.split("|"):
        value |= 1 << bits[word] if word in bits else number(word)
    return value


def render_enum(value: int, names: Names) -> str:
    """Return the name of a value; the number when it has none."""
    return next((name for name, number in names if number == value), str(value))


def render_flags(value: int, names: Names) -> str:
    """Return the names of the bits that are set, joined by a bar, bits without a name in hexadecimal."""
    return "|".join(_flag_words(value, names)) or "0x0"


def _flag_words(value: int, names: Names) -> Iterator[str]:
    for name, bit in sorted(names, key=lambda pair: pair[1]):
        if value >> bit & 1:
            yield name
            value &= ~(1 << bit)
    if value:
        yield f"{value:#x}"


def _check_distinct(where: str, names: Names, what: str) -> None:
    by_name, by_number = dict[str, int](), dict[int, str]()
    for name, number in names:
        if not NAME.fullmatch(name):
            raise EncodeError(
                where, f"{what} name {name!r}: want letters, digits, - and _, at most 63, no digit first"
            )
        if name in by_name:
            raise EncodeError(where, f"name {name} is there twice")
        if number in by_number:
            raise EncodeError(where, f"{what} {number} is both {by_number[number]} and {name}")
        by_name[name], by_number[number] = number, name
