# SPDX-License-Identifier: Apache-2.0
"""What becomes of probes between fake switches: a packet-out at one is a packet-in at the other, and its echo one here.

It does what the flows of `controller/compiler/features/probes.py` do, on bytes: nothing here is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address
from struct import Struct

from controller.compiler.punts import Punt
from ovs_geneve.openflow.fields import HEADER_SIZE, TUN_DST, TUN_SRC
from ovs_geneve.openflow.messages import MessageType, encode_message

_OUT = Struct("!IH2xHH")
_OUT_AT = 8
_MATCH_AT = _OUT_AT + _OUT.size - 4
_ACTION = Struct("!HH")
_SET_FIELD = 25
_IN2 = Struct("!II").pack(0x2320, 30)
_PROPERTY = Struct("!HH")
_PACKET, _TABLE, _REASON, _METADATA, _USERDATA = 0, 3, 5, 6, 7
_DESTINATION_END = 5
"The byte of a probe that says request or echo."

Send = Callable[[bytes], None]


class Tunnels:
    """The underlay of all fake switches, by their endpoints."""

    def __init__(self, endpoints: Mapping[IPv4Address, Send]) -> None:
        self._switches = {address.packed: send for address, send in endpoints.items()}

    def carry(self, source: IPv4Address, message: bytes) -> None:
        """Have a packet-out arrive where its tun_dst says, and its echo where it came from."""
        fields, frame = _taken_apart(message)
        target = fields.pop(TUN_DST.header)
        rest = b"".join(header + value for header, value in fields.items())
        self._report(target, _packet_in(rest, source.packed, target, frame))
        echo = (
            frame[:_DESTINATION_END] + bytes((frame[_DESTINATION_END] + 1,)) + frame[_DESTINATION_END + 1 :]
        )
        self._report(source.packed, _packet_in(rest, target, source.packed, echo))

    def _report(self, where: bytes, message: bytes) -> None:
        self._switches[where](message)


def _taken_apart(message: bytes) -> tuple[dict[bytes, bytes], bytes]:
    """Return the fields that a packet-out sets, by OXM header, and its packet."""
    _, length, _, match_length = _OUT.unpack_from(message, _OUT_AT)
    at = _MATCH_AT + match_length + -match_length % 8
    return dict(_set_fields(message[at : at + length])), message[at + length :]


def _set_fields(actions: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(actions):
        kind, length = _ACTION.unpack_from(actions, at)
        if kind == _SET_FIELD:
            header_at = at + _ACTION.size
            value_at = header_at + HEADER_SIZE
            yield actions[header_at:value_at], actions[value_at : value_at + actions[header_at + 3]]
        at += length


def _packet_in(fields: bytes, source: bytes, target: bytes, frame: bytes) -> bytes:
    metadata = fields + TUN_SRC.header + source + TUN_DST.header + target
    properties = (
        (_PACKET, frame),
        (_TABLE, b"\x3c"),
        (_REASON, b"\x01"),
        (_METADATA, metadata),
        (_USERDATA, bytes((Punt.PROBE,))),
    )
    body = b"".join(_property(kind, value) for kind, value in properties)
    return encode_message(MessageType.EXPERIMENTER, _IN2 + body)


def _property(kind: int, value: bytes) -> bytes:
    length = _PROPERTY.size + len(value)
    return _PROPERTY.pack(kind, length) + value + bytes(-length % 8)
