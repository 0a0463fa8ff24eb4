# SPDX-License-Identifier: Apache-2.0
"""A part is the smallest thing that is compiled anew; `produce` says what it puts into which layer.

Pure: what a part produces depends on the situation alone, so that compiling one part again and compiling
everything give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from controller.compiler import port_flows
from controller.compiler.buckets import EncodedBucket, seal_group, to_host, to_port
from controller.compiler.cookies import Feature
from controller.compiler.features import (
    arrival,
    direct,
    flood,
    groups,
    gwlb,
    option_firewall,
    pipeline_base,
    policy,
    probes,
    service,
    tunnel,
)
from controller.compiler.fragments import (
    FABRIC,
    Fragment,
    FragmentId,
    Layer,
    LayerKind,
    shared_layer,
)
from controller.compiler.group_views import group_policy_view, group_view
from controller.compiler.groups import GroupPurpose
from controller.compiler.policy_defaults import network_defaults, port_defaults, selected_port
from controller.compiler.policy_views import hop_view, policy_view
from controller.compiler.seats import Seat, Seats
from controller.compiler.stencil import seal_flows
from controller.compiler.views import (
    NetworkView,
    group_of,
    network_view,
    option_field,
    port_view,
    slot_of,
    slots_salt,
    tlv_map,
)
from controller.intent.checks.targets import slots_in_order
from controller.intent.intent import Intent
from controller.intent.model import (
    Address,
    Change,
    Kind,
    NetworkSpec,
    Object,
    OptionSchemaSpec,
    PortSpec,
)
from ovs_geneve.openflow.bundle import Block
from ovs_geneve.values import Vni


class PartKind(StrEnum):
    """The kinds of part."""

    PIPELINE = "pipeline"
    PROBES = "what becomes of probes"
    HOST = "host"
    NETWORK = "network"
    REMOTE_GROUP = "copies to the other hosts of a network, on one host"
    LOCAL_GROUP = "copies to the ports of a network, on one host"
    PORT = "port"
    LOCAL = "what only the host of a port has"
    POLICY = "policy"
    TARGET = "target of a gateway load balancer"
    FIREWALL = "options that a network does not carry"
    "Of all networks where it has no name."
    GROUP_POLICY = "policy between groups"
    PORT_GROUP = "what a group of ports has in a network beside its policies"


class Part(NamedTuple):
    """Names a part."""

    kind: PartKind
    name: str = ""
    host: str = ""
    "For groups of OpenFlow."
    group: str = ""
    "For PORT_GROUP; nothing is anybody in the network."


@dataclass(slots=True)
class Situation:
    """All that parts depend on. What is derived here is kept until something it comes from changes."""

    intent: Intent = field(default_factory=Intent)
    seats: Seats = field(default_factory=Seats)
    ofports: dict[str, Mapping[str, int]] = field(default_factory=dict)
    "By host, then external_ids:iface-id."
    served: frozenset[str] | None = None
    "The hosts that are ours to program; None is all of them."
    _networks: dict[str, NetworkView] = field(default_factory=dict)
    _endpoints: dict[str, tuple[Address, ...]] = field(default_factory=dict)
    _buckets: dict[tuple[str, frozenset[int]], EncodedBucket | None] = field(default_factory=dict)
    _families: dict[str, frozenset[int]] = field(default_factory=dict)
    _remote_layers: dict[str, frozenset[Layer]] = field(default_factory=dict)

    def move_on(self, intent: Intent, changes: Iterable[Change]) -> None:
        """Take the next intent."""
        self.intent = intent
        kinds = {change.kind for change in changes}
        if not kinds.isdisjoint((Kind.NETWORK, Kind.OPTION_SCHEMA, Kind.ROLLOUT)):
            self._networks.clear()
        if Kind.HOST in kinds:
            self._families.clear()
            self._endpoints.clear()
            self._buckets.clear()
            self._remote_layers.clear()

    def serve(self, hosts: frozenset[str] | None) -> None:
        """Program these hosts from now on."""
        self.served = hosts
        self._remote_layers.clear()

    def moved(self, networks: Iterable[str]) -> None:
        """Take note that ports of these networks have other seats."""
        for network in networks:
            self._remote_layers.pop(network, None)

    def serves(self, host: str) -> bool:
        """Tell whether a host is ours to program."""
        return self.served is None or host in self.served

    def served_hosts_of(self, network: str) -> Set[str]:
        """Return the hosts of a network that are ours to program."""
        hosts = self.seats.hosts_of(network).keys()
        return hosts if self.served is None else hosts & self.served

    def network(self, name: str) -> NetworkView:
        """Return a network, resolved."""
        view = self._networks.get(name)
        if view is None:
            view = self._networks[name] = network_view(self.intent, self.intent.networks[name])
        return view

    def families(self, host: str) -> frozenset[int]:
        """Return the IP versions of a host's tunnel endpoints."""
        families = self._families.get(host)
        if families is None:
            families = frozenset(address.version for address in self.endpoints(host))
            self._families[host] = families
        return families

    def endpoints(self, host: str) -> tuple[Address, ...]:
        """Return a host's tunnel endpoints, none when it is not declared."""
        endpoints = self._endpoints.get(host)
        if endpoints is None:
            declared = self.intent.hosts.get(host)
            endpoints = self._endpoints[host] = () if declared is None else declared.spec.endpoints
        return endpoints

    def bucket_to(self, host: str, families: frozenset[int]) -> EncodedBucket | None:
        """Return what sends a copy to a host from hosts with these families; None when they cannot reach it."""
        if (host, families) not in self._buckets:
            endpoint = _reachable(self.endpoints(host), families)
            key = self.intent.hosts[host].key
            self._buckets[host, families] = None if endpoint is None else to_host(key, endpoint)
        return self._buckets[host, families]

    def remote_layers(self, network: str) -> frozenset[Layer]:
        """Return the layers of ways to elsewhere that a network's hosts need."""
        layers = self._remote_layers.get(network)
        if layers is None:
            families = {self.families(host) for host in self.served_hosts_of(network)}
            layers = frozenset(shared_layer(LayerKind.REMOTE, network, one) for one in families)
            self._remote_layers[network] = layers
        return layers

    def memberships_of(self, host: str) -> frozenset[Layer]:
        """Return the networks that a host is in, with its families, whoever programs it."""
        if host not in self.intent.hosts:
            return frozenset()
        families = self.families(host)
        networks = self.seats.networks_on(host)
        return frozenset([shared_layer(LayerKind.REMOTE, network, families) for network in networks])

    def layers_of(self, host: str) -> frozenset[Layer]:
        """Return the layers that make up a host; none when it is not ours to program."""
        if host not in self.intent.hosts or not self.serves(host):
            return frozenset()
        networks = [shared_layer(LayerKind.NETWORK, name) for name in self.seats.networks_on(host)]
        here = shared_layer(LayerKind.HOST, host)
        return frozenset((FABRIC, here, *networks, *self.memberships_of(host)))


