# SPDX-License-Identifier: Apache-2.0
"""Netlink messages and attributes as bytes (linux/netlink.h, linux/rtnetlink.h).

pyroute2 has the numbers; its message classes know neither flower nor tunnel_key.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

NESTED = 0x8000
"NLA_F_NESTED; 0x4000 is NLA_F_NET_BYTEORDER."
_TYPE_MASK = 0x3FFF
_HEADER = struct.Struct("=IHHII")

ROOT_DUMP = 0x300
REPLACE, EXCLUSIVE, CREATE = 0x100, 0x200, 0x400
REQUEST, ACKNOWLEDGE = 0x1, 0x4


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer without its netlink header; `body` is the fixed part and the attributes."""

    type: int
    body: bytes
    flags: int = 0


def attribute(number: int, payload: bytes) -> bytes:
    """Encode an attribute, padded to four bytes."""
    return struct.pack("=HH", len(payload) + 4, number) + payload + bytes(-len(payload) % 4)


def nested(number: int, *attributes: bytes) -> bytes:
    """Encode an attribute that holds attributes."""
    return attribute(number | NESTED, b"".join(attributes))


def text(number: int, value: str) -> bytes:
    """Encode a string that ends with a zero."""
    return attribute(number, value.encode() + b"\0")


def u8(number: int, value: int) -> bytes:
    """Encode a byte."""
    return attribute(number, struct.pack("=B", value))


def u16(number: int, value: int) -> bytes:
    """Encode 16 bits in host order."""
    return attribute(number, struct.pack("=H", value))


def u32(number: int, value: int) -> bytes:
    """Encode 32 bits in host order."""
    return attribute(number, struct.pack("=I", value))


def be16(number: int, value: int) -> bytes:
    """Encode 16 bits in network order."""
    return attribute(number, struct.pack("!H", value))


def be32(number: int, value: int) -> bytes:
    """Encode 32 bits in network order."""
    return attribute(number, struct.pack("!I", value))


def be64(number: int, value: int) -> bytes:
    """Encode 64 bits in network order."""
    return attribute(number, struct.pack("!Q", value))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Iterate over attributes in their order; a broken tail ends the iteration, as in the kernel's nla_ok()."""
    offset = 0
    while offset + 4 <= len(data):
        length, number = struct.unpack_from("=HH", data, offset)
        if length < 4 or offset + length > len(data):
            return
        yield number & _TYPE_MASK, data[offset + 4 : offset + length]
        offset += length + (-length % 4)


def table(data: bytes) -> Mapping[int, bytes]:
    """Return attributes by number; the last of several wins."""
    return dict(attributes(data))


def number(data: bytes) -> int:
    """Decode an unsigned number of any length in host order."""
    return int.from_bytes(data, "little" if struct.pack("=H", 1)[0] else "big")


def network_number(data: bytes) -> int:
    """Decode an unsigned number of any length in network order."""
    return int.from_bytes(data, "big")


def swapped(value: int) -> int:
    """Return 16 bits in the other order, as htons() and ntohs() do."""
    return int.from_bytes(struct.pack("=H", value), "big")


def string(data: bytes) -> str:
    """Decode a string that may end with a zero."""
    return data.rstrip(b"\0").decode(errors="replace")


def mac_bytes(mac: str) -> bytes:
    """Encode a MAC address."""
    return bytes.fromhex(mac.replace(":", ""))


def mac_text(data: bytes) -> str:
    """Decode a MAC address."""
    return data.hex(":")


def address_bytes(address: str) -> bytes:
    """Encode an IP address of either family."""
    return ip_address(address).packed


def address_text(data: bytes) -> str:
    """Decode an IP address of either family."""
    return str(IPv4Address(data) if len(data) == 4 else IPv6Address(data))


def packed(message: Message, sequence: int, flags: int) -> bytes:
    """Encode a message with its header."""
    length = _HEADER.size + len(message.body)
    header = _HEADER.pack(length, message.type, message.flags | flags | REQUEST, sequence, 0)
    return header + message.body + bytes(-length % 4)


def unpacked(data: bytes) -> Iterator[tuple[int, Message]]:
    """Iterate over the messages of a datagram with their sequence numbers."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            return
        yield sequence, Message(kind, data[offset + _HEADER.size : offset + length], flags)
        offset += length + (-length % 4)
