# SPDX-License-Identifier: Apache-2.0
"""What a part of a Linux host is. Pure: it depends on the situation alone."""

from __future__ import annotations

from collections.abc import Iterator

from controller.intent.model import HostSpec, Object, TunnelStyle
from controller.linux import antispoof, ethernet, groups, receiving, sending
from controller.linux.layout import DEVICE_MTU, TUNNEL_DEVICE, alias_of
from controller.linux.part import LinuxPart, Problem
from controller.linux.situation import LinuxSituation
from controller.linux.views import LinuxNetwork, linux_network
from ovs_geneve.kernel.objects import Filter, GeneveLink, KernelState, Link


def host_part_of(host: str, situation: LinuxSituation) -> LinuxPart:
    """Compile what a Linux host has whatever networks are on it."""
    own = situation.intent.hosts[host]
    if own.spec.tunnels is TunnelStyle.FIXED:
        return LinuxPart(state=KernelState())
    peers = [one for one in situation.intent.hosts.values() if one.name != host]
    state = KernelState(
        links=frozenset([_tunnel_device(own)]),
        settings=frozenset(ethernet.settings(TUNNEL_DEVICE)),
        filters=frozenset(receiving.host_filters(own.spec.endpoints, peers)),
    )
    return LinuxPart(state=state, problems=tuple(_problems_of(own)))


def network_part_of(host: str, network: str, situation: LinuxSituation) -> LinuxPart:
    """Compile what a Linux host has of a network that has ports on it."""
    view, problems = linux_network(host, network, situation)
    return LinuxPart(state=_metadata(view, situation), problems=problems)


def _tunnel_device(own: Object[HostSpec]) -> Link:
    kind = GeneveLink(udp6_zero_csum_rx=own.spec.tunables.udp6_zero_csum)
    return Link(name=TUNNEL_DEVICE, kind=kind, alias=alias_of("tunnels"), mtu=DEVICE_MTU)


def _problems_of(own: Object[HostSpec]) -> Iterator[Problem]:
    for name, value in (("ttl", own.spec.tunables.ttl), ("tos", own.spec.tunables.tos)):
        if value == "inherit":
            reason = f"{name}: filters that choose the tunnel inherit nothing; the default is used"
            yield Problem(subject=own.id, reason=reason)


def _metadata(network: LinuxNetwork, situation: LinuxSituation) -> KernelState:
    links = frozenset(ethernet.links(network))
    return KernelState(
        links=links,
        attachments=frozenset(ethernet.attachments(network)),
        settings=frozenset(one for link in links for one in ethernet.settings(link.name)),
        fdb=frozenset(ethernet.forwarding(network)),
        neighbours=frozenset(ethernet.neighbours(network)),
        filters=frozenset(_metadata_filters(network, situation)),
    )


def _metadata_filters(network: LinuxNetwork, situation: LinuxSituation) -> Iterator[Filter]:
    towards = {
        group: groups.rules_towards(situation.intent, network.name, group)
        for group in {port.group for port in network.local}
    }
    named = groups.identities_named(rule for rules in towards.values() for rule in rules)
    yield from ethernet.host_kept_out(network)
    yield from sending.filters(network)
    yield from receiving.network_filters(network, sorted(named))
    for port in network.local:
        yield from antispoof.filters(port)
        yield from groups.filters(port, towards[port.group])
