# SPDX-License-Identifier: Apache-2.0
"""Meters: how many packets a second a bridge lets through (OpenFlow 1.5.1 sections 7.3.4.4 and 7.3.5.13). Pure.

One drop band each: what exceeds the rate is dropped. What makes two meters do the same is their `content`: flags and
bands, as the switch reports them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.openflow.messages import VERSION, MessageType, encode_message

MAX_METER = 0xFFFF0000
"OFPM_MAX."

_MAX_32 = 0xFFFFFFFF

_OFPMP_METER_DESC = 10
_OFPM_ALL = 0xFFFFFFFF

_BURST = 4
_STATS = 8
_DROP = 1

_MOD = struct.Struct("!HHI")
_BAND = struct.Struct("!HHII4x")
_MULTIPART_REQUEST = struct.Struct("!HH4xI4x")
_MULTIPART_REPLY = struct.Struct("!BBHIHH4x")
_DESCRIPTION = struct.Struct("!H2sI")


class MeterUnit(IntEnum):
    """What a rate counts (enum ofp_meter_flags)."""

    KBITS = 1
    PACKETS = 2


class MeterCommand(IntEnum):
    """What a METER_MOD does."""

    ADD = 0
    MODIFY = 1
    DELETE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterEntry:
    """One meter of a bridge."""

    meter_id: int
    rate: int
    "Packets or kbit a second."
    burst: int
    "Packets or kbit that may come at once; OVS makes up one where there is none."
    unit: MeterUnit = MeterUnit.PACKETS

    def __post_init__(self) -> None:
        if not 0 < self.meter_id <= MAX_METER:
            raise EncodeError("meter", f"{self.meter_id:#x}: want 1 to {MAX_METER:#x}")
        for name, value in (("meter rate", self.rate), ("meter burst", self.burst)):
            if not 0 < value <= _MAX_32:
                raise EncodeError(name, f"{value}: want 1 to {_MAX_32}")

    @property
    def content(self) -> bytes:
        """Flags and bands: equal where meters do the same."""
        flags = self.unit | _BURST | _STATS
        return flags.to_bytes(2) + _BAND.pack(_DROP, _BAND.size, self.rate, self.burst)


def encode_meter(command: MeterCommand, entry: MeterEntry, *, xid: int = 0) -> bytes:
    """Encode the METER_MOD that adds or changes a meter.

    ADD of one that exists and MODIFY of one that does not are errors of the switch.
    """
    flags, bands = entry.content[:2], entry.content[2:]
    body = _MOD.pack(command, int.from_bytes(flags), entry.meter_id) + bands
    return encode_message(MessageType.METER_MOD, body, xid=xid)


def encode_meter_delete(meter_id: int, *, xid: int = 0) -> bytes:
    """Encode the METER_MOD that deletes a meter, and with it the flows that have a `Meter` action of it.

    A `Controller` action with that meter stays and limits nothing any more. Deleting what is not there is no error.
    """
    return encode_message(MessageType.METER_MOD, _MOD.pack(MeterCommand.DELETE, 0, meter_id), xid=xid)


def meter_desc_request(xid: int) -> bytes:
    """Ask for all meters."""
    body = _MULTIPART_REQUEST.pack(_OFPMP_METER_DESC, 0, _OFPM_ALL)
    return encode_message(MessageType.MULTIPART_REQUEST, body, xid=xid)


def decode_meter_desc(message: bytes) -> list[tuple[int, bytes]]:
    """Decode number and content of the meters in one part of a reply; raise DecodeError for what is none."""
    if len(message) < _MULTIPART_REPLY.size:
        raise DecodeError("meter description", f"{len(message)} bytes")
    version, kind, length, _, what, _ = _MULTIPART_REPLY.unpack_from(message)
    if (version, kind, what) != (VERSION, MessageType.MULTIPART_REPLY, _OFPMP_METER_DESC):
        raise DecodeError("meter description", f"version {version}, type {kind}, kind {what}")
    meters, position, end = [], _MULTIPART_REPLY.size, min(length, len(message))
    while position < end:
        if position + _DESCRIPTION.size > end:
            raise DecodeError("meter description", "an entry is cut off")
        size, flags, meter_id = _DESCRIPTION.unpack_from(message, position)
        if size < _DESCRIPTION.size or position + size > end:
            raise DecodeError("meter description", f"an entry of {size} bytes")
        meters.append((meter_id, flags + message[position + _DESCRIPTION.size : position + size]))
        position += size
    return meters


def contents(meters: Iterable[MeterEntry]) -> dict[int, bytes]:
    """Return meters as a switch that has them reports them."""
    return {meter.meter_id: meter.content for meter in meters}
