# SPDX-License-Identifier: Apache-2.0
"""What ports need of the host that they are on, who asks for it, and what hosts are unable to. Pure.

    demands_of(port)  each a Need, by the object that makes it: its network, a policy that is carried out there
    lacks(host)       each a Need with the reason, from its kind, its tunnels and the modules that it told it has not

A port is bound to no host that lacks what it needs, and nothing is stored that a host with ports now could not do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

from controller.intent.conditions import IPV4, IPV6, ethertypes_of
from controller.intent.intent import Intent
from controller.intent.model import (
    Direction,
    HostKind,
    HostSpec,
    InnerVlan,
    NetworkSpec,
    Object,
    OptionPolicySpec,
    Payload,
    PolicySpec,
    PortSpec,
    TunnelStyle,
)
from controller.intent.rules import Mirror, RuleAction, SetQueue, Steer, ports_named
from ovs_geneve.values import is_critical


class Need(StrEnum):
    """Something that not every host is able to, as messages name it."""

    ETHERNET = "networks of Ethernet"
    IP = "networks of IP"
    VLAN_STRIP = "taking VLAN tags off"
    CRITICAL = "critical options"
    SENDER_OPTIONS = "stamping options that policies match"
    SENDER_GROUP = "telling the group of senders"
    GROUP_POLICIES = "policies between groups"
    CONNECTIONS = "stateful policies"
    REFUSAL_LOG = "telling of packets that policies refuse"
    VERDICTS = "option policies that only allow or drop what comes in"
    HEADERS = "option policies on DSCP, or on Ethernet types other than IP's"
    SENDER_POLICIES = "option policies where packets are sent"
    ACTIONS = "option policies that change packets"
    MIRROR = "mirroring"
    STEER = "steering through ports"
    QUEUE = "choosing queues"
    DIRECT = "ports that policies mirror or steer to"
    TARGET = "targets of gateway load balancers"
    PROBES = "probes"
    "Nothing that is declared needs it."


class Demand(NamedTuple):
    """A need, and the object that makes it."""

    need: Need
    by: str
    "As kind/name."
    at: str
    "Points into its document."


_NO_CONNTRACK = "its filters remember no connections"
_ONE_FILTER = "its filters pass or drop packets, nothing else"
_WHERE_SENT = "its filters choose the tunnel where packets are sent, and see no option before"
_NO_DIRECT = "packets come to it by their MACs only"

_OVS: Mapping[Need, str] = {Need.IP: "Open vSwitch carries Ethernet in tunnels, nothing else"}

_LINUX: Mapping[Need, str] = {
    Need.VLAN_STRIP: "its bridges leave tags on",
    Need.CONNECTIONS: _NO_CONNTRACK,
    Need.REFUSAL_LOG: "the kernel counts what its filters drop, and shows nobody the packets",
    Need.HEADERS: "its filters look at addresses, protocol and ports of IP",
    Need.SENDER_POLICIES: _WHERE_SENT,
    Need.ACTIONS: _ONE_FILTER,
    Need.MIRROR: _ONE_FILTER,
    Need.STEER: _ONE_FILTER,
    Need.QUEUE: _ONE_FILTER,
    Need.DIRECT: _NO_DIRECT,
    Need.TARGET: "it sends options that its ports have, none that came with a packet",
    Need.PROBES: "probes go through OpenFlow, which it does not speak",
}

_FIXED: Mapping[Need, str] = {
    # Linux drivers/net/geneve.c: a device that is not external drops packets with critical options.
    Need.CRITICAL: "its fixed tunnels drop packets with critical options",
    Need.SENDER_OPTIONS: "its fixed tunnels send no options",
    Need.SENDER_GROUP: "its fixed tunnels send no options, and so nobody's group",
    Need.GROUP_POLICIES: "its fixed tunnels do not show the group of a sender",
    Need.VERDICTS: "its fixed tunnels do not show options",
}

_GENEVE = "geneve", "sch_ingress", "cls_flower", "act_gact"
_ETHERNET = *_GENEVE, "bridge", "act_skbedit"
MODULES: Mapping[TunnelStyle, tuple[str, ...]] = {
    TunnelStyle.METADATA: (*_ETHERNET, "dummy", "cls_fw", "act_tunnel_key", "act_mirred"),
    TunnelStyle.FIXED: _ETHERNET,
}
"What the kernel must have for networks of Ethernet, by the style of tunnels: what the compiler makes lives in them."

MODULES_OF_IP = *_GENEVE, "vrf"


def lacks(intent: Intent, host: Object[HostSpec]) -> Mapping[Need, str]:
    """Return what a host is unable to, and why."""
    spec = host.spec
    if spec.kind is HostKind.OVS:
        return _OVS
    told = intent.capabilities.get(host.name)
    missing = () if told is None else told.spec.lacks
    return {**lacked_by(spec.kind, spec.tunnels), **_without(missing, spec.tunnels)}


def lacked_by(kind: HostKind, tunnels: TunnelStyle) -> Mapping[Need, str]:
    """Return what no host of a kind is able to, and why."""
    if kind is HostKind.OVS:
        return _OVS
    return {**_LINUX, **_FIXED} if tunnels is TunnelStyle.FIXED else _LINUX


def demands_of(intent: Intent, port: Object[PortSpec]) -> Iterator[Demand]:
    """Yield what a port needs of its host, the network's needs first."""
    network = intent.networks[port.spec.network]
    yield from demands_of_network(intent, network)
    for name in sorted(intent.policies_between(network.name)):
        yield from demands_of_policy(intent, intent.policies[name], port.spec.group)
    for name in sorted(intent.policies_of(network.name)):
        yield from demands_of_option_policy(intent.option_policies[name], port)


