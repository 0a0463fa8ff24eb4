# SPDX-License-Identifier: Apache-2.0
"""A part is the smallest thing that is compiled anew; `produce` says what it puts into which layer.

Pure: what a part produces depends on the situation alone, so that compiling one part again and compiling
everything give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.compiler import port_flows, rule_parts
from controller.compiler.buckets import seal_group, to_port
from controller.compiler.cookies import Feature
from controller.compiler.features import arrival, direct, flood, pipeline_base, probes, tunnel
from controller.compiler.fragments import (
    FABRIC,
    OAM_ENDS,
    OAM_TAKEN,
    Fragment,
    FragmentId,
    LayerKind,
    shared_layer,
)
from controller.compiler.groups import GroupPurpose
from controller.compiler.part import Part, PartKind, Placed
from controller.compiler.policy_defaults import network_defaults
from controller.compiler.seats import Seat
from controller.compiler.situation import Situation, reachable
from controller.compiler.stencil import seal_flows
from controller.compiler.views import group_of, option_field, port_view, slot_of, slots_salt, tlv_map
from controller.intent.model import Object, PortSpec


def produce(part: Part, situation: Situation) -> Iterator[Placed]:
    """Yield what a part contributes, nothing if its object is gone."""
    return _PRODUCERS[part.kind](part, situation)


def _pipeline(part: Part, situation: Situation) -> Iterator[Placed]:
    block = seal_flows(pipeline_base.flows(), Feature.PIPELINE, 0)
    yield FABRIC, Fragment(FragmentId(Feature.PIPELINE, ""), block)
    oam = seal_flows(pipeline_base.oam_flows(), Feature.PIPELINE, 0)
    yield OAM_ENDS, Fragment(FragmentId(Feature.PIPELINE, "oam"), oam)


def _probes(part: Part, situation: Situation) -> Iterator[Placed]:
    schemas = sorted(situation.intent.option_schemas.values(), key=slot_of)
    maps, salt = sorted(tlv_map(situation.intent)), slots_salt(schemas)
    for layer, known_by in ((OAM_ENDS, probes.O_BIT), (OAM_TAKEN, probes.OWN_VNI)):
        block = seal_flows(probes.flows(maps, known_by), Feature.PIPELINE, 0, salt)
        yield layer, Fragment(FragmentId(Feature.PIPELINE, "probes"), block)


def _host(part: Part, situation: Situation) -> Iterator[Placed]:
    host = situation.intent.hosts.get(part.name)
    if host is None:
        return
    peer = seal_flows(tunnel.peer_flows(host.spec.endpoints), Feature.PEER, host.key)
    yield FABRIC, Fragment(FragmentId(Feature.PEER, host.name), peer, except_host=host.name)
    if situation.serves(host.name):
        endpoints = host.spec.endpoints
        flows = list(tunnel.own_endpoint_flows(endpoints))
        if not host.spec.takes_oam:
            flows += probes.own_endpoint_flows(endpoints)
        own = seal_flows(flows, Feature.TUNNEL, host.key)
        here = shared_layer(LayerKind.HOST, host.name)
        yield here, Fragment(FragmentId(Feature.TUNNEL, host.name), own)


def _network(part: Part, situation: Situation) -> Iterator[Placed]:
    intent = situation.intent
    network = intent.networks.get(part.name)
    if network is None or not situation.served_hosts_of(part.name):
        return
    view = situation.network(part.name)
    layer = shared_layer(LayerKind.NETWORK, network.name)
    flows = seal_flows(flood.flows(view), Feature.FLOOD, network.key)
    yield layer, Fragment(FragmentId(Feature.FLOOD, network.name), flows)
    defaults = seal_flows(
        network_defaults(intent, network, view), Feature.POLICY_DEFAULT, network.key, view.salt
    )
    if defaults.ends:
        yield layer, Fragment(FragmentId(Feature.POLICY_DEFAULT, network.name), defaults)
    arriving = [(slot_of(one), option_field(one)) for one in view.arriving]
    if arriving:
        block = seal_flows(arrival.flows(view.vni, arriving), Feature.ARRIVAL, network.key, view.salt)
        yield layer, Fragment(FragmentId(Feature.ARRIVAL, network.name), block)


def _remote_group(part: Part, situation: Situation) -> Iterator[Placed]:
    network = situation.intent.networks.get(part.name)
    if network is None or part.host not in situation.served_hosts_of(part.name):
        return
    families = situation.families(part.host)
    hosts = sorted(situation.seats.hosts_of(part.name))
    buckets = [situation.bucket_to(host, families) for host in hosts if host != part.host]
    group = seal_group(network.key, GroupPurpose.REMOTE, [bucket for bucket in buckets if bucket is not None])
    fragment_id = FragmentId(Feature.FLOOD, network.name, GroupPurpose.REMOTE)
    yield shared_layer(LayerKind.HOST, part.host), Fragment(fragment_id, groups=(group,))


def _local_group(part: Part, situation: Situation) -> Iterator[Placed]:
    network = situation.intent.networks.get(part.name)
    if network is None or part.host not in situation.served_hosts_of(part.name):
        return
    ports = situation.seats.hosts_of(part.name)[part.host]
    intent = situation.intent
    keys = sorted((intent.ports[port].key, group_of(intent, intent.ports[port].spec)) for port in ports)
    group = seal_group(network.key, GroupPurpose.LOCAL, [to_port(*numbers) for numbers in keys])
    fragment_id = FragmentId(Feature.FLOOD, network.name, GroupPurpose.LOCAL)
    yield shared_layer(LayerKind.HOST, part.host), Fragment(fragment_id, groups=(group,))


def _port(part: Part, situation: Situation) -> Iterator[Placed]:
    intent = situation.intent
    port = intent.ports.get(part.name)
    if port is None or not situation.served_hosts_of(port.spec.network):
        return
    network = situation.network(port.spec.network)
    view = port_view(intent, port, network)
    layer = shared_layer(LayerKind.NETWORK, port.spec.network)
    yield layer, Fragment(FragmentId(Feature.NEIGHBOURS, port.name), port_flows.answers(view))

    seat = situation.seats.of(port.name)
    if seat is None:
        return
    fragment_id = FragmentId(Feature.REMOTE, port.name)
    for layer in situation.remote_layers(seat.network):
        endpoint = reachable(situation.endpoints(seat.host), layer.families)
        if endpoint is not None:
            yield layer, Fragment(fragment_id, port_flows.way(view, endpoint), except_host=seat.host)
    if intent.policies_sending_to(port.name):
        yield from _direct(situation, port, seat)
    if situation.serves(seat.host):
        yield from rule_parts.policies_at(intent, port, network, shared_layer(LayerKind.HOST, seat.host))


def _direct(situation: Situation, port: Object[PortSpec], seat: Seat) -> Iterator[Placed]:
    """Yield how a port is reached that packets are mirrored to or steered through."""
    fragment_id = FragmentId(Feature.DIRECT, port.name)
    for layer in situation.remote_layers(seat.network):
        endpoint = reachable(situation.endpoints(seat.host), layer.families)
        if endpoint is not None:
            way = seal_flows((direct.way_flow(port.key, endpoint),), Feature.DIRECT, port.key)
            yield layer, Fragment(fragment_id, way, except_host=seat.host)
    if situation.serves(seat.host):
        block = seal_flows(direct.flows_at_home(port.key), Feature.DIRECT, port.key)
        yield shared_layer(LayerKind.HOST, seat.host), Fragment(fragment_id, block)


def _local(part: Part, situation: Situation) -> Iterator[Placed]:
    port = situation.intent.ports.get(part.name)
    seat = situation.seats.of(part.name)
    if port is None or seat is None or not situation.serves(seat.host):
        return
    ofport = situation.ofports.get(seat.host, {}).get(port.spec.interface_id or port.name)
    if ofport is not None:
        block = port_flows.local(port_view(situation.intent, port, situation.network(seat.network)), ofport)
        here = shared_layer(LayerKind.HOST, seat.host)
        yield here, Fragment(FragmentId(Feature.LOCAL, port.name), block)


_PRODUCERS = {
    PartKind.PIPELINE: _pipeline,
    PartKind.PROBES: _probes,
    PartKind.HOST: _host,
    PartKind.NETWORK: _network,
    PartKind.REMOTE_GROUP: _remote_group,
    PartKind.LOCAL_GROUP: _local_group,
    PartKind.PORT: _port,
    PartKind.LOCAL: _local,
    PartKind.POLICY: rule_parts.option_policy,
    PartKind.TARGET: rule_parts.gateway_target,
    PartKind.FIREWALL: rule_parts.firewall,
    PartKind.GROUP_POLICY: rule_parts.group_policy,
    PartKind.PORT_GROUP: rule_parts.port_group,
}
