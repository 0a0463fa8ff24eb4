# SPDX-License-Identifier: Apache-2.0
"""FLOW_MOD and GROUP_MOD bytes back into values, written from OVS `lib/ofp-actions.c` and not from the encoder.

Only what our pipelines send is known: bytes that mean anything else raise DecodeError and are never skipped, so that
whoever reasons about the values reasons about all of the message. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from struct import Struct, error

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.openflow import actions as a
from ovs_geneve.openflow.fields import HEADER_SIZE, Field, is_tun_metadata, parse_header
from ovs_geneve.openflow.flow import Bucket, Flow, GroupEntry, GroupKind, Match, TermLike

_FLOW_MOD = Struct("!BBHIQQBBHHHIIIHHHH")
_GROUP_MOD = Struct("!BBHIHBxIHxxI")
_BUCKET = Struct("!HHI")
_HEAD = Struct("!HH")
_MATCH_AT = 48

_FLOW_MOD_TYPE, _GROUP_MOD_TYPE = 14, 15
_ADD, _ADD_OR_MODIFY = 0, 0x8000
_GOTO, _APPLY = 1, 4
_NX_VENDOR = 0x00002320
_IN_PORT_16 = 0xFFF8
_NO_RECIRCULATION = 0xFF
_COMMIT, _FORCE = 1, 2
_WEIGHT, _WATCH_PORT = 0, 1


def decode_flow(message: bytes) -> Flow:
    """Decode a FLOW_MOD that adds a flow."""
    try:
        _, kind, length, _, cookie, _, table, command, idle, hard, priority, *_, match_kind, match_length = (
            _FLOW_MOD.unpack_from(message)
        )
        if (kind, command, match_kind, length) != (_FLOW_MOD_TYPE, _ADD, 1, len(message)):
            raise DecodeError("FLOW_MOD", f"type {kind}, command {command}, {len(message)} bytes")
        match_end = _MATCH_AT + match_length
        actions, goto = _instructions(message[match_end + -match_length % 8 :])
        return Flow(
            table=table,
            priority=priority,
            match=Match.of(*_terms(message[_MATCH_AT + 4 : match_end])),
            actions=actions,
            goto=goto,
            cookie=cookie,
            idle_timeout=idle,
            hard_timeout=hard,
        )
    except (error, IndexError) as cut_off:
        raise DecodeError("FLOW_MOD", "is cut off") from cut_off
    except EncodeError as refused:
        raise DecodeError("FLOW_MOD", str(refused)) from refused


def decode_group(message: bytes) -> GroupEntry:
    """Decode a GROUP_MOD that adds a group."""
    try:
        _, kind, length, _, command, group_kind, number, size, _ = _GROUP_MOD.unpack_from(message)
        if kind != _GROUP_MOD_TYPE or command not in (_ADD, _ADD_OR_MODIFY) or length != len(message):
            raise DecodeError("GROUP_MOD", f"type {kind}, command {command}, {len(message)} bytes")
        if length != _GROUP_MOD.size + size:
            raise DecodeError("GROUP_MOD", "has properties")
        buckets = tuple(_buckets(message[_GROUP_MOD.size :]))
        return GroupEntry(group_id=number, kind=GroupKind(group_kind), buckets=buckets)
    except (error, IndexError, ValueError) as cut_off:
        raise DecodeError("GROUP_MOD", "is cut off, or of no kind that is known") from cut_off
    except EncodeError as refused:
        raise DecodeError("GROUP_MOD", str(refused)) from refused


@lru_cache(maxsize=65_536)
def decode_actions(data: bytes) -> tuple[a.Action, ...]:
    """Decode a list of actions."""
    return tuple(_action(kind, body) for kind, body in _entries(data))


def _terms(raw: bytes) -> Iterator[TermLike]:
    at = 0
    while at < len(raw):
        field, masked = parse_header(raw[at : at + HEADER_SIZE])
        at += HEADER_SIZE
        value = int.from_bytes(raw[at : at + field.width])
        at += field.width
        mask = None
        if masked:
            mask = int.from_bytes(raw[at : at + field.width])
            at += field.width
        yield field, value, mask
    if at != len(raw):
        raise DecodeError("match", "is cut off")


def _instructions(data: bytes) -> tuple[tuple[a.Action, ...], int | None]:
    actions: tuple[a.Action, ...] = ()
    goto: int | None = None
    for kind, body in _entries(data):
        if kind == _APPLY:
            actions = decode_actions(body[8:])
        elif kind == _GOTO:
            goto = body[4]
        else:
            raise DecodeError("instruction", f"type {kind} is not known here")
    return actions, goto


def _buckets(data: bytes) -> Iterator[Bucket]:
    at = 0
    while at < len(data):
        length, actions_length, number = _BUCKET.unpack_from(data, at)
        if length < _BUCKET.size + actions_length:
            raise DecodeError("bucket", f"length {length}")
        actions_end = at + _BUCKET.size + actions_length
        weight = watched = None
        for kind, body in _entries(data[actions_end : at + length]):
            if kind == _WEIGHT:
                weight = int.from_bytes(body[4:6])
            elif kind == _WATCH_PORT:
                watched = int.from_bytes(body[4:8])
            else:
                raise DecodeError("bucket", f"property {kind} is not known here")
        actions = decode_actions(data[at + _BUCKET.size : actions_end])
        yield Bucket(actions=actions, bucket_id=number, watch_port=watched, weight=weight)
        at += length


def _entries(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield actions, instructions or properties with their type: all begin with type and length, 2 bytes each."""
    at = 0
    while at < len(data):
        kind, length = _HEAD.unpack_from(data, at)
        if length < 8 or length % 8 or at + length > len(data):
            raise DecodeError("action", f"length {length}")
        yield kind, data[at : at + length]
        at += length