Placed = tuple[Layer, Fragment]


def produce(part: Part, situation: Situation) -> Iterator[Placed]:
    """Yield what a part contributes, nothing if its object is gone."""
    return _PRODUCERS[part.kind](part, situation)


def _pipeline(part: Part, situation: Situation) -> Iterator[Placed]:
    block = seal_flows(pipeline_base.flows(), Feature.PIPELINE, 0)
    yield FABRIC, Fragment(FragmentId(Feature.PIPELINE, ""), block)


def _probes(part: Part, situation: Situation) -> Iterator[Placed]:
    maps = sorted(tlv_map(situation.intent))
    salt = b"".join(b"%d=%d/%d/%d;" % (m.index, m.option_class, m.option_type, m.length) for m in maps)
    block = seal_flows(probes.flows(maps), Feature.PIPELINE, 0, salt)
    yield FABRIC, Fragment(FragmentId(Feature.PIPELINE, "probes"), block)


def _host(part: Part, situation: Situation) -> Iterator[Placed]:
    host = situation.intent.hosts.get(part.name)
    if host is None:
        return
    peer = seal_flows(tunnel.peer_flows(host.spec.endpoints), Feature.PEER, host.key)
    yield FABRIC, Fragment(FragmentId(Feature.PEER, host.name), peer, except_host=host.name)
    if situation.serves(host.name):
        endpoints = host.spec.endpoints
        flows = (*tunnel.own_endpoint_flows(endpoints), *probes.own_endpoint_flows(endpoints))
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
        endpoint = _reachable(situation.endpoints(seat.host), layer.families)
        if endpoint is not None:
            yield layer, Fragment(fragment_id, port_flows.way(view, endpoint), except_host=seat.host)
    if intent.policies_sending_to(port.name):
        yield from _direct(situation, port, seat)
    if situation.serves(seat.host):
        yield from _port_policies(intent, port, network, shared_layer(LayerKind.HOST, seat.host))


