# SPDX-License-Identifier: Apache-2.0
"""What a switch says it has: flows and groups of OpenFlow 1.5 multipart replies, without their objects.

A flow comes back as its key, its cookie and its counters; actions stay bytes, because the cookie
already tells whether they are ours. A group has no cookie: its buckets are compared in one
canonical form.

    multipart reply (openflow-1.5.1 7.3.5)      flow description (7.3.5.2)
    +-------------------------------+           +--------+-------+-------+---+----------+
    | header, 8 bytes               |           | length | pad 2 | table | - | priority |
    +---------+---------+-----------+           +------+------+-------+------------+----+
    | type    | flags   | pad 4     |           | idle | hard | flags | importance |
    +---------+---------+-----------+           +------+------+-------+------------+
    | entries …                     |           | cookie 8 | match | OXS statistics | instructions
    +-------------------------------+           +----------+-------+----------------+-------------
"""

from __future__ import annotations

import struct
from typing import NamedTuple, TypeAlias

from ovs_geneve.errors import DecodeError
from ovs_geneve.openflow.action_codec import canonical_actions
from ovs_geneve.openflow.flow import GroupEntry, GroupKind
from ovs_geneve.openflow.template import OFP_VERSION, encode_buckets

OFPT_MULTIPART_REQUEST = 18
OFPT_MULTIPART_REPLY = 19
OFPMP_FLOW_DESC = 1
OFPMP_GROUP_DESC = 7
OFPTT_ALL = 0xFF
OFPG_ALL = 0xFFFFFFFC

_ANY = 0xFFFFFFFF
_OFPMPF_REPLY_MORE = 1

_MULTIPART = struct.Struct("!BBHIHH4x")
_FLOW_REQUEST = struct.Struct("!B3xII4xQQHH4x")
_GROUP_REQUEST = struct.Struct("!I4x")
_FLOW = struct.Struct("!HxxBxHHHHHQHH")
_FLOW_KEY = struct.Struct("!Hxx1sx2s8xQxxH")
"Length, table, priority, cookie, length of the match: as `_FLOW`, without what no comparison needs."
_MATCH_AT = 24
_TERMS_AT = 28

# OVS writes duration, idle time, packet count and byte count in this order (`oxs_put_stats`).
_USUAL_STATS = struct.Struct("!HHIQIQIQIQ")
_USUAL_LENGTH = 52
_OXS_DURATION = 0x80020008
_OXS_IDLE_TIME = 0x80020208
_OXS_PACKET_COUNT = 0x80020808
_OXS_BYTE_COUNT = 0x80020A08
_USUAL_HEADERS = (_OXS_DURATION, _OXS_IDLE_TIME, _OXS_PACKET_COUNT, _OXS_BYTE_COUNT)

_KEY = struct.Struct("!BH")
_CANONICAL_BUCKET = struct.Struct("!IHIH")
_GROUP = struct.Struct("!HBxIH6x")
_BUCKET = struct.Struct("!HHI")
_PROPERTY = struct.Struct("!HH")
_OFPGBPT_WEIGHT = 0
_OFPGBPT_WATCH_PORT = 1

_Octets: TypeAlias = bytes  # inside FlowEntry `bytes` is a counter


class FlowEntry(NamedTuple):
    """One flow that a switch reports."""

    key: bytes
    "Equal to `Flow.key` of the flow that was installed."
    cookie: int
    packets: int
    bytes: int
    instructions: _Octets


class Count(NamedTuple):
    """What flows have counted."""

    packets: int
    bytes: int


class GroupDesc(NamedTuple):
    """One group that a switch reports."""

    group_id: int
    kind: GroupKind
    buckets: bytes
    "In the form of `canonical_buckets`."


def flow_stats_request(*, xid: int, table: int = OFPTT_ALL, cookie: int = 0, cookie_mask: int = 0) -> bytes:
    """Ask for the flows of a table, or of all, whose cookie agrees in the bits of the mask."""
    body = _FLOW_REQUEST.pack(table, _ANY, _ANY, cookie, cookie_mask, 1, 4)
    return _multipart(OFPMP_FLOW_DESC, xid, body)


def group_desc_request(xid: int, group_id: int = OFPG_ALL) -> bytes:
    """Ask for one group or for all."""
    return _multipart(OFPMP_GROUP_DESC, xid, _GROUP_REQUEST.pack(group_id))


def is_last_part(message: bytes) -> bool:
    """Tell whether no further part of a multipart reply follows this one."""
    return not int.from_bytes(message[10:12]) & _OFPMPF_REPLY_MORE


def decode_flow_stats(message: bytes) -> list[FlowEntry]:
    """Decode one part of a reply to `flow_stats_request`; raise DecodeError for what is none."""
    position, end = _body(message, OFPMP_FLOW_DESC)
    entries = []
    while position < end:
        try:
            length, table, priority, _, _, _, _, cookie, _, match = _FLOW.unpack_from(message, position)
        except struct.error as error:
            raise DecodeError("flow statistics", "an entry is cut off") from error
        stats = position + _MATCH_AT + match + -match % 8
        stop = position + length
        if match < 4 or stats + 4 > stop or stop > end:
            raise DecodeError("flow statistics", f"an entry of {length} bytes with a match of {match}")
        packets, size, instructions = _counters(message, stats, stop)
        raw = message[position + _TERMS_AT : position + _MATCH_AT + match]
        key = _KEY.pack(table, priority) + raw
        entries.append(FlowEntry(key, cookie, packets, size, message[instructions:stop]))
        position = stop
    return entries


