# SPDX-License-Identifier: Apache-2.0
"""What rules are made of: which packets, and what is done with them. Values only.

An option policy (`model.OptionPolicySpec`) and a policy between groups (`model.PolicySpec`) both speak of packets in
these words. Whether a rule makes sense on its network is decided in `checks/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

Prefix = IPv4Network | IPv6Network


class FieldName(NamedTuple):
    """A field of a declared option, spelled SCHEMA.FIELD."""

    schema: str
    field: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.field}"


class PortRange(NamedTuple):
    """Ports of TCP, UDP or SCTP, from the first to the last, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketMatch:
    """Conditions on the headers of a tenant's packet; all must hold, None and () say nothing."""

    ethertype: int | None = None
    source_mac: int | None = None
    destination_mac: int | None = None
    source: Prefix | None = None
    destination: Prefix | None = None
    protocol: int | None = None
    "Of IPv4 and IPv6 (IANA's number), for both unless `ethertype` or an address says which."
    source_ports: tuple[PortRange, ...] = ()
    destination_ports: tuple[PortRange, ...] = ()
    dscp: int | None = None


ANY_PACKET = PacketMatch()


class PacketField(StrEnum):
    """What of a packet can be stamped into an option."""

    DSCP = "dscp"
    VLAN = "vlan"
    "The VLAN ID of the tag that was stripped; 0 without one."
    SOURCE_PORT_KEY = "source-port-key"
    "The object key of the logical port that sends."


@dataclass(frozen=True, slots=True)
class Stamp:
    """Set a field of an option to a value."""

    to: FieldName
    value: int


@dataclass(frozen=True, slots=True)
class StampFrom:
    """Set a field of an option to what the packet says."""

    to: FieldName
    source: PacketField


@dataclass(frozen=True, slots=True)
class Copy:
    """Set a field of an option to a field of another, or of the same."""

    to: FieldName
    source: FieldName


@dataclass(frozen=True, slots=True)
class Strip:
    """Take an option off the packet."""

    schema: str


@dataclass(frozen=True, slots=True)
class Mirror:
    """Send a copy to a logical port."""

    port: str


@dataclass(frozen=True, slots=True)
class Steer:
    """Send the packet through logical ports, one after the other, before it goes to where it is addressed."""

    ports: tuple[str, ...]
    position: FieldName | None = None
    "Keeps how far along the chain a packet is; needed for more than one port."


@dataclass(frozen=True, slots=True)
class SetQueue:
    """Send the packet through a queue of the interface it leaves by."""

    queue: int


@dataclass(frozen=True, slots=True)
class SetDscp:
    """Write the DSCP of the packet."""

    dscp: int


RuleAction = Stamp | StampFrom | Copy | Strip | Mirror | Steer | SetQueue | SetDscp
"Carried out in their order, before the verdict."


def ports_named(actions: tuple[RuleAction, ...]) -> tuple[str, ...]:
    """Return the logical ports that actions send packets to."""
    named = list[str]()
    for action in actions:
        match action:
            case Mirror(port=port):
                named.append(port)
            case Steer(ports=ports):
                named += ports
            case _:
                pass
    return tuple(named)


def fields_named(actions: tuple[RuleAction, ...]) -> tuple[FieldName, ...]:
    """Return the fields of options that actions read or write."""
    named = list[FieldName]()
    for action in actions:
        match action:
            case Stamp(to=to) | StampFrom(to=to):
                named.append(to)
            case Copy(to=to, source=source):
                named += (to, source)
            case Steer(position=position) if position is not None:
                named.append(position)
            case _:
                pass
    return tuple(named)


def schemas_named(actions: tuple[RuleAction, ...]) -> tuple[str, ...]:
    """Return the option schemas that actions speak of, each once."""
    stripped = [action.schema for action in actions if isinstance(action, Strip)]
    return tuple(dict.fromkeys([*(name.schema for name in fields_named(actions)), *stripped]))