def _action(kind: int, body: bytes) -> a.Action:
    if kind == 0xFFFF:
        vendor, subtype = int.from_bytes(body[4:8]), int.from_bytes(body[8:10])
        decoder = _NICIRA.get(subtype) if vendor == _NX_VENDOR else None
        if decoder is None:
            raise DecodeError("action", f"vendor {vendor:#x}, subtype {subtype} is not known here")
        return decoder(body)
    standard = _STANDARD.get(kind)
    if standard is None:
        raise DecodeError("action", f"type {kind} is not known here")
    return standard(body)


def _field(header: bytes) -> Field:
    field, masked = parse_header(header)
    if masked:
        raise DecodeError("field", f"{field.name} has a mask where none can be")
    return field


def _set_field(body: bytes) -> a.Action:
    field, masked = parse_header(body[4:8])
    value = int.from_bytes(body[8 : 8 + field.width])
    mask = int.from_bytes(body[8 + field.width : 8 + 2 * field.width]) if masked else None
    return a.SetField(field, value, mask)


def _copy_field(body: bytes) -> a.Action:
    bits, source_offset, offset = (int.from_bytes(body[at : at + 2]) for at in (4, 6, 8))
    return a.Move(_field(body[12:16]), _field(body[16:20]), bits, source_offset, offset)


def _resubmit(body: bytes) -> a.Action:
    port = int.from_bytes(body[10:12])
    return a.Resubmit(body[12], None if port == _IN_PORT_16 else port)


def _output_field(body: bytes) -> a.Action:
    offset, bits = _range(body[10:12])
    return a.OutputField(_field(body[12:16]), offset, bits)


def _ct(body: bytes) -> a.Action:
    flags, table = int.from_bytes(body[10:12]), body[18]
    zone: int | a.FieldBits = int.from_bytes(body[16:18])
    if any(body[12:16]):
        zone = a.FieldBits(_field(body[12:16]), *_range(body[16:18]))
    if flags & ~(_COMMIT | _FORCE) or any(body[19:24]):
        raise DecodeError("ct", f"flags {flags:#x} or a gateway is not known here")
    inner = decode_actions(body[24:])
    marks = tuple(one for one in inner if isinstance(one, a.SetField))
    if len(marks) != len(inner):
        raise DecodeError("ct", "does more than set fields")
    return a.Ct(
        zone=zone,
        commit=bool(flags & _COMMIT),
        force=bool(flags & _FORCE),
        table=None if table == _NO_RECIRCULATION else table,
        actions=marks,
    )


def _controller(body: bytes) -> a.Action:
    max_len, controller_id, userdata = a.WHOLE_PACKET, 0, b""
    meter: int | None = None
    at = 16
    while at < len(body):
        kind, length = _HEAD.unpack_from(body, at)
        if length < _HEAD.size:
            raise DecodeError("controller", f"property length {length}")
        value = body[at + 4 : at + length]
        if kind == 0:
            max_len = int.from_bytes(value[:2])
        elif kind == 1:
            controller_id = int.from_bytes(value[:2])
        elif kind == 3:
            userdata = value
        elif kind == 5:
            meter = int.from_bytes(value)
        else:
            raise DecodeError("controller", f"property {kind} is not known here")
        at += length + -length % 8
    return a.Controller(max_len, userdata, meter, controller_id)


def _delete_field(body: bytes) -> a.Action:
    field = _field(body[10:14])
    if not is_tun_metadata(field):
        raise DecodeError("delete_field", f"{field.name} cannot be taken away")
    return a.DeleteField(field)


def _range(data: bytes) -> tuple[int, int]:
    number = int.from_bytes(data)
    return number >> 6, (number & 0x3F) + 1


_STANDARD: Mapping[int, Callable[[bytes], a.Action]] = {
    0: lambda body: a.Output(int.from_bytes(body[4:8]), int.from_bytes(body[8:10])),
    17: lambda body: a.PushVlan(int.from_bytes(body[4:6])),
    18: lambda body: a.PopVlan(),
    21: lambda body: a.SetQueue(int.from_bytes(body[4:8])),
    22: lambda body: a.Group(int.from_bytes(body[4:8])),
    24: lambda body: a.DecTtl(),
    25: _set_field,
    28: _copy_field,
    29: lambda body: a.Meter(int.from_bytes(body[4:8])),
}

_NICIRA: Mapping[int, Callable[[bytes], a.Action]] = {
    14: _resubmit,
    15: _output_field,
    35: _ct,
    37: _controller,
    42: lambda body: a.Clone(decode_actions(body[16:])),
    43: lambda body: a.CtClear(),
    50: _delete_field,
}
