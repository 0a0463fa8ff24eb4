# SPDX-License-Identifier: Apache-2.0
"""Actions as bytes (openflow-1.5.1 7.2.6; Nicira's in OVS `lib/ofp-actions.c`), and the one form in
which what we wrote can be compared with what OVS reports.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from typing import Any

from ovs_geneve.errors import DecodeError
from ovs_geneve.openflow.actions import (
    Action,
    Clone,
    Controller,
    Ct,
    CtClear,
    DecTtl,
    DeleteField,
    FieldBits,
    Group,
    Meter,
    Move,
    Output,
    OutputField,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
    SetQueue,
)
from ovs_geneve.openflow.fields import HEADER_SIZE, Field

NX_VENDOR_ID = 0x00002320

_OFPAT_OUTPUT = 0
_OFPAT_PUSH_VLAN = 17
_OFPAT_POP_VLAN = 18
_OFPAT_SET_QUEUE = 21
_OFPAT_GROUP = 22
_OFPAT_DEC_NW_TTL = 24
_OFPAT_SET_FIELD = 25
_OFPAT_COPY_FIELD = 28
_OFPAT_METER = 29
_OFPAT_EXPERIMENTER = 0xFFFF
_METER_HEAD = bytes((0, _OFPAT_METER, 0, 8))

_NXAST_RESUBMIT_TABLE = 14
_NXAST_OUTPUT_REG = 15
_NXAST_CT = 35
_NXAST_CONTROLLER2 = 37
_NXAST_CLONE = 42
_NXAST_CT_CLEAR = 43
_NXAST_DELETE_FIELD = 50

_NXAC2PT_MAX_LEN = 0
_NXAC2PT_CONTROLLER_ID = 1
_NXAC2PT_USERDATA = 3
_NXAC2PT_METER_ID = 5

_NX_CT_F_COMMIT = 1
_NX_CT_F_FORCE = 2
_NX_CT_RECIRC_NONE = 0xFF

_OFPP_IN_PORT_16 = 0xFFF8
"NXAST_RESUBMIT_TABLE has OpenFlow 1.0's 16-bit ports; OFPP_IN_PORT keeps the packet's own."

_OUTPUT = struct.Struct("!HHIH6x")
_NUMBER = struct.Struct("!HHI")
_VOID = struct.Struct("!HH4x")
_PUSH = struct.Struct("!HHHxx")
_COPY = struct.Struct("!HHHHH2x4s4s4x")
_RESUBMIT = struct.Struct("!HHIHHB3x")
_OUTPUT_REG = struct.Struct("!HHIHH4sH6x")
_DELETE_FIELD = struct.Struct("!HHIH4s10x")
_CT = struct.Struct("!HHIHH4sHB3xH")
_NICIRA = struct.Struct("!HHIH6x")
_PROPERTY = struct.Struct("!HH")
_ACTION = struct.Struct("!HH")
_PAIR = struct.Struct("!Hxx")  # OVS pads a 16-bit property inside its length

_NXM_1 = 1
_TUN_METADATA_NUMBERS = range(40, 104)

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


def encode_actions(actions: Iterable[Action]) -> bytes:
    """Encode a list of actions, without the instruction or bucket around it."""
    return b"".join([_ENCODERS[type(action)](action) for action in actions])


@cache
def _set_field_layout(field: Field, masked: bool) -> tuple[struct.Struct, int, bytes, bool]:
    plain = field.width in _CODES
    code = _CODES[field.width] if plain else f"{field.width}s"
    used = 4 + HEADER_SIZE + field.width * (2 if masked else 1)
    length = used + -used % 8
    layout = struct.Struct(f"!HH4s{code * (2 if masked else 1)}{length - used}x")
    return layout, length, field.masked_header if masked else field.header, plain


def _set_field(action: SetField) -> bytes:
    field, value, mask = action.field, action.value, action.mask
    if mask is None:
        layout, length, header, plain = _set_field_layout(field, False)
        number = value if plain else value.to_bytes(field.width)
        return layout.pack(_OFPAT_SET_FIELD, length, header, number)
    layout, length, header, plain = _set_field_layout(field, True)
    if plain:
        return layout.pack(_OFPAT_SET_FIELD, length, header, value, mask)
    width = field.width
    return layout.pack(_OFPAT_SET_FIELD, length, header, value.to_bytes(width), mask.to_bytes(width))


def _output(action: Output) -> bytes:
    return _OUTPUT.pack(_OFPAT_OUTPUT, 16, action.port, action.max_len)


def _output_field(action: OutputField) -> bytes:
    bits = _offset_and_bits(action.offset, action.width)
    return _OUTPUT_REG.pack(
        _OFPAT_EXPERIMENTER, 24, NX_VENDOR_ID, _NXAST_OUTPUT_REG, bits, action.field.header, 0
    )


def _group(action: Group) -> bytes:
    return _NUMBER.pack(_OFPAT_GROUP, 8, action.group_id)


def _move(action: Move) -> bytes:
    return _COPY.pack(
        _OFPAT_COPY_FIELD,
        24,
        action.bits,
        action.source_offset,
        action.destination_offset,
        action.source.header,
        action.destination.header,
    )


def _resubmit(action: Resubmit) -> bytes:
    port = _OFPP_IN_PORT_16 if action.in_port is None else action.in_port & 0xFFFF
    return _RESUBMIT.pack(_OFPAT_EXPERIMENTER, 16, NX_VENDOR_ID, _NXAST_RESUBMIT_TABLE, port, action.table)


def _pop_vlan(action: PopVlan) -> bytes:
    return _VOID.pack(_OFPAT_POP_VLAN, 8)


def _push_vlan(action: PushVlan) -> bytes:
    return _PUSH.pack(_OFPAT_PUSH_VLAN, 8, action.ethertype)


def _dec_ttl(action: DecTtl) -> bytes:
    return _VOID.pack(_OFPAT_DEC_NW_TTL, 8)


def _meter(action: Meter) -> bytes:
    return _NUMBER.pack(_OFPAT_METER, 8, action.meter_id)


def _set_queue(action: SetQueue) -> bytes:
    return _NUMBER.pack(_OFPAT_SET_QUEUE, 8, action.queue_id)


def _delete_field(action: DeleteField) -> bytes:
    return _DELETE_FIELD.pack(_OFPAT_EXPERIMENTER, 24, NX_VENDOR_ID, _NXAST_DELETE_FIELD, action.field.header)


def _controller(action: Controller) -> bytes:
    # Defaults are left out, as OVS does when it dumps the action (encode_CONTROLLER).
    properties = b""
    if action.max_len != 0xFFFF:
        properties += _property(_NXAC2PT_MAX_LEN, _PAIR.pack(action.max_len))
    if action.controller_id:
        properties += _property(_NXAC2PT_CONTROLLER_ID, _PAIR.pack(action.controller_id))
    if action.userdata:
        properties += _property(_NXAC2PT_USERDATA, action.userdata)
    if action.meter_id is not None:
        properties += _property(_NXAC2PT_METER_ID, action.meter_id.to_bytes(4))
    return _nicira(_NXAST_CONTROLLER2, properties)


def _ct(action: Ct) -> bytes:
    body = encode_actions(action.actions)
    flags = _NX_CT_F_COMMIT * action.commit | _NX_CT_F_FORCE * action.force
    source, zone = b"", action.zone
    if isinstance(zone, FieldBits):
        source, zone = zone.field.header, _offset_and_bits(zone.offset, zone.bits)
    return (
        _CT.pack(
            _OFPAT_EXPERIMENTER,
            _CT.size + len(body),
            NX_VENDOR_ID,
            _NXAST_CT,
            flags,
            source,
            zone,
            _NX_CT_RECIRC_NONE if action.table is None else action.table,
            0,  # no application-layer gateway
        )
        + body
    )


def _ct_clear(action: CtClear) -> bytes:
    return _nicira(_NXAST_CT_CLEAR, b"")


def uses_meter(message: bytes, meter_id: int) -> bool:
    """Tell whether a message may have an action with this meter: it never misses one, and may see one by chance."""
    number = meter_id.to_bytes(4)
    return _PROPERTY.pack(_NXAC2PT_METER_ID, 8) + number in message or _METER_HEAD + number in message


def _clone(action: Clone) -> bytes:
    return _nicira(_NXAST_CLONE, encode_actions(action.actions))


def _offset_and_bits(offset: int, bits: int) -> int:
    """Write a range of bits as Nicira's actions do (ofs_nbits)."""
    return offset << 6 | bits - 1


