# SPDX-License-Identifier: Apache-2.0
"""What a kernel holds of an overlay, as plain values that also travel as JSON.

Addresses are text as `ipaddress` writes it, MACs as ip-link(8) does ("02:00:00:00:00:01"), option data hexadecimal
without a prefix, as tc-tunnel_key(8) has it. Equal values are equal kernel objects: whatever the kernel fills in by
itself is spelled out here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

MARK = "ovs-geneve"
"The first word of the alias of every device of ours (IFLA_IFALIAS): what has it is ours, what has not is not."

MAKING = 0x6E6E0000
"""The group (IFLA_GROUP) of a device of ours that has no alias yet: the request that makes one takes no alias, and who
makes it may be killed before the next. Groups that administrators give are small numbers."""

FIRST_PREFERENCE, LAST_PREFERENCE = 0x6E00, 0x6EFF
"Preferences of our filters in chain 0 of devices that are not ours: others may have filters there too."

FIRST_CHAIN, LAST_CHAIN = 0x6000000, 0x6FFFFFF
"Our chains on such devices; tc-actions(8) has chains of 28 bits, and object keys have 22."


class Value(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag=True
):
    """A value that can be compared, hashed and sent; its JSON says by `type` which one it is."""


class GeneveLink(Value, frozen=True, kw_only=True, tag="geneve"):
    """A geneve netdev (drivers/net/geneve.c; ip-link(8), "GENEVE Type Support")."""

    vni: int | None = None
    "None takes tunnel and options from each packet's metadata (`external`)."
    remote: str | None = None
    dst_port: int = 6081
    ttl: int | Literal["inherit", "auto"] = "auto"
    tos: int | Literal["inherit"] = 0
    df: Literal["unset", "set", "inherit"] = "unset"
    udp_csum: bool = True
    "Of packets over IPv4."
    udp6_zero_csum_tx: bool = False
    udp6_zero_csum_rx: bool = False
    inner_proto_inherit: bool = False
    "Carries IP without Ethernet; such a device has no MAC."


class BridgeLink(Value, frozen=True, kw_only=True, tag="bridge"):
    """A bridge that learns nothing that it is not told: no STP, no VLANs, no multicast snooping."""


class DummyLink(Value, frozen=True, kw_only=True, tag="dummy"):
    """A device that goes nowhere: what a bridge sends to it, filters take."""


class VrfLink(Value, frozen=True, kw_only=True, tag="vrf"):
    """A routing domain of its own (ip-vrf(8))."""

    table: int


LinkKind = GeneveLink | BridgeLink | DummyLink | VrfLink


class BridgePort(Value, frozen=True, kw_only=True, tag="bridge-port"):
    """How a device is a bridge's port (ip-link(8), "bridge_slave"; bridge(8))."""

    learning: bool = False
    flood: bool = True
    "Unknown unicast, and broadcast and multicast with it."
    neigh_suppress: bool = False
    "ARP and ND for what the bridge knows are answered, not sent out here."
    isolated: bool = False
    "Passes nothing to other isolated ports."


class Link(Value, frozen=True, kw_only=True, tag="link"):
    """A device of ours, up."""

    name: str
    kind: LinkKind
    alias: str
    "MARK, a blank, and what it is for."
    mtu: int
    mac: str | None = None
    "None leaves it to the kernel."
    master: str | None = None
    port: BridgePort | None = None
    "When `master` is a bridge."


class Attachment(Value, frozen=True, kw_only=True, tag="attachment"):
    """Somebody else's device as a slave of ours: the interface of a workload."""

    name: str
    master: str
    port: BridgePort | None = None
    mtu: int | None = None
    "None leaves it."


class Fdb(Value, frozen=True, kw_only=True, tag="fdb"):
    """A static forwarding entry of a bridge: this MAC is behind this port of it."""

    device: str
    mac: str


class Neighbour(Value, frozen=True, kw_only=True, tag="neighbour"):
    """A permanent neighbour entry, or a proxy's (ip-neighbour(8))."""

    device: str
    address: str
    mac: str | None = None
    "None for a proxy entry: the host answers for this address."


class Encap(Value, frozen=True, kw_only=True, tag="encap"):
    """A light-weight tunnel of a route (ip-route(8), ENCAP_IP)."""

    vni: int
    dst: str
    ttl: int = 64
    tos: int = 0
    options: tuple[GeneveOption, ...] = ()


class Route(Value, frozen=True, kw_only=True, tag="route"):
    """A route in a table of ours."""

    table: int
    prefix: str
    device: str
    encap: Encap | None = None


class Setting(Value, frozen=True, kw_only=True, tag="setting"):
    """A switch of the kernel below /proc/sys, as net.ipv4.conf.DEVICE.forwarding; on devices of ours or attached."""

    path: str
    'With slashes: "net/ipv4/conf/tap0/forwarding".'
    value: str


class GeneveOption(Value, frozen=True, kw_only=True, tag="option"):
    """An option that is set."""

    option_class: int
    option_type: int
    data: str


