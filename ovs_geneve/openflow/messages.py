# SPDX-License-Identifier: Apache-2.0
"""The header every OpenFlow message starts with, and the small messages of a connection's life.

Wire version 6 (OpenFlow 1.5) only; a HELLO and a HELLO_FAILED error may carry any version. Pure.

    0        8        16               32
    ┌────────┬────────┬────────────────┐
    │version │ type   │ length         │    OpenFlow 1.5.1 section 7.1: `length` counts these 8 bytes too
    ├────────┴────────┴────────────────┤
    │ xid                              │
    └──────────────────────────────────┘
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.openflow.errors_table import EXPERIMENTER_ERROR, error_name

VERSION = 6
"OpenFlow 1.5 on the wire."

HEADER_LENGTH = 8
MAX_LENGTH = 0xFFFF

_HEADER = Struct("!BBHI")
_ERROR = Struct("!HH")
_WORD = Struct("!I")
_ELEMENT = Struct("!HH")
_VERSION_BITMAP = 1
_HELLO_FAILED_INCOMPATIBLE = _ERROR.pack(0, 0)


class MessageType(IntEnum):
    """OpenFlow 1.5.1 section 7.1, enum ofp_type: those used here."""

    HELLO = 0
    ERROR = 1
    ECHO_REQUEST = 2
    ECHO_REPLY = 3
    EXPERIMENTER = 4
    FEATURES_REQUEST = 5
    FEATURES_REPLY = 6
    PACKET_IN = 10
    FLOW_REMOVED = 11
    PORT_STATUS = 12
    PACKET_OUT = 13
    FLOW_MOD = 14
    GROUP_MOD = 15
    MULTIPART_REQUEST = 18
    MULTIPART_REPLY = 19
    BARRIER_REQUEST = 20
    BARRIER_REPLY = 21
    METER_MOD = 29
    BUNDLE_CONTROL = 33
    BUNDLE_ADD_MESSAGE = 34


class Header(NamedTuple):
    """The first eight bytes of a message; `type` is a plain int because a peer may send any."""

    version: int
    type: int
    length: int
    xid: int


class ErrorMessage(NamedTuple):
    """A decoded error message: what the switch refused, and why."""

    error_type: int
    code: int
    name: str
    "As OVS spells it: `OFPBMC_BAD_WILDCARDS`, `NXFMFC_INVALID_TLV_FIELD`."
    request: bytes
    "The refused message, whole or its beginning; text for a failed HELLO."


def decode_header(message: bytes | bytearray) -> Header:
    """Decode the header at the front of `message`."""
    if len(message) < HEADER_LENGTH:
        raise DecodeError("openflow header", f"{len(message)} bytes, want 8")
    return Header._make(_HEADER.unpack_from(message))


def encode_message(message_type: int, body: bytes = b"", *, xid: int = 0) -> bytes:
    """Put a header before `body`; both together hold at most 65,535 bytes."""
    length = HEADER_LENGTH + len(body)
    if length > MAX_LENGTH:
        raise EncodeError("openflow message", f"{length} bytes do not fit into one message")
    return _HEADER.pack(VERSION, message_type, length, xid) + body


def stamp(message: bytes, xid: int) -> bytes:
    """Copy `message` with another transaction identifier."""
    return message[:4] + _WORD.pack(xid) + message[8:]


def encode_barrier(xid: int) -> bytes:
    """Encode BARRIER_REQUEST: its reply comes after everything before it has been worked off."""
    return _HEADER.pack(VERSION, MessageType.BARRIER_REQUEST, HEADER_LENGTH, xid)


def encode_echo_request(xid: int) -> bytes:
    """Encode ECHO_REQUEST without a payload."""
    return _HEADER.pack(VERSION, MessageType.ECHO_REQUEST, HEADER_LENGTH, xid)


def encode_echo_reply(request: bytes) -> bytes:
    """Encode the answer to an ECHO_REQUEST: the same xid and payload."""
    return request[:1] + bytes((MessageType.ECHO_REPLY,)) + request[2:]


def encode_hello(*, xid: int = 0, versions: Iterable[int] = (VERSION,)) -> bytes:
    """Encode HELLO with a version bitmap that offers `versions`, each below 32."""
    bitmap = _WORD.pack(sum(1 << version for version in set(versions)))
    return encode_message(
        MessageType.HELLO, _ELEMENT.pack(_VERSION_BITMAP, _ELEMENT.size + len(bitmap)) + bitmap, xid=xid
    )


def decode_hello(message: bytes) -> frozenset[int]:
    """Tell which wire versions a HELLO offers (OpenFlow 1.5.1 section 7.5.1).

    Without a version bitmap a peer offers the header's version and, by the rule that the lower of both
    sides counts, all below it.
    """
    header = decode_header(message)
    if header.type != MessageType.HELLO:
        raise DecodeError("hello", f"message type {header.type}")
    offset = HEADER_LENGTH
    while offset + _ELEMENT.size <= len(message):
        kind, length = _ELEMENT.unpack_from(message, offset)
        if length < _ELEMENT.size or offset + length > len(message):
            raise DecodeError("hello element", f"length {length} at {offset}")
        if kind == _VERSION_BITMAP:
            return _decode_bitmap(message[offset + _ELEMENT.size : offset + length])
        offset += (length + 7) & ~7
    return frozenset(range(1, header.version + 1))


def encode_hello_failed(hello: bytes, text: str) -> bytes:
    """Encode the error that ends a HELLO without a common version; OVS logs `text`.

    It carries the peer's version where that is the lower one, so that the peer can read it.
    """
    header = decode_header(hello)
    body = _HELLO_FAILED_INCOMPATIBLE + text.encode("ascii", "replace")
    version = min(header.version, VERSION)
    return bytes((version,)) + encode_message(MessageType.ERROR, body, xid=header.xid)[1:]


def decode_error(message: bytes) -> ErrorMessage:
    """Decode ERROR; experimenter errors (OpenFlow 1.5.1 section 7.5.4) count as type 0xffff."""
    if len(message) < HEADER_LENGTH + _ERROR.size:
        raise DecodeError("error message", f"{len(message)} bytes, want at least 12")
    error_type, code = _ERROR.unpack_from(message, HEADER_LENGTH)
    rest = message[HEADER_LENGTH + _ERROR.size :]
    if error_type != EXPERIMENTER_ERROR:
        return ErrorMessage(error_type, code, error_name(error_type, code), rest)
    if len(rest) < _WORD.size:
        raise DecodeError("error message", "an experimenter error without experimenter")
    (experimenter,) = _WORD.unpack_from(rest)
    return ErrorMessage(error_type, code, error_name(error_type, code, experimenter), rest[_WORD.size :])


def _decode_bitmap(words: bytes) -> frozenset[int]:
    # The first 32-bit word holds versions 0 to 31, the second 32 to 63, and so on.
    return frozenset(
        32 * index + bit
        for index in range(len(words) // 4)
        for bit in range(32)
        if _WORD.unpack_from(words, 4 * index)[0] >> bit & 1
    )