def _direct(situation: Situation, port: Object[PortSpec], seat: Seat) -> Iterator[Placed]:
    """Yield how a port is reached that packets are mirrored to or steered through."""
    fragment_id = FragmentId(Feature.DIRECT, port.name)
    for layer in situation.remote_layers(seat.network):
        endpoint = _reachable(situation.endpoints(seat.host), layer.families)
        if endpoint is not None:
            way = seal_flows((direct.way_flow(port.key, endpoint),), Feature.DIRECT, port.key)
            yield layer, Fragment(fragment_id, way, except_host=seat.host)
    if situation.serves(seat.host):
        block = seal_flows(direct.flows_at_home(port.key), Feature.DIRECT, port.key)
        yield shared_layer(LayerKind.HOST, seat.host), Fragment(fragment_id, block)


def _port_policies(
    intent: Intent, port: Object[PortSpec], network: NetworkView, here: Layer
) -> Iterator[Placed]:
    """Yield what the host of a port has because policies name it: the rest refused, what it passes on."""
    defaults = seal_flows(port_defaults(intent, port, network), Feature.POLICY_DEFAULT, port.key)
    if defaults.ends:
        yield here, Fragment(FragmentId(Feature.POLICY_DEFAULT, port.name), defaults)
    hop = hop_view(intent, port, network)
    if hop is not None:
        block = seal_flows(service.flows(hop), Feature.SERVICE, port.key, hop.salt)
        yield here, Fragment(FragmentId(Feature.SERVICE, port.name), block)


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


def _policy(part: Part, situation: Situation) -> Iterator[Placed]:
    intent = situation.intent
    declared = intent.option_policies.get(part.name)
    if declared is None or not situation.served_hosts_of(declared.spec.network):
        return
    layer = shared_layer(LayerKind.NETWORK, declared.spec.network)
    selected = selected_port(declared.spec)
    if selected is not None:
        seat = situation.seats.of(selected)
        if seat is None or not situation.serves(seat.host):
            return
        layer = shared_layer(LayerKind.HOST, seat.host)
    view = policy_view(intent, declared, situation.network(declared.spec.network))
    block = seal_flows(policy.flows(view), Feature.POLICY, declared.key, view.salt)
    yield layer, Fragment(FragmentId(Feature.POLICY, declared.name), block)