class GeneveOptionMatch(Value, frozen=True, kw_only=True, tag="option-match"):
    """An option that is matched; masks of 0 take any option of this length at this place of the list."""

    option_class: int
    option_type: int
    data: str
    class_mask: int = 0xFFFF
    type_mask: int = 0xFF
    data_mask: str
    "As long as `data`."


class Flower(Value, frozen=True, kw_only=True, tag="flower"):
    """A match of tc-flower(8); what is None or () is not looked at."""

    src_mac: str | None = None
    dst_mac: str | None = None
    "ADDRESS or ADDRESS/MASK."
    ip_proto: int | None = None
    src_ip: str | None = None
    "A prefix: 10.0.0.1/32."
    dst_ip: str | None = None
    src_ports: tuple[int, int] | None = None
    "First and last; of TCP, UDP or SCTP as `ip_proto` says."
    dst_ports: tuple[int, int] | None = None
    fragment: bool | None = None
    "Of fragments, the first ones too, flower shows neither ports nor types: they read 0."
    icmp_type: int | None = None
    icmp_code: int | None = None
    arp_sip: str | None = None
    arp_tip: str | None = None
    arp_sha: str | None = None
    enc_vni: int | None = None
    enc_src: str | None = None
    enc_dst: str | None = None
    enc_dst_port: int | None = None
    enc_options: tuple[GeneveOptionMatch, ...] = ()
    "All options of the packet, in the order on the wire."


class Fw(Value, frozen=True, kw_only=True, tag="fw"):
    """A match of tc-fw(8): the packet's mark."""

    mark: int
    mask: int = 0xFFFFFFFF


class MatchAll(Value, frozen=True, kw_only=True, tag="matchall"):
    """A match of every packet (tc-matchall(8))."""


Match = Flower | Fw | MatchAll


class TunnelSet(Value, frozen=True, kw_only=True, tag="tunnel-set"):
    """Says which tunnel the packet goes into (tc-tunnel_key(8)); it cannot set DF before Linux 6.13."""

    vni: int
    src: str | None = None
    dst: str
    dst_port: int = 6081
    ttl: int = 64
    tos: int = 0
    csum: bool = True
    options: tuple[GeneveOption, ...] = ()


class TunnelUnset(Value, frozen=True, kw_only=True, tag="tunnel-unset"):
    """Forgets the tunnel that the packet came through."""


class Mirred(Value, frozen=True, kw_only=True, tag="mirred"):
    """Hands the packet, or a copy, to a device (tc-mirred(8))."""

    device: str
    copy: bool = False
    ingress: bool = False
    "As if it had arrived there."


class SetMark(Value, frozen=True, kw_only=True, tag="mark"):
    """Marks the packet (tc-skbedit(8))."""

    mark: int


class Goto(Value, frozen=True, kw_only=True, tag="goto"):
    """Goes on in another chain; the last action."""

    chain: int


class Verdict(Value, frozen=True, kw_only=True, tag="verdict"):
    """Ends here: "pass" leaves the packet as it is, "drop" ends it, "continue" tries the next filter."""

    verdict: Literal["pass", "drop", "continue"]


Action = TunnelSet | TunnelUnset | Mirred | SetMark | Goto | Verdict


Protocol = Literal["all", "arp", "rarp", "ip", "ipv6", "802.1Q", "802.1ad"]
"As tc(8) spells them; a frame with a VLAN tag is of the tag's, whatever is in it."


FilterKey = tuple[str, bool, int, int, int]
"Device, egress or ingress, chain, preference and handle."


class Filter(Value, frozen=True, kw_only=True, tag="filter"):
    """A filter of a device's clsact qdisc, by itself at its chain and preference."""

    device: str
    egress: bool = False
    chain: int = 0
    preference: int
    protocol: Protocol = "all"
    handle: int = 1
    "Filters of one chain and preference have one protocol and kind and differ in handle; Fw has its mark here."
    match: Match
    actions: tuple[Action, ...]

    @property
    def key(self) -> FilterKey:
        """What makes it the same filter in the kernel."""
        return self.device, self.egress, self.chain, self.preference, self.handle


KernelObject = Link | Attachment | Setting | Fdb | Neighbour | Route | Filter


class KernelState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """All that a kernel should hold of ours, or a part of it. Devices with filters have a clsact qdisc."""

    links: frozenset[Link] = frozenset()
    attachments: frozenset[Attachment] = frozenset()
    settings: frozenset[Setting] = frozenset()
    fdb: frozenset[Fdb] = frozenset()
    neighbours: frozenset[Neighbour] = frozenset()
    routes: frozenset[Route] = frozenset()
    filters: frozenset[Filter] = frozenset()


def joined(states: Iterable[KernelState]) -> KernelState:
    """Return what several parts make together."""
    states = tuple(states)
    return KernelState(
        links=frozenset().union(*(one.links for one in states)),
        attachments=frozenset().union(*(one.attachments for one in states)),
        settings=frozenset().union(*(one.settings for one in states)),
        fdb=frozenset().union(*(one.fdb for one in states)),
        neighbours=frozenset().union(*(one.neighbours for one in states)),
        routes=frozenset().union(*(one.routes for one in states)),
        filters=frozenset().union(*(one.filters for one in states)),
    )
