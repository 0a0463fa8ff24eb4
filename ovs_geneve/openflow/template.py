# SPDX-License-Identifier: Apache-2.0
"""Flows and groups as bytes of OpenFlow 1.5.

A match already carries its bytes, an action is one `Struct.pack`. `FlowTemplate` is for many flows
of one shape: everything but a few numbers is encoded once.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Literal, TypeAlias

from ovs_geneve.errors import EncodeError
from ovs_geneve.openflow.action_codec import encode_actions
from ovs_geneve.openflow.actions import Group, Output, SetField
from ovs_geneve.openflow.fields import HEADER_SIZE, REGS, XREGS, Field
from ovs_geneve.openflow.flow import Bucket, Flow, GroupEntry, GroupKind, Match
from ovs_geneve.openflow.pieces import Pieces

OFP_VERSION = 6
OFPT_FLOW_MOD = 14
OFPT_GROUP_MOD = 15

OFPFC_ADD = 0
OFPFC_DELETE_STRICT = 4
OFPG_BUCKET_ALL = 0xFFFFFFFF

_ANY = 0xFFFFFFFF
"OFP_NO_BUFFER, OFPP_ANY and OFPG_ANY alike."

_MAX_MESSAGE = 0xFFF8 - 16
"A message's 16-bit length in steps of 8, less the wrapping that a bundle adds."

# ofp_header; cookie, cookie_mask, table, command, idle, hard, priority, buffer, out_port, out_group,
# flags, importance; the match's type and length (openflow-1.5.1 7.3.4.2).
_FLOW_MOD = struct.Struct("!BBHIQQBBHHHIIIHHHH")
_MATCH_AT = 48
_TERMS_AT = _FLOW_MOD.size
_COOKIE_AT = 8
_TABLE_AT = 24
_PRIORITY_AT = 30
_OXM_MATCH = 1

_GOTO = struct.Struct("!HHB3x")
_APPLY = struct.Struct("!HH4x")
_GROUP_MOD = struct.Struct("!BBHIHBxIHxxI")
_BUCKET = struct.Struct("!HHI")
_PROPERTY_16 = struct.Struct("!HHHxx")
_PROPERTY_32 = struct.Struct("!HHI")
_OFPGBPT_WEIGHT = 0
_OFPGBPT_WATCH_PORT = 1

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_PADS = tuple(bytes(-length % 8) for length in range(8))


def encode_flow_add(flow: Flow, *, xid: int = 0) -> bytes:
    """Encode the FLOW_MOD that adds a flow, or puts it in the place of one with the same key."""
    raw = flow.match.raw
    match_length = 4 + len(raw)
    pad = _PADS[match_length % 8]
    tail = _instructions(flow)
    length = _MATCH_AT + match_length + len(pad) + len(tail)
    _fits("flow", length)
    head = _FLOW_MOD.pack(
        OFP_VERSION,
        OFPT_FLOW_MOD,
        length,
        xid,
        flow.cookie,
        0,
        flow.table,
        OFPFC_ADD,
        flow.idle_timeout,
        flow.hard_timeout,
        flow.priority,
        _ANY,
        _ANY,
        _ANY,
        0,
        0,
        _OXM_MATCH,
        match_length,
    )
    return head + raw + pad + tail


def encode_flow_delete(key: bytes, *, cookie: int = 0, cookie_mask: int = 0, xid: int = 0) -> bytes:
    """Encode the FLOW_MOD that deletes exactly the flow with a `Flow.key`, if its cookie fits.

    A cookie mask of 0 takes any cookie. Deleting what is not there is no error.
    """
    table, priority, raw = key[0], int.from_bytes(key[1:3]), key[3:]
    match_length = 4 + len(raw)
    pad = _PADS[match_length % 8]
    length = _MATCH_AT + match_length + len(pad)
    head = _FLOW_MOD.pack(
        OFP_VERSION,
        OFPT_FLOW_MOD,
        length,
        xid,
        cookie,
        cookie_mask,
        table,
        OFPFC_DELETE_STRICT,
        0,
        0,
        priority,
        _ANY,
        _ANY,
        _ANY,
        0,
        0,
        _OXM_MATCH,
        match_length,
    )
    return head + raw + pad


def with_xid(message: bytes, xid: int) -> bytes:
    """Return the message with another transaction id."""
    return message[:4] + xid.to_bytes(4) + message[8:]


def message_key(message: bytes) -> bytes:
    """Return the `Flow.key` of an encoded FLOW_MOD."""
    end = _MATCH_AT + int.from_bytes(message[_MATCH_AT + 2 : _TERMS_AT])
    return (
        message[_TABLE_AT : _TABLE_AT + 1] + message[_PRIORITY_AT : _PRIORITY_AT + 2] + message[_TERMS_AT:end]
    )


Hole: TypeAlias = Literal["cookie"] | Field | int
"""What varies between the flows of a template: the cookie, the exact value of a match field, or by
the action's place the port of an Output, the id of a Group, the value of a SetField."""