def _target(part: Part, situation: Situation) -> Iterator[Placed]:
    network = situation.intent.networks.get(part.name)
    target = None if network is None else network.spec.target
    if network is None or target is None:
        return
    view = situation.network(part.name)
    endpoint, attachment, cookie = slots_in_order(situation.intent, network.spec)
    slots = gwlb.GwlbSlots(endpoint=endpoint, attachment=attachment, cookie=cookie)
    block = seal_flows(
        gwlb.flows(Vni(view.vni), slots, target.gateways), Feature.TARGET, network.key, view.salt
    )
    # What is refused goes to hosts by their ports of a network: these have none of it.
    refused = _refused_options(situation, network)
    for host in target.hosts:
        if situation.serves(host):
            here = shared_layer(LayerKind.HOST, host)
            yield here, Fragment(FragmentId(Feature.TARGET, network.name), block)
            yield here, Fragment(FragmentId(Feature.FIREWALL, network.name), refused)


def _firewall(part: Part, situation: Situation) -> Iterator[Placed]:
    if not part.name:
        schemas = sorted(situation.intent.option_schemas.values(), key=slot_of)
        yield from _option_watch(schemas[:1])
        return
    network = situation.intent.networks.get(part.name)
    if network is None or not situation.served_hosts_of(part.name):
        return
    layer = shared_layer(LayerKind.NETWORK, network.name)
    yield layer, Fragment(FragmentId(Feature.FIREWALL, network.name), _refused_options(situation, network))


def _refused_options(situation: Situation, network: Object[NetworkSpec]) -> Block:
    view = situation.network(network.name)
    carried = {schema.name for schema in view.options}
    schemas = sorted(situation.intent.option_schemas.values(), key=slot_of)
    others = [schema for schema in schemas if schema.name not in carried]
    flows = option_firewall.flows(view.vni, map(option_field, others))
    return seal_flows(flows, Feature.FIREWALL, network.key, slots_salt(others))


def _option_watch(lowest: Sequence[Object[OptionSchemaSpec]]) -> Iterator[Placed]:
    for schema in lowest:
        flows = (option_firewall.watch_flow(option_field(schema)),)
        block = seal_flows(flows, Feature.FIREWALL, 0, slots_salt(lowest))
        yield FABRIC, Fragment(FragmentId(Feature.FIREWALL, ""), block)


def _group_policy(part: Part, situation: Situation) -> Iterator[Placed]:
    declared = situation.intent.policies.get(part.name)
    if declared is None or not situation.served_hosts_of(declared.spec.network):
        return
    view = group_policy_view(situation.intent, declared, situation.network(declared.spec.network))
    block = seal_flows(groups.policy_flows(view), Feature.GROUP_POLICY, declared.key, view.identity.salt)
    layer = shared_layer(LayerKind.NETWORK, declared.spec.network)
    yield layer, Fragment(FragmentId(Feature.GROUP_POLICY, declared.name), block)


def _port_group(part: Part, situation: Situation) -> Iterator[Placed]:
    intent = situation.intent
    if not intent.policies_between(part.name) or not situation.served_hosts_of(part.name):
        return
    view = group_view(intent, part.name, part.group or None, situation.network(part.name))
    if view is not None:
        block = seal_flows(groups.group_flows(view), Feature.PORT_GROUP, view.key, view.identity.salt)
        layer = shared_layer(LayerKind.NETWORK, part.name)
        yield layer, Fragment(FragmentId(Feature.PORT_GROUP, part.group), block)


_PRODUCERS = {
    PartKind.PIPELINE: _pipeline,
    PartKind.PROBES: _probes,
    PartKind.HOST: _host,
    PartKind.NETWORK: _network,
    PartKind.REMOTE_GROUP: _remote_group,
    PartKind.LOCAL_GROUP: _local_group,
    PartKind.PORT: _port,
    PartKind.LOCAL: _local,
    PartKind.POLICY: _policy,
    PartKind.TARGET: _target,
    PartKind.FIREWALL: _firewall,
    PartKind.GROUP_POLICY: _group_policy,
    PartKind.PORT_GROUP: _port_group,
}


def _reachable(endpoints: Iterable[Address], families: frozenset[int]) -> Address | None:
    """Return the preferred endpoint that a host with endpoints of these families can send to."""
    return next((address for address in endpoints if address.version in families), None)
