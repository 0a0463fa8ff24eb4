# SPDX-License-Identifier: Apache-2.0
"""What users declare: hosts, networks, ports, option schemas, option policies; and where ports are plugged.

All values are frozen and hashable. An `Object` is a spec under a name with its place in history; `intent.py`
holds all of them at one revision. References between objects are names. Whether a spec fits the rest of the
intent is decided in `commands.py`, not here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Generic, Literal, NewType, TypeVar

from ovs_geneve.geneve.fields import OptionLayout
from ovs_geneve.values import Vni

Address = IPv4Address | IPv6Address

ObjectKey = NewType("ObjectKey", int)
"""A number no other object has or had, 1 to 2**22 - 1: it stands for the object in cookies, registers and
groups. A binding has its port's."""

MAX_KEY = (1 << 22) - 1


def link_local(mac: int) -> IPv6Address:
    """Return the address that IPv6 makes from a MAC for neighbour discovery (RFC 4291, Appendix A)."""
    identifier = ((mac >> 24) << 40 | 0xFFFE << 24 | mac & 0xFFFFFF) ^ 1 << 57
    return IPv6Address(0xFE80 << 112 | identifier)


class Kind(StrEnum):
    """The kinds of object, as they are spelled in messages (port/web1)."""

    HOST = "host"
    NETWORK = "network"
    PORT = "port"
    OPTION_SCHEMA = "option-schema"
    OPTION_POLICY = "option-policy"
    BINDING = "binding"
    "Where a port is plugged: written by the controller, not by users."


def object_id(kind: Kind, name: str) -> str:
    """Return how messages speak of an object, kind/name."""
    return f"{kind}/{name}"


class HostKind(StrEnum):
    """What forwards packets on a host."""

    OVS = "ovs"


class DatapathChoice(StrEnum):
    """Which OVS datapath a host's bridge uses; AUTO takes the kernel's where vswitchd offers it."""

    AUTO = "auto"
    SYSTEM = "system"
    NETDEV = "netdev"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunables:
    """Outer header settings of a host's GENEVE vport (ovs-vswitchd.conf.db(5), Tunnel Options)."""

    csum: bool = True
    ttl: int | Literal["inherit"] | None = None
    'A number, "inherit", or None for the system default.'
    tos: int | Literal["inherit"] | None = None
    'A TOS byte without ECN bits, "inherit", or None for 0.'
    df_default: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """A machine that takes part in the overlay."""

    kind: HostKind = HostKind.OVS
    ovsdb: str | None = None
    'Where to dial its OVSDB ("unix:…", "tcp:…", "ssl:…"); None when the host calls in.'
    system_id: str | None = None
    "external_ids:system-id by which a host that calls in is known; None means the host's name."
    endpoints: tuple[Address, ...] = ()
    "Underlay addresses, preferred first; at least one, no address on two hosts."
    bridge: str = "br-int"
    datapath: DatapathChoice = DatapathChoice.AUTO
    tunables: Tunables = field(default_factory=Tunables)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class OptionValue:
    """A field of an option set to a value."""

    schema: str
    field: str
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """A virtual network: one Ethernet segment under one VNI."""

    vni: Vni | None = None
    "None asks the allocator for one; stored networks always have theirs."
    options: tuple[str, ...] = ()
    "Names of the option schemas that every packet of the network carries."
    values: tuple[OptionValue, ...] = ()
    "What ports of the network stamp unless they say otherwise; sorted; a field not named is 0."


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSpec:
    """A logical port: an attachment to a network."""

    network: str
    mac: int
    addresses: tuple[Address, ...] = ()
    "The only source addresses the port may use; empty leaves IP unchecked (a pure Ethernet port)."
    interface_id: str | None = None
    "external_ids:iface-id of the OVS interface that is this port; None means the port's name."
    values: tuple[OptionValue, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionSchemaSpec:
    """An option users declared, and the tun_metadata slot it has on every bridge."""

    layout: OptionLayout
    allow_registered: bool = False
    "Lets the class lie outside IANA's experimental range 0xff00-0xffff."
    profile: str | None = None
    "The coexistence profile whose option this is, exactly as laid out there."
    slot: int | None = None
    "Index of tun_metadata, 0 to 63; given by the allocator, never by users."


class PolicyAction(StrEnum):
    """What happens to traffic that an option policy matches."""

    ALLOW = "allow"
    DROP = "drop"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class OptionMatch:
    """A condition on a field: (field & mask) == value."""

    schema: str
    field: str
    value: int
    mask: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionPolicySpec:
    """Which packets towards ports (direction ingress) are let in, by the options they carry.

    Higher priority wins; at one priority drop wins over allow. A port that any allow policy selects lets
    in nothing that no policy allows.
    """

    network: str
    priority: int = 100
    to_port: str | None = None
    "None selects every port of the network."
    match: tuple[OptionMatch, ...] = ()
    "All must hold; sorted; empty matches every packet."
    action: PolicyAction


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingSpec:
    """A port is (or was last) plugged into this host."""

    host: str


Spec = HostSpec | NetworkSpec | PortSpec | OptionSchemaSpec | OptionPolicySpec | BindingSpec
S_co = TypeVar("S_co", bound=Spec, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Object(Generic[S_co]):
    """A spec under a name, with its place in history."""

    kind: Kind
    name: str
    key: ObjectKey
    spec: S_co
    revision: int = 0
    "The intent's revision that wrote this spec; its ETag."
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def id(self) -> str:
        """The name by which messages speak of it, kind/name."""
        return object_id(self.kind, self.name)


AnyObject = Object[Spec]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One object before and after; None where it is not there."""

    kind: Kind
    name: str
    old: AnyObject | None
    new: AnyObject | None
