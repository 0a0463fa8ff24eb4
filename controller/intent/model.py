# SPDX-License-Identifier: Apache-2.0
"""What users declare, and what the controller keeps beside it: where ports are plugged, what hosts can do,
how far options are rolled out, which slots rest.

All values are frozen and hashable. An `Object` is a spec under a name with its place in history; `intent.py`
holds all of them at one revision. References between objects are names. Whether a spec fits the rest of the
intent is decided in `commands.py`, not here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Generic, Literal, NewType, TypeVar

from controller.intent.rules import ANY_PACKET, PacketMatch, PortRange, RuleAction
from ovs_geneve.geneve.fields import OptionLayout
from ovs_geneve.openflow.tlv_table import TlvMap
from ovs_geneve.values import Vni

Address = IPv4Address | IPv6Address

ObjectKey = NewType("ObjectKey", int)
"""A number no other object has or had, 1 to 2**22 - 1: it stands for the object in cookies, registers and
groups. A binding has its port's, a capability its host's."""

MAX_KEY = (1 << 22) - 1

FIRST_DIRECT_VNI = 3 << 22
"""The upper quarter of the VNIs belongs to no network: FIRST_DIRECT_VNI + key takes a packet to the port of that key,
whatever its MACs say (mirror copies, service chains)."""

PROBE_VNI = FIRST_DIRECT_VNI
"""Of probes where one of the ends does not look at the O bit: no object has the key 0, so that no port's packets ever
have this VNI."""

DEFAULT_UNDERLAY_MTU = 1500
"What Ethernet carries."


def direct_vni(port_key: int) -> int:
    """Return the VNI under which a packet reaches a port on another host, whatever its MACs say."""
    return FIRST_DIRECT_VNI + port_key


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
    GROUP = "group"
    POLICY = "policy"
    BINDING = "binding"
    "Where a port is plugged: this and what follows is written by the controller, not by users."
    CAPABILITY = "capability"
    "What a host can do; has its name."
    ROLLOUT = "rollout"
    "How far an option of a network is on its way in or out."
    RETIRED_SLOT = "retired-slot"
    "A slot whose schema is gone, and which rests before it is given again."


def object_id(kind: Kind, name: str) -> str:
    """Return how messages speak of an object, kind/name."""
    return f"{kind}/{name}"


class HostKind(StrEnum):
    """What forwards packets on a host."""

    OVS = "ovs"
    LINUX = "linux"
    "The kernel's own geneve devices, bridges and traffic control, kept by `ovs-geneve agent`."


class TunnelStyle(StrEnum):
    """Which geneve devices a Linux host has (ip-link(8), "GENEVE Type Support")."""

    METADATA = "metadata"
    "One for all, with tunnel and options by packet."
    FIXED = "fixed"
    "One a network and peer, without options."


class DatapathChoice(StrEnum):
    """Which OVS datapath a host's bridge uses; AUTO takes the kernel's where vswitchd offers it."""

    AUTO = "auto"
    SYSTEM = "system"
    NETDEV = "netdev"


class OffloadChoice(StrEnum):
    """What Open vSwitch is to hand to the kernel's traffic control, for NICs to take over."""

    OFF = "off"
    ON = "on"
    SKIP_HW = "skip-hw"
    "Traffic control forwards in software; no NIC is asked."
    SKIP_SW = "skip-sw"
    "Only what a NIC takes goes to traffic control."


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunables:
    """Outer header settings of a host: of its GENEVE vport (ovs-vswitchd.conf.db(5)) or geneve devices."""

    csum: bool = True
    ttl: int | Literal["inherit"] | None = None
    'A number, "inherit", or None for the system default.'
    tos: int | Literal["inherit"] | None = None
    'A TOS byte without ECN bits, "inherit", or None for 0.'
    df_default: bool = True
    df_inherit: bool = False
    "Takes DF from the inner packet; Linux hosts only."
    udp6_zero_csum: bool = True
    "Takes packets over IPv6 without UDP checksum (RFC 6936); Linux hosts only, Open vSwitch always does."


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
    underlay_mtu: int | None = None
    "Bytes of the largest IP packet that the underlay carries from here; None leaves it open."
    tunnels: TunnelStyle = TunnelStyle.METADATA
    "Linux hosts only."
    offload: OffloadChoice | None = None
    "None leaves the host's own setting alone. Hosts with Open vSwitch only."

    @property
    def assumed_mtu(self) -> int:
        """What the underlay is taken to carry: what Ethernet does, where nobody says."""
        return DEFAULT_UNDERLAY_MTU if self.underlay_mtu is None else self.underlay_mtu

    @property
    def takes_oam(self) -> bool:
        """Whether packets that arrive with the O bit of GENEVE are taken like others.

        A megaflow that compares the bit is one that traffic control of most kernels, and every NIC, refuses.
        """
        return self.offload not in (None, OffloadChoice.OFF)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class OptionValue:
    """A field of an option set to a value."""

    schema: str
    field: str
    value: int


