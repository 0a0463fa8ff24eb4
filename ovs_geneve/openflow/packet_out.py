# SPDX-License-Identifier: Apache-2.0
"""Packets that a controller has a switch send (OpenFlow 1.5.1 section 7.3.6, OFPT_PACKET_OUT). Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ovs_geneve.errors import EncodeError
from ovs_geneve.openflow.action_codec import encode_actions
from ovs_geneve.openflow.actions import OFPP_CONTROLLER, OFPP_LOCAL, Action
from ovs_geneve.openflow.fields import IN_PORT
from ovs_geneve.openflow.flow import Match, TermLike
from ovs_geneve.openflow.messages import HEADER_LENGTH, MAX_LENGTH, MessageType, encode_message

OFPP_NONE = 0xFFFFFFFF
"OFPP_ANY: as the port that a packet came from, none."

OFPP_TABLE = 0xFFFFFFF9
"Output to this in a packet-out has the packet go through the flow tables, from table 0."

_MAX_PORT = 0xFF00
_NO_BUFFER = 0xFFFFFFFF
_HEAD = struct.Struct("!IH2xHH")
_OXM_MATCH = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketOut:
    """One packet, and what a switch is to do with it."""

    data: bytes
    actions: tuple[Action, ...]
    "None drops it."
    in_port: int = OFPP_CONTROLLER
    "Where the packet is said to come from."
    fields: tuple[TermLike, ...] = ()
    "What else the switch is to note of it beforehand, each exactly: tunnel fields, registers, metadata."

    def __post_init__(self) -> None:
        if not self.data:
            raise EncodeError("packet-out", "an empty packet")
        if not 0 < self.in_port < _MAX_PORT and self.in_port not in (OFPP_CONTROLLER, OFPP_LOCAL, OFPP_NONE):
            raise EncodeError("packet-out", f"port {self.in_port:#x} is none that a packet can come from")


def encode_packet_out(packet: PacketOut, *, xid: int = 0) -> bytes:
    """Encode OFPT_PACKET_OUT; raise EncodeError for fields and packets that do not fit."""
    raw = Match.of((IN_PORT, packet.in_port), *packet.fields).raw
    actions = encode_actions(packet.actions)
    match_length = 4 + len(raw)
    body = _HEAD.pack(_NO_BUFFER, len(actions) & 0xFFFF, _OXM_MATCH, match_length)
    body += raw + bytes(-match_length % 8) + actions + packet.data
    if HEADER_LENGTH + len(body) > MAX_LENGTH:
        raise EncodeError("packet-out", f"{len(body)} bytes: one message has at most {MAX_LENGTH}")
    return encode_message(MessageType.PACKET_OUT, body, xid=xid)
