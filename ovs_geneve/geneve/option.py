# SPDX-License-Identifier: Apache-2.0
"""Geneve options, the TLVs between header and payload (RFC 8926 3.5).

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-------------------------------+-+-------------+-----+---------+
    |         Option Class          |C|    Type     | rsv | Length  |
    +-------------------------------+-+-------------+-----+---------+
    |            data, 4 * Length bytes: none to 124 ...            |

The C bit here is bit 7 of the type and part of its number. What the data mean is the business of
`fields.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.geneve.oddity import Oddity, OddityKind
from ovs_geneve.values import OptionClass, OptionType, is_critical, option_class, option_type

OPTION_HEADER_LENGTH = 4
"Bytes before an option's data."

MAX_OPTION_DATA = 124
"Bytes of data: 31 words of 4 bytes, what 5 bits of Length can say."

_LAYOUT = struct.Struct("!HBB")
_LENGTH = 0x1F

OptionKey = tuple[OptionClass, OptionType]
"What identifies an option within a packet."


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option TLV of RFC 8926 3.5."""

    option_class: OptionClass
    option_type: OptionType
    "Bit 7 set means critical: a tunnel endpoint that does not know the option drops the packet."
    data: bytes = b""

    def __post_init__(self) -> None:
        option_class(self.option_class)
        option_type(self.option_type)
        if len(self.data) % 4 or len(self.data) > MAX_OPTION_DATA:
            raise EncodeError("option data", f"{len(self.data)} bytes: want a multiple of 4, at most 124")

    @property
    def key(self) -> OptionKey:
        """Return class and type, the pair that names the option."""
        return self.option_class, self.option_type

    @property
    def critical(self) -> bool:
        """Tell whether an endpoint that does not know the option must drop the packet."""
        return is_critical(self.option_type)

    @property
    def wire_length(self) -> int:
        """Return the bytes the option takes in a packet, its own header included."""
        return OPTION_HEADER_LENGTH + len(self.data)


def encode_option(option: Option) -> bytes:
    """Return header and data of one option."""
    return _LAYOUT.pack(option.option_class, option.option_type, len(option.data) // 4) + option.data


def decode_options(data: bytes) -> tuple[tuple[Option, ...], tuple[Oddity, ...]]:
    """Read the whole options area, exactly `data`; raise DecodeError when the lengths do not add up to it.

    RFC 8926 3.5: an endpoint drops a packet whose option lengths disagree with Opt Len.
    """
    options: list[Option] = []
    oddities: list[Oddity] = []
    offset = 0
    while offset < len(data):
        option, reserved = _decode_option(data, offset, len(options))
        if reserved:
            where = f"option {len(options)}"
            oddities.append(Oddity(kind=OddityKind.RESERVED_OPTION_BITS, where=where, value=reserved))
        options.append(option)
        offset += option.wire_length
    return tuple(options), tuple(oddities) + duplicates(options)


def duplicates(options: Iterable[Option]) -> tuple[Oddity, ...]:
    """Return a remark for each option whose class and type an earlier one has; its value is class and type.

    RFC 8926 does not forbid them; OVS keeps the last one only, so two readers may disagree.
    """
    seen: set[OptionKey] = set()
    found = []
    for index, option in enumerate(options):
        if option.key in seen:
            value = option.option_class << 8 | option.option_type
            found.append(Oddity(kind=OddityKind.DUPLICATE_OPTION, where=f"option {index}", value=value))
        seen.add(option.key)
    return tuple(found)


def _decode_option(data: bytes, offset: int, index: int) -> tuple[Option, int]:
    left = len(data) - offset
    if left < OPTION_HEADER_LENGTH:
        raise DecodeError(f"option {index}", f"{left} of {OPTION_HEADER_LENGTH} header bytes")
    number, kind, last = _LAYOUT.unpack_from(data, offset)
    length = (last & _LENGTH) * 4
    if OPTION_HEADER_LENGTH + length > left:
        where = f"option {index} length"
        raise DecodeError(where, f"{length} bytes of data, {left - OPTION_HEADER_LENGTH} are left of Opt Len")
    start = offset + OPTION_HEADER_LENGTH
    option = Option(
        option_class=OptionClass(number), option_type=OptionType(kind), data=data[start : start + length]
    )
    return option, last >> 5