class InnerVlan(StrEnum):
    """What becomes of a VLAN tag on what a port sends (RFC 8926 4.6 leaves it to configuration)."""

    FORBID = "forbid"
    "A tagged frame is dropped."
    STRIP = "strip"
    "The tag is taken off; its VLAN ID can be stamped into an option."


class Payload(StrEnum):
    """What a network's tunnels carry (RFC 8926 3.4, Protocol Type)."""

    ETHERNET = "ethernet"
    IP = "ip"
    "IP packets as they are: between Linux hosts only."


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSpec:
    """Hosts behind an AWS-style gateway load balancer: its packets go back to it, with the options they came with."""

    gateways: tuple[Address, ...]
    "Underlay addresses of the load balancer: no host of ours has them."
    hosts: tuple[str, ...]
    "Those that stand behind it."


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """A virtual network: one segment under one VNI."""

    vni: Vni | None = None
    "None asks the allocator for one; stored networks always have theirs."
    options: tuple[str, ...] = ()
    "Names of the option schemas that every packet of the network carries."
    values: tuple[OptionValue, ...] = ()
    "What ports of the network stamp unless they say otherwise; sorted; a field not named is 0."
    mtu: int | None = None
    "The least that the network must carry; None takes what hosts and options leave."
    inner_vlan: InnerVlan = InnerVlan.FORBID
    target: TargetSpec | None = None
    "A network that is a target has no ports."
    payload: Payload = Payload.ETHERNET


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
    group: str | None = None


class OptionDirection(StrEnum):
    """Who puts an option on packets and who reads it (RFC 8926 4.4.4: tunnels have a direction each)."""

    BOTH = "both"
    SEND = "send"
    "Stamped, for others to read: no policy of ours matches it."
    RECEIVE = "receive"
    "Read, from others who stamp it: no port of ours does."


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionSchemaSpec:
    """An option users declared, and the tun_metadata slot it has on every bridge."""

    layout: OptionLayout
    direction: OptionDirection = OptionDirection.BOTH
    replaces: str | None = None
    "The schema of which this is the next version."
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


