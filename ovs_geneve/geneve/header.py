# SPDX-License-Identifier: Apache-2.0
"""The fixed part of a Geneve header (RFC 8926 3.4).

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---+-----------+-+-+-----------+-------------------------------+
    |Ver|  Opt Len  |O|C| reserved  |         Protocol Type         |
    +---+-----------+-+-+-----------+---------------+---------------+
    |       Virtual Network Identifier (VNI)        |   reserved    |
    +-----------------------------------------------+---------------+
    |                options, 4 * Opt Len bytes ...                 |

Opt Len and C follow from the options, so they are arguments of `encode_header` and no fields of
`Header`: a packet whose header contradicts its options cannot be built.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.geneve.oddity import Oddity, OddityKind
from ovs_geneve.values import Vni, vni

HEADER_LENGTH = 8
"Bytes of the fixed part; with options a header has at most 260 (RFC 8926 3.4)."

MAX_OPTIONS_LENGTH = 252
"Bytes of all options with their own headers: 63 words of 4 bytes, what 6 bits of Opt Len can say."

GENEVE_PORT = 6081
"The UDP destination port IANA assigned; others are allowed (RFC 8926 3.3)."

ETHERNET_PAYLOAD = 0x6558
"Protocol type of an Ethernet frame, Transparent Ethernet Bridging: all that OVS sends."

FIRST_ETHERTYPE = 0x0600
"Smaller numbers are IEEE 802.3 lengths, not Ethertypes."

_LAYOUT = struct.Struct("!BBHI")
_O_BIT = 0x80
_C_BIT = 0x40
_RESERVED_FLAGS = 0x3F


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a sender chooses in the fixed part."""

    vni: Vni
    protocol_type: int = ETHERNET_PAYLOAD
    "The Ethertype of the payload."
    oam: bool = False
    "The O bit: a control message, never to be handed to a workload."

    def __post_init__(self) -> None:
        vni(self.vni)
        if not 0 <= self.protocol_type <= 0xFFFF:
            raise EncodeError("protocol type", f"{self.protocol_type} is not within 0 and 0xffff")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedHeader:
    """A header as it came, with the fields that describe the options behind it."""

    header: Header
    options_length: int
    "Opt Len in bytes: 0 to 252."
    critical: bool
    "The C bit as received; `packet.decode` compares it with the options."
    oddities: tuple[Oddity, ...] = ()


def encode_header(header: Header, *, options_length: int, critical: bool) -> bytes:
    """Return the 8 bytes; `options_length` is in bytes. Raise EncodeError for what RFC 8926 3.4 forbids."""
    if options_length % 4 or not 0 <= options_length <= MAX_OPTIONS_LENGTH:
        raise EncodeError("options", f"{options_length} bytes: want a multiple of 4, at most 252")
    if header.protocol_type < FIRST_ETHERTYPE:
        raise EncodeError(
            "protocol type", f"{header.protocol_type:#06x} is no Ethertype: want 0x0600 or more"
        )
    flags = header.oam * _O_BIT | critical * _C_BIT
    return _LAYOUT.pack(options_length // 4, flags, header.protocol_type, header.vni << 8)


def decode_header(data: bytes) -> DecodedHeader:
    """Read the first 8 bytes of `data`; raise DecodeError when short or of another version."""
    if len(data) < HEADER_LENGTH:
        raise DecodeError("header", f"{len(data)} of {HEADER_LENGTH} bytes")
    first, flags, protocol_type, last = _LAYOUT.unpack_from(data)
    if first >> 6:
        # RFC 8926 3.4: an endpoint drops versions it does not know; OVS does too.
        raise DecodeError("version", f"{first >> 6}: only version 0 is defined")
    header = Header(vni=Vni(last >> 8), protocol_type=protocol_type, oam=bool(flags & _O_BIT))
    return DecodedHeader(
        header=header,
        options_length=(first & 0x3F) * 4,
        critical=bool(flags & _C_BIT),
        oddities=_oddities(flags & _RESERVED_FLAGS, last & 0xFF, protocol_type),
    )


def _oddities(reserved_flags: int, reserved_byte: int, protocol_type: int) -> tuple[Oddity, ...]:
    # Reserved bits are ignored on receipt (RFC 8926 3.4): kept visible, no reason to refuse.
    found = []
    if reserved_flags:
        found.append(Oddity(kind=OddityKind.RESERVED_FLAGS, where="flags", value=reserved_flags))
    if reserved_byte:
        found.append(Oddity(kind=OddityKind.RESERVED_BYTE, where="reserved", value=reserved_byte))
    if protocol_type < FIRST_ETHERTYPE:
        found.append(Oddity(kind=OddityKind.NOT_AN_ETHERTYPE, where="protocol type", value=protocol_type))
    return tuple(found)
