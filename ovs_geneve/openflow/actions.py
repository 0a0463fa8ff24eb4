# SPDX-License-Identifier: Apache-2.0
"""The actions that our pipelines use, as frozen values; `template` turns them into bytes.

Bits of a field count from the least significant one, as in `ovs-ofctl`'s `reg0[0..15]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ovs_geneve.errors import EncodeError
from ovs_geneve.openflow.fields import Field

OFPP_IN_PORT = 0xFFFFFFF8
"Output to the port that the packet came from: the only way to send it back there."
OFPP_CONTROLLER = 0xFFFFFFFD
OFPP_LOCAL = 0xFFFFFFFE

WHOLE_PACKET = 0xFFFF
"OFPCML_NO_BUFFER: the whole packet goes to the controller."

ETHERTYPE_VLAN = 0x8100


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
    | Clone
)


def _check_bits(field: Field, offset: int, bits: int) -> None:
    if offset < 0 or bits < 1 or offset + bits > field.bits:
        raise EncodeError(field.name, f"bits {offset} to {offset + bits - 1}: it has {field.bits}")