class Direction(StrEnum):
    """Which way packets go, seen from the port."""

    INGRESS = "ingress"
    EGRESS = "egress"


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionPolicySpec:
    """What becomes of packets by the options they carry, where they enter the overlay or leave it.

    Of the policies of a direction that match a packet, the one of the highest priority decides alone; at one priority
    drop wins over the others. Its actions are carried out in their order, then its verdict. One without a verdict acts,
    and the packet, as it is then, goes on to those that have one as if that policy were not there: it opens nothing
    that they refuse, and at most one such policy acts on a packet.

    What ingress policies with `allow` select by `to` (a port, a group, or all of the network) lets in nothing that no
    policy allows; likewise what egress policies with `allow` select by `from`, ARP and neighbour discovery excepted.
    """

    network: str
    priority: int = 100
    direction: Direction = Direction.INGRESS
    from_port: str | None = None
    from_group: str | None = None
    to_port: str | None = None
    "None selects every port of the network."
    to_group: str | None = None
    match: tuple[OptionMatch, ...] = ()
    "All must hold; sorted; empty matches every packet."
    packet: PacketMatch = ANY_PACKET
    actions: tuple[RuleAction, ...] = ()
    action: PolicyAction | None = None
    "The verdict; None leaves it to the other policies."


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSpec:
    """Ports that have the same rights; its identity travels with every packet of theirs, in a built-in option."""

    identity: int | None = None
    "1 to 65535; None asks the allocator for one; stored groups always have theirs."


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySpec:
    """Who may talk to a group, decided at the receiver by the identity that a packet carries.

    Higher priority wins; at one priority deny wins. A group that any policy selects lets in nothing that none allows.
    """

    network: str
    to_group: str
    from_group: str | None = None
    "None is anybody in the network."
    priority: int = 100
    protocol: int | None = None
    ports: tuple[PortRange, ...] = ()
    "Destination ports; empty is all."
    allow: bool = True
    stateful: bool = False
    "Replies to what is allowed are let in as well, whatever else is said."
    log: bool = False
    "Tell of packets that this refuses, a few a second."


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingSpec:
    """A port is (or was last) plugged into this host."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilitySpec:
    """What a host told of itself (RFC 8926 4.5.1: whoever sends options must know what peers can parse)."""

    ovs_version: str = ""
    datapath: str = ""
    'As OVS spells it: "system" or "netdev"; "linux" on hosts without it.'
    kernel: str = ""
    max_option_bytes: int = 0
    "Data of all options together; 0 while the bridge has not told."
    max_options: int = 0
    critical: bool = False
    "Understands critical options that are declared."
    foreign: tuple[TlvMap, ...] = ()
    "Slots of its bridge that somebody else mapped; sorted."
    lacks: tuple[str, ...] = ()
    "Kernel modules that a Linux host needs and has not; sorted."


class RolloutStage(StrEnum):
    """How far an option of a network is. In: RECEIVERS, CANARY, SENDERS, done. Out: SENDERS, RECEIVERS, gone."""

    RECEIVERS = "receivers"
    "In: hosts are to understand it; nobody sends it. Out: nobody sends it any more; hosts are to forget it."
    CANARY = "canary"
    "One pair of hosts is probed with it."
    SENDERS = "senders"
    "In: ports are to stamp it. Out: ports are to stop."
    ROLLED_BACK = "rolled-back"
    "A canary failed: nobody sends it."


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSpec:
    """An option on its way into a network or out of it; named NETWORK:SCHEMA. Done ones are deleted."""

    network: str
    schema: str
    incoming: bool = True
    stage: RolloutStage = RolloutStage.RECEIVERS
    reason: str = ""
    "What it waits for, or why it was rolled back."

    @property
    def is_withheld(self) -> bool:
        """Tell whether the option is on its way in and ports do not stamp it yet."""
        return self.incoming and self.stage is not RolloutStage.SENDERS

    @property
    def is_lingering(self) -> bool:
        """Tell whether the option is on its way out and packets that carry it may still come."""
        return not self.incoming and self.stage is RolloutStage.SENDERS


@dataclass(frozen=True, slots=True, kw_only=True)
class RetiredSlotSpec:
    """An option that was mapped and must be unmapped everywhere before its slot is given again."""

    tlv_map: TlvMap


Spec = (
    HostSpec
    | NetworkSpec
    | PortSpec
    | OptionSchemaSpec
    | OptionPolicySpec
    | GroupSpec
    | PolicySpec
    | BindingSpec
    | CapabilitySpec
    | RolloutSpec
    | RetiredSlotSpec
)
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
