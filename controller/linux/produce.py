# SPDX-License-Identifier: Apache-2.0
"""What a part of a Linux host is. Pure: it depends on the situation alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from controller.intent.intent import Intent
from controller.intent.model import HostSpec, Object, Payload, TunnelStyle
from controller.linux import (
    antispoof,
    entering,
    ethernet,
    fixed,
    groups,
    option_rules,
    receiving,
    routed,
    sending,
)
from controller.linux.layout import DEVICE_MTU, TUNNEL_DEVICE, alias_of
from controller.linux.part import LinuxPart, Problem
from controller.linux.situation import LinuxSituation
from controller.linux.views import LinuxNetwork, linux_network
from ovs_geneve.kernel.objects import Fdb, Filter, GeneveLink, KernelState, Link


def host_part_of(host: str, situation: LinuxSituation) -> LinuxPart:
    """Compile what a Linux host has whatever networks are on it."""
    own = situation.intent.hosts[host]
    if own.spec.tunnels is TunnelStyle.FIXED:
        return LinuxPart(state=KernelState())
    peers = [one for one in situation.intent.hosts.values() if one.name != host]
    device = _tunnel_device(own)
    state = KernelState(
        links=frozenset([device]),
        settings=frozenset(ethernet.settings(device)),
        filters=frozenset(receiving.host_filters(own.spec.endpoints, peers)),
    )
    return LinuxPart(state=state, problems=tuple(_problems_of(own)))


def network_part_of(host: str, network: str, situation: LinuxSituation) -> LinuxPart:
    """Compile what a Linux host has of a network that has ports on it."""
    intent = situation.intent
    view, problems = linux_network(host, network, situation)
    if intent.networks[network].spec.payload is Payload.IP:
        state = routed.state(view)
    elif intent.hosts[host].spec.tunnels is TunnelStyle.FIXED:
        state = _bridged(view, fixed.links(view), fixed.forwarding(view), _own_filters(view))
    else:
        filters = chain(_own_filters(view), _metadata_filters(view, intent))
        state = _bridged(view, (ethernet.tunnel_port(view),), ethernet.forwarding_elsewhere(view), filters)
    return LinuxPart(state=state, problems=problems)


def _tunnel_device(own: Object[HostSpec]) -> Link:
    kind = GeneveLink(udp6_zero_csum_rx=own.spec.tunables.udp6_zero_csum)
    return Link(name=TUNNEL_DEVICE, kind=kind, alias=alias_of("tunnels"), mtu=DEVICE_MTU)


def _problems_of(own: Object[HostSpec]) -> Iterator[Problem]:
    for name, value in (("ttl", own.spec.tunables.ttl), ("tos", own.spec.tunables.tos)):
        if value == "inherit":
            reason = f"{name}: filters that choose the tunnel inherit nothing; the default is used"
            yield Problem(subject=own.id, reason=reason)


def _bridged(
    network: LinuxNetwork, outside: Iterable[Link], elsewhere: Iterable[Fdb], filters: Iterable[Filter]
) -> KernelState:
    links = frozenset((ethernet.bridge(network), *outside))
    return KernelState(
        links=links,
        attachments=frozenset(ethernet.attachments(network)),
        settings=frozenset(one for link in links for one in ethernet.settings(link)),
        fdb=frozenset((*ethernet.forwarding_here(network), *elsewhere)),
        neighbours=frozenset(ethernet.neighbours(network)),
        filters=frozenset(filters),
    )


def _own_filters(network: LinuxNetwork) -> Iterator[Filter]:
    yield from ethernet.host_kept_out(network)
    for port in network.local:
        yield from antispoof.filters(port)


def _metadata_filters(network: LinuxNetwork, intent: Intent) -> Iterator[Filter]:
    groups_here = {port.group for port in network.local}
    rules = {group: groups.rules_towards(intent, network.name, group) for group in groups_here}
    named = groups.identities_named(rule for towards in rules.values() for rule in towards)
    yield from sending.filters(network)
    yield from receiving.network_filters(network, sorted(named))
    for port in network.local:
        by_option = option_rules.rules_at(intent, intent.ports[port.name], network.view)
        yield from entering.filters(network, port, rules[port.group], by_option)