def demands_of_network(intent: Intent, network: Object[NetworkSpec]) -> Iterator[Demand]:
    """Yield what every port of a network needs."""
    spec = network.spec
    yield Demand(Need.IP if spec.payload is Payload.IP else Need.ETHERNET, network.id, "/payload")
    if spec.inner_vlan is InnerVlan.STRIP:
        yield Demand(Need.VLAN_STRIP, network.id, "/inner_vlan")
    for position, schema in enumerate(spec.options):
        if is_critical(intent.option_schemas[schema].spec.layout.option_type):
            yield Demand(Need.CRITICAL, network.id, f"/options/{position}")
    leaving = (intent.rollouts[name].spec for name in sorted(intent.rollouts_of(network.name)))
    for rollout in leaving:
        layout = intent.option_schemas[rollout.schema].spec.layout
        if rollout.schema not in spec.options and is_critical(layout.option_type):
            yield Demand(Need.CRITICAL, network.id, "/options")


def demands_of_policy(intent: Intent, policy: Object[PolicySpec], group: str | None) -> Iterator[Demand]:
    """Yield what a policy between groups needs where a port of a group of its network is."""
    spec = policy.spec
    if group is None:
        return
    if spec.to_group == group:
        yield Demand(Need.GROUP_POLICIES, policy.id, "/to/group")
        if spec.log:
            yield Demand(Need.REFUSAL_LOG, policy.id, "/log")
    if spec.from_group == group:
        yield Demand(Need.SENDER_GROUP, policy.id, "/from/group")
    asks = spec.from_group in (None, group)
    if spec.stateful and (spec.to_group == group or (asks and intent.policies_to_group(spec.network, group))):
        # Where the group that asks is protected itself, it has to be remembered what the answers answer.
        yield Demand(Need.CONNECTIONS, policy.id, "/stateful")


def demands_of_option_policy(policy: Object[OptionPolicySpec], port: Object[PortSpec]) -> Iterator[Demand]:
    """Yield what an option policy needs where a port of its network is."""
    spec = policy.spec
    if spec.match:
        yield Demand(Need.SENDER_OPTIONS, policy.id, "/match")
    if spec.from_group is not None:
        yield Demand(Need.SENDER_GROUP, policy.id, "/from/group")
    if _is_carried_out_at(spec, port):
        if spec.direction is Direction.EGRESS:
            yield Demand(Need.SENDER_POLICIES, policy.id, "/direction")
        for position, action in enumerate(spec.actions):
            yield Demand(_need_of(action), policy.id, f"/actions/{position}")
        if spec.direction is Direction.INGRESS and spec.action is not None:
            yield Demand(Need.VERDICTS, policy.id, "/action")
        if spec.packet.dscp is not None or not {None, IPV4, IPV6}.issuperset(ethertypes_of(spec)):
            yield Demand(Need.HEADERS, policy.id, "/match")
    for position, action in enumerate(spec.actions):
        if port.name in ports_named((action,)):
            yield Demand(Need.DIRECT, policy.id, f"/actions/{position}")


def _is_carried_out_at(policy: OptionPolicySpec, port: Object[PortSpec]) -> bool:
    if policy.direction is Direction.EGRESS:
        named, group = policy.from_port, policy.from_group
    else:
        named, group = policy.to_port, policy.to_group
    return named in (None, port.name) and group in (None, port.spec.group)


def _need_of(action: RuleAction) -> Need:
    match action:
        case Mirror():
            return Need.MIRROR
        case Steer():
            return Need.STEER
        case SetQueue():
            return Need.QUEUE
        case _:
            return Need.ACTIONS


def _without(missing: tuple[str, ...], tunnels: TunnelStyle) -> dict[Need, str]:
    """Return what modules that a kernel has not keep a host from."""
    found = dict[Need, str]()
    for need, wanted in ((Need.ETHERNET, MODULES[tunnels]), (Need.IP, MODULES_OF_IP)):
        absent = sorted(set(wanted) & set(missing))
        if absent:
            found[need] = f"its kernel has no {', '.join(absent)}"
    return found
