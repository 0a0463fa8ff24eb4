# SPDX-License-Identifier: Apache-2.0
"""Typed bit fields laid over the data of an option.

    offset  0       8                      24      32
            +-------+----------------------+-------+
    data    | tier  |        zone          |       |   OptionLayout(length=4, fields=(tier, zone))
            +-------+----------------------+-------+

Offsets count bits from the most significant bit of the data; a value is an int whatever its kind,
and text only at the edge: `parse_value`, `parse_match`, `render_value`. Values of an enum and bits of
flags have names (`field_names.py`). Bits no field claims are sent as zero and reported by
`OptionLayout.unclaimed`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

import netaddr

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.geneve.field_names import (
    NAME,
    Names,
    check_flags,
    check_values,
    read_flags,
    read_value,
    render_enum,
    render_flags,
)
from ovs_geneve.geneve.option import MAX_OPTION_DATA, Option, OptionKey
from ovs_geneve.values import OptionClass, OptionType, option_class, option_type

MAX_INTEGER_BITS = 64
"The widest uint, enum and flags; wider data are `bytes`."

Written = int | str | Sequence[str]
"A value as people write it: a number, a text, or a list of flags."

_NUMBER = re.compile(r"(0[xX])?([0-9A-Fa-f]+)")
_BINARY = re.compile(r"0[bB][01]+")
_DIGIT_PAIRS = re.compile(r"(?:0[xX])?((?:[0-9A-Fa-f]{2})+)|((?:[0-9A-Fa-f]{2}:)+[0-9A-Fa-f]{2})")


class FieldKind(Enum):
    """How the bits of a field read; the value is the word in a schema."""

    UINT = "uint"
    ENUM = "enum"
    FLAGS = "flags"
    IPV4 = "ipv4"
    IPV6 = "ipv6"
    MAC = "mac"
    BYTES = "bytes"


INTEGERS = (FieldKind.UINT, FieldKind.ENUM, FieldKind.FLAGS)
"Kinds of any width up to MAX_INTEGER_BITS, whose masks read best as numbers."

_FIXED_BITS = {FieldKind.IPV4: 32, FieldKind.IPV6: 128, FieldKind.MAC: 48}

_WANTED = {
    FieldKind.UINT: "want a number, decimal or 0x...",
    FieldKind.ENUM: "want a number, decimal or 0x..., or one of its names",
    FieldKind.FLAGS: "want a number, decimal, 0x... or 0b..., or names of its flags",
    FieldKind.IPV4: "want an IPv4 address or a number",
    FieldKind.IPV6: "want an IPv6 address or a number",
    FieldKind.MAC: "want a MAC address or a number",
    FieldKind.BYTES: "want hexadecimal digits, two for each byte",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionField:
    """A named run of bits in the data of an option."""

    name: str
    kind: FieldKind
    offset: int
    "Bits from the most significant bit of the data."
    bits: int
    names: Names = ()
    "Of an enum the names of values, of flags the names of bits, 0 being the least significant."

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise EncodeError(
                f"field {self.name!r}", "want letters, digits, - and _, at most 63, no digit first"
            )
        if self.offset < 0:
            raise EncodeError(f"field {self.name}", f"offset {self.offset} is negative")
        _check_bits(f"field {self.name}", self.kind, self.bits)
        _check_names(f"field {self.name}", self)

    @property
    def end(self) -> int:
        """Return the offset of the first bit behind the field."""
        return self.offset + self.bits


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionLayout:
    """The fixed shape of an option: class, type, length and the fields in it."""

    name: str
    option_class: OptionClass
    option_type: OptionType
    length: int
    "Bytes of data: a multiple of 4, at most 124."
    fields: tuple[OptionField, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise EncodeError("option name", "is empty")
        option_class(self.option_class)
        option_type(self.option_type)
        if self.length % 4 or not 0 <= self.length <= MAX_OPTION_DATA:
            raise EncodeError(
                "length", f"{self.length} bytes: want a multiple of 4, at most {MAX_OPTION_DATA}"
            )
        _check_fields(self.fields, self.length * 8)

    @property
    def key(self) -> OptionKey:
        """Return class and type, the pair that names the option on the wire."""
        return self.option_class, self.option_type

    def field(self, name: str) -> OptionField:
        """Return the field called `name`; raise EncodeError when there is none."""
        for field in self.fields:
            if field.name == name:
                return field
        names = ", ".join(field.name for field in self.fields)
        raise EncodeError(f"{self.name}.{name}", f"no such field; there are: {names or 'none'}")

    def encode_values(self, values: Mapping[str, Written]) -> bytes:
        """Return the data with those values, every other bit zero; raise EncodeError naming the field."""
        number = 0
        for name, value in values.items():
            field = self.field(name)
            number |= self._parse(field, value) << self._shift(field)
        return number.to_bytes(self.length, "big")

    def encode_option(self, values: Mapping[str, Written]) -> Option:
        """Return the option with those values; raise EncodeError naming the field."""
        return Option(
            option_class=self.option_class, option_type=self.option_type, data=self.encode_values(values)
        )

    def decode_values(self, data: bytes) -> dict[str, int]:
        """Return every field's value, in the order of `fields`; raise DecodeError for another length."""
        number = self._number(data)
        return {field.name: number >> self._shift(field) & _ones(field.bits) for field in self.fields}

    def unclaimed(self, data: bytes) -> int:
        """Return `data` as a number without the bits of any field: 0 from a sender of ours."""
        number = self._number(data)
        for field in self.fields:
            number &= ~(_ones(field.bits) << self._shift(field))
        return number

    def match_bits(self, name: str, value: int, mask: int | None = None) -> tuple[int, int]:
        """Return value and mask as numbers over the whole data, most significant byte first.

        `mask` has the width of the field; None means all of it. Value bits outside of the mask are
        refused: OVS would clear them, and the flow would not be the one that was asked for.
        """
        field = self.field(name)
        wanted = self._parse(field, value)
        care = _ones(field.bits) if mask is None else self._parse(field, mask)
        if wanted & ~care:
            raise EncodeError(f"{self.name}.{name}", f"value {wanted:#x} has bits outside of mask {care:#x}")
        return wanted << self._shift(field), care << self._shift(field)

    def _shift(self, field: OptionField) -> int:
        return self.length * 8 - field.end

    def _parse(self, field: OptionField, value: Written) -> int:
        return _parsed(f"{self.name}.{field.name}", field, value)

    def _number(self, data: bytes) -> int:
        if len(data) != self.length:
            raise DecodeError(f"option {self.name}", f"{len(data)} bytes of data: want {self.length}")
        return int.from_bytes(data, "big")


