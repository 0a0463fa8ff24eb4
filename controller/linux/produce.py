# SPDX-License-Identifier: Apache-2.0
"""What a part of a Linux host is. Pure: it depends on the situation alone."""

from __future__ import annotations

from collections.abc import Iterator

from controller.intent.model import HostSpec, Object, Payload, PortSpec, TunnelStyle
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
from controller.linux.layout import DEVICE_MTU, TUNNEL_DEVICE, alias_of, fixed_tunnel_of, tunnel_port_of
from controller.linux.part import LinuxPart, Part, PartKind, Problem
from controller.linux.views import LinuxNetwork, LinuxViews, LocalPort, reaches
from ovs_geneve.kernel.objects import Fdb, Filter, GeneveLink, KernelState, Link
from ovs_geneve.values import mac_text


def produce(host: str, part: Part, views: LinuxViews) -> LinuxPart | None:
    """Compile a part; None where there is none of this name on this host."""
    situation = views.situation
    if not situation.is_asked_for(host):
        return None
    own = situation.intent.hosts[host]
    match part.kind:
        case PartKind.HOST:
            return _host(own, situation.tunnel_port)
        case PartKind.PEER:
            return _peer(own, situation.intent.hosts.get(part.name))
        case PartKind.NETWORK if part.name in situation.seats.networks_on(host):
            return LinuxPart(state=_shape(own, views.network(host, part.name), views))
        case PartKind.PORT:
            return _port(own, part.name, views)
    return None


def _host(own: Object[HostSpec], tunnel_port: int) -> LinuxPart:
    if own.spec.tunnels is TunnelStyle.FIXED:
        return LinuxPart(state=KernelState())
    kind = GeneveLink(dst_port=tunnel_port, udp6_zero_csum_rx=own.spec.tunables.udp6_zero_csum)
    device = Link(name=TUNNEL_DEVICE, kind=kind, alias=alias_of("tunnels"), mtu=DEVICE_MTU)
    state = KernelState(
        links=frozenset([device]),
        settings=frozenset(ethernet.settings(device)),
        filters=frozenset(receiving.host_filters(own.spec.endpoints)),
    )
    return LinuxPart(state=state, problems=tuple(_problems_of(own)))


def _problems_of(own: Object[HostSpec]) -> Iterator[Problem]:
    for name, value in (("ttl", own.spec.tunables.ttl), ("tos", own.spec.tunables.tos)):
        if value == "inherit":
            reason = f"{name}: filters that choose the tunnel inherit nothing; the default is used"
            yield Problem(subject=own.id, reason=reason)


def _peer(own: Object[HostSpec], peer: Object[HostSpec] | None) -> LinuxPart | None:
    if peer is None or peer.name == own.name or own.spec.tunnels is TunnelStyle.FIXED:
        return None
    return LinuxPart(state=KernelState(filters=frozenset(receiving.peer_filters(peer))))


def _shape(own: Object[HostSpec], network: LinuxNetwork, views: LinuxViews) -> KernelState:
    if network.payload is Payload.IP:
        return routed.shape(network)
    filters = set(ethernet.host_kept_out(network))
    if own.spec.tunnels is TunnelStyle.FIXED:
        outside = tuple(fixed.links(network))
    else:
        outside = (ethernet.tunnel_port(network),)
        filters.update(sending.ends(network))
        filters.update(receiving.network_filters(network, sorted(_groups_named(network, views))))
    links = (ethernet.bridge(network), *outside)
    return KernelState(
        links=frozenset(links),
        settings=frozenset(one for link in links for one in ethernet.settings(link)),
        filters=frozenset(filters),
    )


def _groups_named(network: LinuxNetwork, views: LinuxViews) -> frozenset[int]:
    """Return the groups of senders of which policies about ports of this host speak."""
    here = {port.group for port in network.local.values()}
    intent = views.situation.intent
    rules = (rule for group in here for rule in groups.rules_towards(intent, network.name, group))
    return groups.identities_named(rules)


def _port(own: Object[HostSpec], name: str, views: LinuxViews) -> LinuxPart | None:
    situation = views.situation
    seat = situation.seats.of(name)
    if seat is None or seat.network not in situation.seats.networks_on(own.name):
        return None
    port = situation.intent.ports[name]
    if seat.host != own.name:
        state = _elsewhere(own, port, situation.intent.hosts[seat.host], views)
        return None if state is None else LinuxPart(state=state)
    network = views.network(own.name, seat.network)
    if name in network.refused:
        problem = Problem(subject=port.id, reason=network.refused[name])
        return LinuxPart(state=KernelState(), problems=(problem,))
    local = network.local.get(name)
    return None if local is None else LinuxPart(state=_here(own, network, local, views))


def _elsewhere(
    own: Object[HostSpec], port: Object[PortSpec], host: Object[HostSpec], views: LinuxViews
) -> KernelState | None:
    situation = views.situation
    payload = situation.intent.networks[port.spec.network].spec.payload
    if reaches(own, host, payload) is None:
        return None
    view = situation.port(port.name)
    if payload is Payload.IP:
        return routed.elsewhere(views.network(own.name, port.spec.network), host.key, view)
    vni = situation.network(port.spec.network).vni
    if own.spec.tunnels is TunnelStyle.FIXED:
        device, filters = fixed_tunnel_of(vni, host.key), frozenset[Filter]()
    else:
        device, filters = tunnel_port_of(vni), frozenset([sending.towards(vni, host.key, view)])
    return KernelState(
        fdb=frozenset([Fdb(device=device, mac=mac_text(view.mac))]),
        neighbours=frozenset(ethernet.neighbours(vni, view)),
        filters=filters,
    )


def _here(own: Object[HostSpec], network: LinuxNetwork, port: LocalPort, views: LinuxViews) -> KernelState:
    if network.payload is Payload.IP:
        return routed.here(network, port)
    filters = set(antispoof.filters(port))
    if own.spec.tunnels is not TunnelStyle.FIXED:
        intent = views.situation.intent
        by_group = groups.rules_towards(intent, network.name, port.group)
        by_option = option_rules.rules_at(intent, intent.ports[port.name], network.view)
        filters.update(sending.filters_from(network, port))
        filters.update(entering.filters(network, port, by_group, by_option))
    return KernelState(
        attachments=frozenset([ethernet.attachment(network, port)]),
        fdb=frozenset([Fdb(device=port.interface, mac=mac_text(port.view.mac))]),
        neighbours=frozenset(ethernet.neighbours(network.view.vni, port.view)),
        filters=frozenset(filters),
    )
