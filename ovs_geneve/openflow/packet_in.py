# SPDX-License-Identifier: Apache-2.0
"""Packets that a switch sends up, with what it knew of them (nicira-ext.h: NXT_PACKET_IN2). Pure.

That form alone carries `userdata`, which tells whose packet it is. It holds for a whole connection, so what has no
userdata can be turned into OpenFlow's own message, for who expects that.

    NXT_PACKET_IN2                        one property, the next begins at a multiple of 8
    +------------------------------+      +----------+----------+---------------------+
    | header, 0x2320, 30: 16 bytes |      | type 2   | length 2 | value …             |
    +------------------------------+      +----------+----------+---------------------+
    | properties …                 |      the length counts all of that; a 64-bit value has 4 bytes of padding before it
    +------------------------------+
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from types import MappingProxyType

from ovs_geneve.errors import DecodeError
from ovs_geneve.openflow.fields import HEADER_SIZE, REGS, XREGS, Field, is_tun_metadata, parse_header
from ovs_geneve.openflow.messages import MessageType, decode_header, encode_message

UNKNOWN_COOKIE = 0xFFFF_FFFF_FFFF_FFFF
"OVS leaves the cookie out where no flow is the cause."

MISS_SEND_LENGTH = 128
"OFP_DEFAULT_MISS_SEND_LEN."

_NX_VENDOR_ID = 0x00002320
_NXT_SET_PACKET_IN_FORMAT = 16
_NXT_PACKET_IN2 = 30
_NXPIF_NXT_PACKET_IN2 = 2
_OFPT_SET_CONFIG = 9
_OFPC_FRAG_NX_MATCH = 3

_PACKET = 0
_FULL_LENGTH = 1
_TABLE_ID = 3
_COOKIE = 4
_REASON = 5
_METADATA = 6
_USERDATA = 7

_EXPERIMENTER = struct.Struct("!II")
_PACKET_IN2_HEAD = _EXPERIMENTER.pack(_NX_VENDOR_ID, _NXT_PACKET_IN2)
_PROPERTIES_AT = 16
_PROPERTY = struct.Struct("!HH")
_SET_CONFIG = struct.Struct("!HH")
_STANDARD = struct.Struct("!IHBBQHH")
_NO_BUFFER = 0xFFFF_FFFF
_OXM_MATCH = 1
_COOKIE_VALUE_AT = 8


class PacketInReason(IntEnum):
    """Why a packet was sent up (openflow-1.5.1 7.4.1, enum ofp_packet_in_reason)."""

    TABLE_MISS = 0
    APPLY_ACTION = 1
    INVALID_TTL = 2
    ACTION_SET = 3
    GROUP = 4
    PACKET_OUT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketIn:
    """One packet that a flow sent to the controller."""

    reason: int
    "A `PacketInReason`; plain, because a switch may say anything."
    table_id: int
    cookie: int
    "That of the flow which sent it."
    userdata: bytes
    "As in the action `Controller`."
    fields: Mapping[Field, int]
    """What the switch had noted of it, fields that are zero left out, registers one by one. An option that is present
    is there at its mapped length even where it is zero."""
    data: bytes
    "The packet, or its beginning."
    length: int
    "Of the whole packet."

    @property
    def options(self) -> Mapping[int, bytes]:
        """The options that the packet carries: the data of each by the number of its tun_metadata."""
        return {
            int(field.name.removeprefix("tun_metadata")): value.to_bytes(field.width)
            for field, value in self.fields.items()
            if is_tun_metadata(field)
        }


def encode_packet_in_setup(xid: int = 0) -> bytes:
    """Encode the messages that make a connection get packets, and in this form.

    SET_CONFIG is for the switch's own management socket: there OVS sends nothing up while miss_send_len is 0. It says
    as well that first fragments show their ports: otherwise OVS makes the ports of all fragments 0, and who fragments
    what is sent to a port slips past each flow that names it (ovs-fields(7), IPv4/IPv6 fragments).
    """
    form = _EXPERIMENTER.pack(_NX_VENDOR_ID, _NXT_SET_PACKET_IN_FORMAT) + _NXPIF_NXT_PACKET_IN2.to_bytes(4)
    config = encode_message(
        _OFPT_SET_CONFIG, _SET_CONFIG.pack(_OFPC_FRAG_NX_MATCH, MISS_SEND_LENGTH), xid=xid
    )
    return config + encode_message(MessageType.EXPERIMENTER, form, xid=xid)


def is_packet_in(message: bytes) -> bool:
    """Tell whether a whole message is an NXT_PACKET_IN2."""
    return message[1] == MessageType.EXPERIMENTER and message[8:_PROPERTIES_AT] == _PACKET_IN2_HEAD


def has_userdata(message: bytes) -> bool:
    """Tell whether a packet was sent up with userdata, without decoding the rest of it."""
    position, end = _PROPERTIES_AT, len(message)
    while position + _PROPERTY.size <= end:
        kind, length = _PROPERTY.unpack_from(message, position)
        if kind == _USERDATA:
            return True
        position += max(length + -length % 8, _PROPERTY.size)
    return False


def decode_packet_in(message: bytes) -> PacketIn:
    """Decode NXT_PACKET_IN2; raise DecodeError for what is none.

    Fields that are not known here are left out.
    """
    found = _properties(message)
    data = found.get(_PACKET)
    if data is None:
        raise DecodeError("packet-in", "carries no packet")
    length = int.from_bytes(found.get(_FULL_LENGTH, b"")[:4])
    return PacketIn(
        reason=_first_byte(found, _REASON),
        table_id=_first_byte(found, _TABLE_ID),
        cookie=_cookie(found),
        userdata=found.get(_USERDATA, b""),
        fields=MappingProxyType(dict(_fields(found.get(_METADATA, b"")))),
        data=data,
        length=max(length, len(data)),
    )


def as_standard(message: bytes) -> bytes:
    """Turn an NXT_PACKET_IN2 into OFPT_PACKET_IN of OpenFlow 1.5, which has the same fields but no userdata."""
    found = _properties(message)
    data, metadata = found.get(_PACKET, b""), found.get(_METADATA, b"")
    match_length = 4 + len(metadata)
    head = _STANDARD.pack(
        _NO_BUFFER,
        max(int.from_bytes(found.get(_FULL_LENGTH, b"")[:4]), len(data)) & 0xFFFF,
        _first_byte(found, _REASON),
        _first_byte(found, _TABLE_ID),
        _cookie(found),
        _OXM_MATCH,
        match_length,
    )
    body = head + metadata + bytes(-match_length % 8 + 2) + data
    return encode_message(MessageType.PACKET_IN, body, xid=decode_header(message).xid)


def _properties(message: bytes) -> dict[int, bytes]:
    if not is_packet_in(message):
        raise DecodeError("packet-in", f"message type {message[1]}")
    found: dict[int, bytes] = {}
    position, end = _PROPERTIES_AT, len(message)
    while position + _PROPERTY.size <= end:
        kind, length = _PROPERTY.unpack_from(message, position)
        if length < _PROPERTY.size or position + length > end:
            raise DecodeError("packet-in", f"a property of {length} bytes")
        found[kind] = message[position + _PROPERTY.size : position + length]
        position += length + -length % 8
    return found


def _first_byte(found: Mapping[int, bytes], kind: int) -> int:
    value = found.get(kind)
    return value[0] if value else 0


def _cookie(found: Mapping[int, bytes]) -> int:
    value = found.get(_COOKIE)
    if value is None:
        return UNKNOWN_COOKIE
    return int.from_bytes(value[_COOKIE_VALUE_AT - _PROPERTY.size :])


def _fields(metadata: bytes) -> Iterator[tuple[Field, int]]:
    position, end = 0, len(metadata)
    while position + HEADER_SIZE <= end:
        header = metadata[position : position + HEADER_SIZE]
        value_at = position + HEADER_SIZE
        position = value_at + header[3]
        if position > end:
            raise DecodeError("packet-in", "a field is cut off")
        field = _field(header)
        if field is None:
            continue
        value = int.from_bytes(metadata[value_at : value_at + field.width])
        if field in XREGS:
            yield from _registers(field, value)
        elif value or is_tun_metadata(field):
            yield field, value


@lru_cache(maxsize=1024)
def _field(header: bytes) -> Field | None:
    """Return the field of a header; None for one that is not known here, of a newer switch perhaps."""
    try:
        return parse_header(header)[0]
    except DecodeError:
        return None


def _registers(xreg: Field, value: int) -> Iterator[tuple[Field, int]]:
    high = 2 * XREGS.index(xreg)
    for register, number in ((REGS[high], value >> 32), (REGS[high + 1], value & 0xFFFF_FFFF)):
        if number:
            yield register, number