def parse_value(field: OptionField, value: Written) -> int:
    """Turn a number or its text into the bits of a field; raise EncodeError saying what is wanted.

    All kinds take an int and "0x..."; addresses take their usual text; `bytes` takes exactly two
    digits for each byte, with or without colons; an enum takes its names, flags take theirs as "a|b"
    or as a list. A bool is one bit.
    """
    return _parsed(f"field {field.name}", field, value)


def parse_match(field: OptionField, value: int | str) -> tuple[int, int | None]:
    """Turn "VALUE" or "VALUE/MASK" into value and mask; addresses also take a prefix length as mask.

    Raise EncodeError saying what is wanted. Whether the value fits the mask is for `match_bits`.
    """
    if isinstance(value, int) or "/" not in value:
        return parse_value(field, value), None
    text, _, mask = value.partition("/")
    where = f"mask of field {field.name}"
    if field.kind in (FieldKind.IPV4, FieldKind.IPV6) and mask.isascii() and mask.isdecimal():
        prefix = int(mask)
        if prefix > field.bits:
            raise EncodeError(where, f"/{prefix}: want a prefix length of at most {field.bits}")
        return parse_value(field, text), _ones(prefix) << (field.bits - prefix)
    return parse_value(field, text), _parsed(where, field, mask)


def render_value(field: OptionField, value: int) -> str:
    """Return the text people read; `parse_value` gives the same bits back."""
    _within(f"field {field.name}", field.bits, value)
    match field.kind:
        case FieldKind.UINT:
            return str(value)
        case FieldKind.ENUM:
            return render_enum(value, field.names)
        case FieldKind.FLAGS:
            return render_flags(value, field.names)
        case FieldKind.BYTES:
            return f"0x{value:0{field.bits // 4}x}"
        case FieldKind.MAC:
            return str(netaddr.EUI(value, version=48, dialect=netaddr.mac_unix_expanded))
        case FieldKind.IPV4:
            return str(netaddr.IPAddress(value, version=4))
        case FieldKind.IPV6:
            return str(netaddr.IPAddress(value, version=6))


def render_mask(field: OptionField, mask: int) -> str:
    """Return a mask as `parse_match` takes it: numbers in hexadecimal, addresses as addresses."""
    return f"{mask:#x}" if field.kind in INTEGERS else render_value(field, mask)


