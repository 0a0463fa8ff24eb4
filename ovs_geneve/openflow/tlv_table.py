# SPDX-License-Identifier: Apache-2.0
"""The TLV map of a bridge: which GENEVE option is which tun_metadata field.

NXT_TLV_TABLE_MOD, _REQUEST and _REPLY of OVS `include/openflow/nicira-ext.h`. The map belongs to one bridge
and is lost when vswitchd restarts. What OVS refuses: adding an index or an option twice, deleting one that
a flow uses; a MOD is all or nothing. Pure.

    header 8 B │ experimenter 0x2320 │ subtype │ command 2 B, 6 B zero │ maps, 8 B each
                                                                        └ class, type, length, index, 2 B zero
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.openflow.errors_table import NICIRA
from ovs_geneve.openflow.messages import MessageType, decode_header, encode_message
from ovs_geneve.values import option_class, option_type

MAX_OPTION_LENGTH = 124
"Bytes of data that one option can hold (RFC 8926 3.5: 5 bits of 4-byte words)."

MAX_INDEX = 63

NXT_TLV_TABLE_MOD = 24
NXT_TLV_TABLE_REQUEST = 25
NXT_TLV_TABLE_REPLY = 26

_EXPERIMENTER = Struct("!II")
_MOD = Struct("!H6x")
_REPLY = Struct("!IH10x")
_MAP = Struct("!HBBH2x")
_BODY_OFFSET = 8 + _EXPERIMENTER.size


class TlvCommand(IntEnum):
    """What NXT_TLV_TABLE_MOD does (nicira-ext.h, enum nx_tlv_table_mod_command)."""

    ADD = 0
    DELETE = 1
    "Takes the index alone to find the map; one that is not there is no error."
    CLEAR = 2


@dataclass(frozen=True, slots=True, order=True)
class TlvMap:
    """One option and the tun_metadata field that carries its data."""

    option_class: int
    option_type: int
    length: int
    "Bytes of option data: a multiple of 4, at most 124."
    index: int
    "N of tun_metadataN, 0 to 63."

    def __post_init__(self) -> None:
        option_class(self.option_class)
        option_type(self.option_type)
        if self.length % 4 or not 0 <= self.length <= MAX_OPTION_LENGTH:
            raise EncodeError("tlv map length", f"{self.length} bytes: want a multiple of 4, at most 124")
        if not 0 <= self.index <= MAX_INDEX:
            raise EncodeError("tlv map index", f"{self.index} is not within 0 and 63")


@dataclass(frozen=True, slots=True, kw_only=True)
class TlvTable:
    """What a bridge maps now, and how much it could."""

    max_space: int
    "Bytes that all mapped options may take together: 256 in OVS."
    max_fields: int
    maps: tuple[TlvMap, ...]


def encode_tlv_mod(command: TlvCommand, maps: Iterable[TlvMap] = (), *, xid: int = 0) -> bytes:
    """Encode NXT_TLV_TABLE_MOD; `maps` stays empty for CLEAR."""
    body = b"".join(_MAP.pack(m.option_class, m.option_type, m.length, m.index) for m in maps)
    return _encode(NXT_TLV_TABLE_MOD, _MOD.pack(command) + body, xid)


def decode_tlv_mod(message: bytes) -> tuple[TlvCommand, tuple[TlvMap, ...]]:
    """Decode NXT_TLV_TABLE_MOD: what a switch does with ours."""
    body = _body(message, NXT_TLV_TABLE_MOD, _MOD.size)
    (command,) = _MOD.unpack_from(body)
    try:
        return TlvCommand(command), _decode_maps(body[_MOD.size :])
    except ValueError as error:
        raise DecodeError("tlv table command", str(command)) from error


def encode_tlv_request(*, xid: int = 0) -> bytes:
    """Encode NXT_TLV_TABLE_REQUEST."""
    return _encode(NXT_TLV_TABLE_REQUEST, b"", xid)


def decode_tlv_reply(message: bytes) -> TlvTable:
    """Decode NXT_TLV_TABLE_REPLY."""
    body = _body(message, NXT_TLV_TABLE_REPLY, _REPLY.size)
    max_space, max_fields = _REPLY.unpack_from(body)
    return TlvTable(max_space=max_space, max_fields=max_fields, maps=_decode_maps(body[_REPLY.size :]))


def _encode(subtype: int, body: bytes, xid: int) -> bytes:
    return encode_message(MessageType.EXPERIMENTER, _EXPERIMENTER.pack(NICIRA, subtype) + body, xid=xid)


def _body(message: bytes, wanted: int, fixed: int) -> bytes:
    """Return what follows the experimenter header, after checking kind and length."""
    header = decode_header(message)
    if header.type != MessageType.EXPERIMENTER or len(message) < _BODY_OFFSET:
        raise DecodeError("tlv table message", f"message type {header.type}, {len(message)} bytes")
    experimenter, subtype = _EXPERIMENTER.unpack_from(message, 8)
    if (experimenter, subtype) != (NICIRA, wanted):
        raise DecodeError("tlv table message", f"experimenter {experimenter:#x}, subtype {subtype}")
    space = len(message) - _BODY_OFFSET - fixed
    if space < 0 or space % _MAP.size:
        raise DecodeError("tlv table message", f"{len(message)} bytes")
    return message[_BODY_OFFSET:]


def _decode_maps(body: bytes) -> tuple[TlvMap, ...]:
    try:
        return tuple(TlvMap(*fields) for fields in _MAP.iter_unpack(body))
    except EncodeError as error:  # the same limits, but here the peer broke them
        raise DecodeError(error.field, error.reason) from error