def decode_flow_keys(message: bytes) -> list[tuple[bytes, int]]:
    """Decode key and cookie of the flows in one part of a reply, skipping the rest; raise DecodeError for what is none.

    Equal to what `decode_flow_stats` says of them: a resync compares 100,000 flows and looks at nothing else.
    """
    position, end = _body(message, OFPMP_FLOW_DESC)
    unpack = _FLOW_KEY.unpack_from
    flows = []
    while position < end:
        try:
            length, table, priority, cookie, match = unpack(message, position)
        except struct.error as error:
            raise DecodeError("flow statistics", "an entry is cut off") from error
        stop = position + length
        if match < 4 or position + _TERMS_AT + match > stop or stop > end:
            raise DecodeError("flow statistics", f"an entry of {length} bytes with a match of {match}")
        raw = message[position + _TERMS_AT : position + _MATCH_AT + match]
        flows.append((table + priority + raw, cookie))
        position = stop
    return flows


def decode_group_desc(message: bytes) -> list[GroupDesc]:
    """Decode one part of a reply to `group_desc_request`; raise DecodeError for what is none."""
    position, end = _body(message, OFPMP_GROUP_DESC)
    groups = []
    while position < end:
        if position + _GROUP.size > end:
            raise DecodeError("group description", "an entry is cut off")
        length, kind, group_id, buckets = _GROUP.unpack_from(message, position)
        start, stop = position + _GROUP.size, position + length
        if start + buckets > stop or stop > end:
            raise DecodeError("group description", f"an entry of {length} bytes with {buckets} of buckets")
        group_kind = _group_kind(kind)
        groups.append(
            GroupDesc(group_id, group_kind, _canonical(group_kind, message[start : start + buckets]))
        )
        position = stop
    return groups


def canonical_buckets(entry: GroupEntry) -> bytes:
    """Return what `decode_group_desc` reports as the buckets of a switch that has this group."""
    return _canonical(entry.kind, encode_buckets(entry))


def _multipart(kind: int, xid: int, body: bytes) -> bytes:
    length = _MULTIPART.size + len(body)
    return _MULTIPART.pack(OFP_VERSION, OFPT_MULTIPART_REQUEST, length, xid, kind, 0) + body


def _body(message: bytes, wanted: int) -> tuple[int, int]:
    if len(message) < _MULTIPART.size:
        raise DecodeError("multipart reply", f"{len(message)} bytes")
    version, message_type, length, _, kind, _ = _MULTIPART.unpack_from(message)
    if (version, message_type, kind) != (OFP_VERSION, OFPT_MULTIPART_REPLY, wanted):
        raise DecodeError("multipart reply", f"version {version}, type {message_type}, kind {kind}")
    if length != len(message):
        raise DecodeError("multipart reply", f"says {length} bytes and has {len(message)}")
    return _MULTIPART.size, length


def _counters(message: bytes, start: int, stop: int) -> tuple[int, int, int]:
    """Return packets, bytes and where the instructions start; -1 for a counter that is not reported."""
    if start + _USUAL_STATS.size <= stop:
        _, length, first, _, second, _, third, packets, fourth, size = _USUAL_STATS.unpack_from(
            message, start
        )
        if length == _USUAL_LENGTH and (first, second, third, fourth) == _USUAL_HEADERS:
            return packets, size, start + _USUAL_LENGTH + -_USUAL_LENGTH % 8
    return _any_counters(message, start, stop)


def _any_counters(message: bytes, start: int, stop: int) -> tuple[int, int, int]:
    length = int.from_bytes(message[start + 2 : start + 4])
    end = start + length
    if length < 4 or end + -length % 8 > stop:
        raise DecodeError("flow statistics", f"{length} bytes of counters")
    found = {_OXS_PACKET_COUNT: -1, _OXS_BYTE_COUNT: -1}
    position = start + 4
    while position + 4 <= end:
        header = int.from_bytes(message[position : position + 4])
        value = position + 4 + (header & 0xFF)
        found[header] = int.from_bytes(message[position + 4 : value])
        position = value
    return found[_OXS_PACKET_COUNT], found[_OXS_BYTE_COUNT], end + -length % 8


def _group_kind(kind: int) -> GroupKind:
    try:
        return GroupKind(kind)
    except ValueError as error:
        raise DecodeError("group description", f"kind {kind}") from error


def _canonical(kind: GroupKind, buckets: bytes) -> bytes:
    out, position = [], 0
    while position < len(buckets):
        if position + _BUCKET.size > len(buckets):
            raise DecodeError("bucket", "is cut off")
        length, actions_length, bucket_id = _BUCKET.unpack_from(buckets, position)
        start, stop = position + _BUCKET.size, position + length
        if start + actions_length > stop or stop > len(buckets):
            raise DecodeError("bucket", f"{length} bytes with {actions_length} of actions")
        actions = canonical_actions(buckets[start : start + actions_length])
        weight, watch_port = _properties(buckets[start + actions_length : stop])
        weight = weight if kind is GroupKind.SELECT else 0
        out.append(_CANONICAL_BUCKET.pack(bucket_id, weight, watch_port, len(actions)) + actions)
        position = stop
    return b"".join(out)


def _properties(data: bytes) -> tuple[int, int]:
    weight, watch_port, position = 1, _ANY, 0
    while position + _PROPERTY.size <= len(data):
        kind, length = _PROPERTY.unpack_from(data, position)
        if length < _PROPERTY.size or position + length > len(data):
            raise DecodeError("bucket property", f"length {length}")
        if kind == _OFPGBPT_WEIGHT:
            weight = int.from_bytes(data[position + 4 : position + 6])
        elif kind == _OFPGBPT_WATCH_PORT:
            watch_port = int.from_bytes(data[position + 4 : position + 8])
        position += length + -length % 8
    return weight, watch_port