def _parsed(where: str, field: OptionField, value: Written) -> int:
    if isinstance(value, bool) and field.bits != 1:
        raise EncodeError(where, f"{value} is one bit, the field has {field.bits}; {_WANTED[field.kind]}")
    return _within(where, field.bits, int(value) if isinstance(value, int) else _read(where, field, value))


def _read(where: str, field: OptionField, value: str | Sequence[str]) -> int:
    text = value if isinstance(value, str) else "|".join(value) or "0"
    try:
        if not isinstance(value, str) and field.kind is not FieldKind.FLAGS:
            raise ValueError("a list")
        return _number_of(field, text)
    except (ValueError, netaddr.AddrFormatError) as error:
        names = f": {', '.join(name for name, _ in field.names)}" if field.names else ""
        said = text if isinstance(value, str) else list(value)
        raise EncodeError(where, f"{said!r}: {_WANTED[field.kind]}{names}, {field.bits} bits") from error


def _number_of(field: OptionField, text: str) -> int:
    match field.kind:
        case FieldKind.UINT:
            return _integer(text)
        case FieldKind.ENUM:
            return read_value(text, field.names, _integer)
        case FieldKind.FLAGS:
            return read_flags(text, field.names, _integer_or_binary)
        case FieldKind.BYTES:
            return _hexadecimal(field.bits, text)
        case FieldKind.IPV4 | FieldKind.IPV6 | FieldKind.MAC:
            return _integer(text) if text[:2] in ("0x", "0X") else _address(field.kind, text)


def _address(kind: FieldKind, text: str) -> int:
    if kind is FieldKind.MAC:
        return int(netaddr.EUI(text, version=48))
    if kind is FieldKind.IPV4:
        return int(netaddr.IPAddress(text, version=4, flags=netaddr.INET_PTON))
    return int(netaddr.IPAddress(text, version=6))


def _integer(text: str) -> int:
    # int() also takes blanks, signs and underscores; a schema value has none of them.
    match = _NUMBER.fullmatch(text)
    if not match:
        raise ValueError(text)
    return int(match[2], 16 if match[1] else 10)


def _integer_or_binary(text: str) -> int:
    return int(text[2:], 2) if _BINARY.fullmatch(text) else _integer(text)


def _hexadecimal(bits: int, text: str) -> int:
    match = _DIGIT_PAIRS.fullmatch(text)
    digits = (match[1] or match[2]).replace(":", "") if match else ""
    if len(digits) * 4 != bits:
        raise ValueError(text)
    return int(digits, 16)


def _within(where: str, bits: int, number: int) -> int:
    if not 0 <= number <= _ones(bits):
        raise EncodeError(where, f"{number} does not fit {bits} bits: want 0 to {_ones(bits):#x}")
    return number


def _ones(bits: int) -> int:
    return (1 << bits) - 1


def _check_bits(where: str, kind: FieldKind, bits: int) -> None:
    fixed = _FIXED_BITS.get(kind)
    if fixed is not None and bits != fixed:
        raise EncodeError(where, f"{bits} bits: {kind.value} has {fixed}")
    if kind is FieldKind.BYTES and (bits % 8 or not 8 <= bits <= MAX_OPTION_DATA * 8):
        raise EncodeError(where, f"{bits} bits: bytes want a multiple of 8, at most {MAX_OPTION_DATA * 8}")
    if kind in INTEGERS and not 1 <= bits <= MAX_INTEGER_BITS:
        raise EncodeError(where, f"{bits} bits: {kind.value} wants 1 to {MAX_INTEGER_BITS}")


def _check_names(where: str, field: OptionField) -> None:
    if field.kind is FieldKind.ENUM:
        check_values(where, field.names, field.bits)
    elif field.kind is FieldKind.FLAGS:
        check_flags(where, field.names, field.bits)
    elif field.names:
        raise EncodeError(where, f"{field.kind.value} has no names: they go with enum and flags")


def _check_fields(fields: tuple[OptionField, ...], total: int) -> None:
    names = set()
    for field in fields:
        if field.name in names:
            raise EncodeError(f"field {field.name}", "is there twice")
        if field.end > total:
            raise EncodeError(f"field {field.name}", f"ends at bit {field.end}, the option has {total}")
        names.add(field.name)
    for left, right in pairwise(sorted(fields, key=lambda field: field.offset)):
        if left.end > right.offset:
            raise EncodeError(f"field {right.name}", f"overlaps field {left.name} at bit {right.offset}")