@dataclass(frozen=True, slots=True)
class FlowTemplate:
    """One shape of flow with a few holes: encoding a flow is to join pieces around its numbers.

        template = FlowTemplate.of(flow, "cookie", ETH_DST, 0)
        message = template.pack(cookie, mac, tunnel_destination)

    Numbers are checked for the width of the field in bytes only.
    """

    pieces: Pieces

    @classmethod
    def of(cls, flow: Flow, *holes: Hole) -> FlowTemplate:
        """Compile the shape of an example; raise EncodeError for a hole that it does not have."""
        return cls(Pieces.cut(encode_flow_add(flow), [_place(flow, hole) for hole in holes]))

    def pack(self, *numbers: int) -> bytes:
        """Encode the flow with these numbers in the holes, in the order in which `of` named them."""
        return self.pieces.fill(numbers)


def _place(flow: Flow, hole: Hole) -> tuple[int, int]:
    """Return where a hole's bytes are in the message, and how many."""
    if hole == "cookie":
        return _COOKIE_AT, 8
    if isinstance(hole, int):
        return _action_place(flow, hole)
    return _term_place(flow.match, hole)


def _term_place(match: Match, field: Field) -> tuple[int, int]:
    wanted, shift = (XREGS[REGS.index(field) // 2], REGS.index(field) % 2) if field in REGS else (field, 0)
    position = _TERMS_AT
    for term in match.terms:
        width, exact = term.field.width, term.mask is None
        if term.field is wanted:
            if field is not wanted and (exact or _covers_half(term.mask, shift)):
                return position + HEADER_SIZE + 4 * shift, 4
            if exact:
                return position + HEADER_SIZE, width
        position += HEADER_SIZE + (width if exact else 2 * width)
    raise EncodeError("template", f"{field.name} is not matched exactly")


def _covers_half(mask: int | None, shift: int) -> bool:
    return mask is not None and (mask >> (0 if shift else 32)) & 0xFFFFFFFF == 0xFFFFFFFF


def _action_place(flow: Flow, index: int) -> tuple[int, int]:
    match_length = 4 + len(flow.match.raw)
    if not 0 <= index < len(flow.actions):
        raise EncodeError("template", f"there is no action {index}")
    start = _MATCH_AT + match_length + -match_length % 8 + _APPLY.size
    start += len(encode_actions(flow.actions[:index]))
    action = flow.actions[index]
    match action:
        case Output() | Group():
            return start + 4, 4
        case SetField(field=field, mask=None):
            return start + 4 + HEADER_SIZE, field.width
        case _:
            raise EncodeError("template", f"{action!r} has no number that may vary")


class GroupCommand(IntEnum):
    """What a GROUP_MOD does."""

    ADD = 0
    MODIFY = 1
    DELETE = 2
    ADD_OR_MODIFY = 0x8000
    "OFPGC11_ADD_OR_MOD of OVS: adds the group or takes the place of the one that is there."


def encode_group(command: GroupCommand, entry: GroupEntry, *, xid: int = 0) -> bytes:
    """Encode the GROUP_MOD that adds, replaces or deletes a group.

    ADD of one that exists and MODIFY of one that does not are errors of the switch; deleting one
    that does not exist is none, and deleting one also deletes the flows that use it.
    """
    buckets = b"" if command is GroupCommand.DELETE else encode_buckets(entry)
    return encode_group_of(command, entry.kind, entry.group_id, buckets, xid=xid)


def encode_group_of(
    command: GroupCommand, kind: GroupKind, group_id: int, buckets: bytes, *, xid: int = 0
) -> bytes:
    """Encode a GROUP_MOD around buckets that are encoded already."""
    length = _GROUP_MOD.size + len(buckets)
    _fits("group", length)
    head = _GROUP_MOD.pack(
        OFP_VERSION, OFPT_GROUP_MOD, length, xid, command, kind, group_id, len(buckets), OFPG_BUCKET_ALL
    )
    return head + buckets


def encode_buckets(entry: GroupEntry) -> bytes:
    """Encode the array of a group's buckets."""
    return b"".join([_bucket(entry.kind, bucket, place) for place, bucket in enumerate(entry.buckets)])


@lru_cache(maxsize=16_384)
def _bucket_actions(bucket: Bucket) -> bytes:
    return encode_actions(bucket.actions)


def _bucket(kind: GroupKind, bucket: Bucket, place: int) -> bytes:
    actions = _bucket_actions(bucket)
    properties = b""
    if kind is GroupKind.SELECT:
        weight = 1 if bucket.weight is None else bucket.weight
        properties += _PROPERTY_16.pack(_OFPGBPT_WEIGHT, 8, weight)
    if bucket.watch_port is not None:
        properties += _PROPERTY_32.pack(_OFPGBPT_WATCH_PORT, 8, bucket.watch_port)
    bucket_id = place if bucket.bucket_id is None else bucket.bucket_id
    length = _BUCKET.size + len(actions) + len(properties)
    return _BUCKET.pack(length, len(actions), bucket_id) + actions + properties


def _instructions(flow: Flow) -> bytes:
    tail = b"" if flow.goto is None else _GOTO.pack(1, 8, flow.goto)
    if not flow.actions:
        return tail
    actions = encode_actions(flow.actions)
    _fits("flow", len(actions))
    return _APPLY.pack(4, 8 + len(actions)) + actions + tail


def _fits(what: str, length: int) -> None:
    if length > _MAX_MESSAGE:
        raise EncodeError(what, f"{length} bytes: a message has at most {_MAX_MESSAGE}")