def _property(kind: int, data: bytes) -> bytes:
    length = _PROPERTY.size + len(data)
    return _PROPERTY.pack(kind, length) + data + bytes(-length % 8)


def _nicira(subtype: int, body: bytes) -> bytes:
    length = _NICIRA.size + len(body)
    return _NICIRA.pack(_OFPAT_EXPERIMENTER, length, NX_VENDOR_ID, subtype) + body


# Any: a mapping cannot say that the function for each class takes that class.
_ENCODERS: Mapping[type, Callable[[Any], bytes]] = {
    Output: _output,
    OutputField: _output_field,
    Group: _group,
    SetField: _set_field,
    Move: _move,
    Resubmit: _resubmit,
    PopVlan: _pop_vlan,
    PushVlan: _push_vlan,
    DecTtl: _dec_ttl,
    Controller: _controller,
    DeleteField: _delete_field,
    Meter: _meter,
    SetQueue: _set_queue,
    Ct: _ct,
    CtClear: _ct_clear,
    Clone: _clone,
}


@lru_cache(maxsize=16_384)
def canonical_actions(actions: bytes) -> bytes:
    """Return a list of actions in the one form that does not depend on who wrote it.

    OVS strips the leading zero bytes of what is set in tun_metadata, so those are stripped here.
    Raise DecodeError for bytes that are no list of actions. Cached: groups of all hosts hold the same few.
    """
    out, position = [], 0
    while position < len(actions):
        if position + _ACTION.size > len(actions):
            raise DecodeError("action", "is cut off")
        _, length = _ACTION.unpack_from(actions, position)
        if length < 8 or length % 8 or position + length > len(actions):
            raise DecodeError("action", f"length {length}")
        action = actions[position : position + length]
        out.append(_canonical(action))
        position += length
    return b"".join(out)


