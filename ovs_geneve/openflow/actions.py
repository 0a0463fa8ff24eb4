# SPDX-License-Identifier: Apache-2.0
"""The actions that our pipelines use, as frozen values; `template` turns them into bytes.

Bits of a field count from the least significant one, as in `ovs-ofctl`'s `reg0[0..15]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ovs_geneve.errors import EncodeError
from ovs_geneve.openflow.fields import CT_LABEL, CT_MARK, Field

OFPP_IN_PORT = 0xFFFFFFF8
"Output to the port that the packet came from: the only way to send it back there."
OFPP_CONTROLLER = 0xFFFFFFFD
OFPP_LOCAL = 0xFFFFFFFE

WHOLE_PACKET = 0xFFFF
"OFPCML_NO_BUFFER: the whole packet goes to the controller."

ETHERTYPE_VLAN = 0x8100

MAX_ZONE = 0xFFFF
ZONE_BITS = 16

_NO_TABLE = 0xFF
"OFPTT_ALL: what NXAST_CT writes where the packet does not come back."


@dataclass(frozen=True, slots=True)
class Output:
    """Send the packet to a port (OFPAT_OUTPUT)."""

    port: int
    max_len: int = 0


@dataclass(frozen=True, slots=True)
class OutputField:
    """Send the packet to the port whose number is in some bits of a field (NXAST_OUTPUT_REG)."""

    field: Field
    offset: int = 0
    bits: int | None = None
    "None is all bits from `offset` on."

    def __post_init__(self) -> None:
        _check_bits(self.field, self.offset, self.width)

    @property
    def width(self) -> int:
        """How many bits are read."""
        return self.field.bits - self.offset if self.bits is None else self.bits


@dataclass(frozen=True, slots=True)
class Group:
    """Give the packet to a group (OFPAT_GROUP)."""

    group_id: int


@dataclass(frozen=True, slots=True)
class SetField:
    """Write a value, or the bits of it that `mask` selects, to a field (OFPAT_SET_FIELD)."""

    field: Field
    value: int
    mask: int | None = None

    def __post_init__(self) -> None:
        field, value, mask = self.field, self.value, self.mask
        if not field.writable:
            raise EncodeError(field.name, "cannot be written")
        if not 0 <= value <= field.ones:
            raise EncodeError(field.name, f"{value:#x}: has more than {field.bits} bits")
        if mask is not None and (not 0 < mask <= field.ones or value & ~mask):
            raise EncodeError(
                field.name, f"{value:#x}/{mask:#x}: no mask of {field.bits} bits for that value"
            )


@dataclass(frozen=True, slots=True)
class Move:
    """Copy bits of one field to another (OFPAT_COPY_FIELD)."""

    source: Field
    destination: Field
    bits: int
    source_offset: int = 0
    destination_offset: int = 0

    def __post_init__(self) -> None:
        if not self.destination.writable:
            raise EncodeError(self.destination.name, "cannot be written")
        _check_bits(self.source, self.source_offset, self.bits)
        _check_bits(self.destination, self.destination_offset, self.bits)


@dataclass(frozen=True, slots=True)
class Resubmit:
    """Look the packet up in another table and come back (NXAST_RESUBMIT_TABLE)."""

    table: int
    in_port: int | None = None
    "None keeps the packet's own; a number replaces it for that lookup."


@dataclass(frozen=True, slots=True)
class PopVlan:
    """Remove the outermost VLAN tag (OFPAT_POP_VLAN)."""


@dataclass(frozen=True, slots=True)
class PushVlan:
    """Add an empty VLAN tag (OFPAT_PUSH_VLAN)."""

    ethertype: int = ETHERTYPE_VLAN


@dataclass(frozen=True, slots=True)
class DecTtl:
    """Decrement the TTL or hop limit; at zero the packet goes to the controller, if one wants it."""


@dataclass(frozen=True, slots=True)
class Controller:
    """Send the packet to the controller (NXAST_CONTROLLER2)."""

    max_len: int = WHOLE_PACKET
    userdata: bytes = b""
    "Comes back with the packet-in."
    meter_id: int | None = None
    "The meter that limits these packets; None takes the switch's controller meter, if there is one."
    controller_id: int = 0


@dataclass(frozen=True, slots=True)
class DeleteField:
    """Take a tunnel option away from the packet (NXAST_DELETE_FIELD)."""

    field: Field


@dataclass(frozen=True, slots=True)
class Meter:
    """Drop the packet if it exceeds a meter's rate (OFPAT_METER)."""

    meter_id: int


@dataclass(frozen=True, slots=True)
class SetQueue:
    """Choose the queue of the ports that the packet leaves by (OFPAT_SET_QUEUE)."""

    queue_id: int


@dataclass(frozen=True, slots=True)
class FieldBits:
    """Some bits of a field, where an action reads a number from the packet's own state."""

    field: Field
    offset: int
    bits: int

    def __post_init__(self) -> None:
        _check_bits(self.field, self.offset, self.bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ct:
    """Give the packet to connection tracking (NXAST_CT). Only packets of IPv4 and IPv6: the match says so.

    The packet goes on untracked; with `table` a copy of it comes back there with its ct_state.
    """

    zone: int | FieldBits = 0
    "A number, or 16 bits of a field that hold it."
    commit: bool = False
    "Remember the connection: until then it stays new."
    force: bool = False
    "Where the connection came the other way round, forget it and begin anew."
    table: int | None = None
    actions: tuple[SetField, ...] = ()
    "What is written to ct_mark and ct_label of the connection."

    def __post_init__(self) -> None:
        if isinstance(self.zone, FieldBits):
            if self.zone.bits != ZONE_BITS:
                raise EncodeError("ct zone", f"{self.zone.bits} bits of {self.zone.field.name}: want 16")
        elif not 0 <= self.zone <= MAX_ZONE:
            raise EncodeError("ct zone", f"{self.zone}: want at most {MAX_ZONE}")
        if self.table is not None and not 0 <= self.table < _NO_TABLE:
            raise EncodeError("ct table", f"{self.table}: want at most {_NO_TABLE - 1}")
        if self.force and not self.commit:
            raise EncodeError("ct", "force is for a connection that is committed")
        if self.actions and not self.commit:
            raise EncodeError("ct", "mark and label are those of a connection that is committed")
        for action in self.actions:
            if action.field not in (CT_MARK, CT_LABEL):
                raise EncodeError("ct", f"{action.field.name}: only ct_mark and ct_label can be set here")


@dataclass(frozen=True, slots=True)
class CtClear:
    """Forget what connection tracking said of the packet (NXAST_CT_CLEAR)."""


@dataclass(frozen=True, slots=True)
class Clone:
    """Apply actions to a copy of the packet; afterwards it is as before (NXAST_CLONE)."""

    actions: tuple[Action, ...]


Action: TypeAlias = (
    Output
    | OutputField
    | Group
    | SetField
    | Move
    | Resubmit
    | PopVlan
    | PushVlan
    | DecTtl
    | Controller
    | DeleteField
    | Meter
    | SetQueue
    | Ct
    | CtClear
    | Clone
)


def _check_bits(field: Field, offset: int, bits: int) -> None:
    if offset < 0 or bits < 1 or offset + bits > field.bits:
        raise EncodeError(field.name, f"bits {offset} to {offset + bits - 1}: it has {field.bits}")