def _canonical(action: bytes) -> bytes:
    kind = int.from_bytes(action[:2])
    if kind == _OFPAT_SET_FIELD:
        return _canonical_set_field(action)
    if kind == _OFPAT_EXPERIMENTER and len(action) >= _NICIRA.size:
        _, _, vendor, subtype = _NICIRA.unpack_from(action)
        if (vendor, subtype) == (NX_VENDOR_ID, _NXAST_CLONE):
            return _nicira(_NXAST_CLONE, canonical_actions(action[_NICIRA.size :]))
    return action


def _canonical_set_field(action: bytes) -> bytes:
    oxm_class, number, payload = int.from_bytes(action[4:6]), action[6], action[7]
    masked = number & 1
    if oxm_class != _NXM_1 or number >> 1 not in _TUN_METADATA_NUMBERS:
        return action
    if 8 + payload > len(action) or (masked and payload % 2):
        raise DecodeError("set_field", f"{payload} bytes in an action of {len(action)}")
    width = payload // 2 if masked else payload
    value = int.from_bytes(action[8 : 8 + width])
    mask = int.from_bytes(action[8 + width : 8 + payload]) if masked else 0
    width = max(1, (max(value, mask).bit_length() + 7) // 8)
    body = value.to_bytes(width) + (mask.to_bytes(width) if masked else b"")
    length = 8 + len(body)
    head = _ACTION.pack(_OFPAT_SET_FIELD, length + -length % 8) + action[4:7] + bytes((len(body),))
    return head + body + bytes(-length % 8)
