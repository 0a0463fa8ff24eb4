# SPDX-License-Identifier: Apache-2.0
"""A part is the smallest thing that is compiled anew; `produce` says what it puts into which layer.

Pure: what a part produces depends on the situation alone, so that compiling one part again and compiling
everything give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from controller.compiler.cookies import Feature
from controller.compiler.features import flood, local_port, neighbours, pipeline_base, policy, tunnel
from controller.compiler.fragments import (
    FABRIC,
    Fragment,
    FragmentId,
    Layer,
    LayerKind,
    seal_flow,
    seal_flows,
    seal_group,
)
from controller.compiler.seats import Seats
from controller.compiler.views import NetworkView, network_view, policy_view, port_view
from controller.intent.intent import Intent
from controller.intent.model import Address, PolicyAction


class PartKind(Enum):
    """The kinds of part."""

    PIPELINE = "pipeline"
    HOST = "host"
    NETWORK = "network"
    GROUPS = "groups of a network on one host"
    PORT = "port"
    POLICY = "policy"


class Part(NamedTuple):
    """Names a part."""

    kind: PartKind
    name: str = ""
    host: str = ""
    "For GROUPS."


@dataclass(slots=True)
class Situation:
    """All that parts depend on."""

    intent: Intent = field(default_factory=Intent)
    seats: Seats = field(default_factory=Seats)
    ofports: dict[str, Mapping[str, int]] = field(default_factory=dict)
    "By host, then external_ids:iface-id."

    def families(self, host: str) -> frozenset[int]:
        """Return the IP versions of a host's tunnel endpoints."""
        return frozenset(address.version for address in self.endpoints(host))

    def endpoints(self, host: str) -> tuple[Address, ...]:
        """Return a host's tunnel endpoints, none when it is not declared."""
        declared = self.intent.hosts.get(host)
        return () if declared is None else declared.spec.endpoints

    def remote_layers(self, network: str) -> frozenset[Layer]:
        """Return the layers of ways to elsewhere that a network's hosts need."""
        hosts = self.seats.hosts_of(network)
        return frozenset(Layer(LayerKind.REMOTE, network, self.families(host)) for host in hosts)

    def layers_of(self, host: str) -> frozenset[Layer]:
        """Return the layers that make up a host."""
        if host not in self.intent.hosts:
            return frozenset()
        families = self.families(host)
        layers = {FABRIC, Layer(LayerKind.HOST, host)}
        for network in self.seats.networks_on(host):
            layers.add(Layer(LayerKind.NETWORK, network))
            layers.add(Layer(LayerKind.REMOTE, network, families))
        return frozenset(layers)


Placed = tuple[Layer, Fragment]


def produce(part: Part, situation: Situation) -> Iterator[Placed]:
    """Yield what a part contributes, nothing if its object is gone."""
    return _PRODUCERS[part.kind](part, situation)


def _pipeline(part: Part, situation: Situation) -> Iterator[Placed]:
    flows = seal_flows(pipeline_base.flows(), Feature.PIPELINE, 0)
    yield FABRIC, Fragment(id=FragmentId(Feature.PIPELINE, ""), flows=flows)


def _host(part: Part, situation: Situation) -> Iterator[Placed]:
    host = situation.intent.hosts.get(part.name)
    if host is None:
        return
    own = seal_flows(tunnel.own_endpoint_flows(host.spec.endpoints), Feature.TUNNEL, host.key)
    yield Layer(LayerKind.HOST, host.name), Fragment(id=FragmentId(Feature.TUNNEL, host.name), flows=own)
    peer = seal_flows(tunnel.peer_flows(host.spec.endpoints), Feature.PEER, host.key)
    yield FABRIC, Fragment(id=FragmentId(Feature.PEER, host.name), flows=peer, except_host=host.name)


def _network(part: Part, situation: Situation) -> Iterator[Placed]:
    intent = situation.intent
    network = intent.networks.get(part.name)
    if network is None:
        return
    view = network_view(intent, network)
    layer = Layer(LayerKind.NETWORK, network.name)
    flows = seal_flows(flood.flows(view), Feature.FLOOD, network.key)
    yield layer, Fragment(id=FragmentId(Feature.FLOOD, network.name), flows=flows)
    unselective = (name for name in intent.policies_of(network.name) if _names_no_port(intent, name))
    if _any_allows(intent, unselective):
        yield layer, _policy_default(view, network.name, network.key, None)


def _groups(part: Part, situation: Situation) -> Iterator[Placed]:
    network = situation.intent.networks.get(part.name)
    hosts = situation.seats.hosts_of(part.name)
    if network is None or part.host not in hosts:
        return
    families = situation.families(part.host)
    others = (_reachable(situation.endpoints(host), families) for host in sorted(hosts) if host != part.host)
    ports = sorted(situation.intent.ports[port].key for port in hosts[part.host])
    entries = flood.groups(network.key, [a for a in others if a is not None], ports)
    fragment_id = FragmentId(Feature.FLOOD, network.name)
    groups = tuple(seal_group(entry) for entry in entries)
    yield Layer(LayerKind.HOST, part.host), Fragment(id=fragment_id, groups=groups)


def _port(part: Part, situation: Situation) -> Iterator[Placed]:
    intent = situation.intent
    port = intent.ports.get(part.name)
    if port is None:
        return
    network = network_view(intent, intent.networks[port.spec.network])
    view = port_view(port, network)
    answers = seal_flows(neighbours.flows(view), Feature.NEIGHBOURS, port.key)
    fragment_id = FragmentId(Feature.NEIGHBOURS, port.name)
    yield Layer(LayerKind.NETWORK, port.spec.network), Fragment(id=fragment_id, flows=answers)

    seat = situation.seats.of(port.name)
    if seat is None:
        return
    for layer in situation.remote_layers(seat.network):
        endpoint = _reachable(situation.endpoints(seat.host), layer.families)
        if endpoint is not None:
            way = seal_flow(tunnel.remote_port_flow(view, endpoint), Feature.REMOTE, port.key)
            fragment_id = FragmentId(Feature.REMOTE, port.name)
            yield layer, Fragment(id=fragment_id, flows=(way,), except_host=seat.host)

    here = Layer(LayerKind.HOST, seat.host)
    if _any_allows(intent, intent.policies_to(port.name)):
        yield here, _policy_default(network, port.name, port.key, port.key)
    ofport = situation.ofports.get(seat.host, {}).get(port.spec.interface_id or port.name)
    if ofport is not None:
        local = seal_flows(local_port.flows(view, ofport), Feature.LOCAL, port.key, view.salt)
        yield here, Fragment(id=FragmentId(Feature.LOCAL, port.name), flows=local)


def _policy(part: Part, situation: Situation) -> Iterator[Placed]:
    intent = situation.intent
    declared = intent.option_policies.get(part.name)
    if declared is None:
        return
    layer = Layer(LayerKind.NETWORK, declared.spec.network)
    if declared.spec.to_port is not None:
        seat = situation.seats.of(declared.spec.to_port)
        if seat is None:
            return
        layer = Layer(LayerKind.HOST, seat.host)
    view = policy_view(intent, declared, network_view(intent, intent.networks[declared.spec.network]))
    flow = seal_flow(policy.flow(view), Feature.POLICY, declared.key, view.salt)
    yield layer, Fragment(id=FragmentId(Feature.POLICY, declared.name), flows=(flow,))


_PRODUCERS = {
    PartKind.PIPELINE: _pipeline,
    PartKind.HOST: _host,
    PartKind.NETWORK: _network,
    PartKind.GROUPS: _groups,
    PartKind.PORT: _port,
    PartKind.POLICY: _policy,
}


def _policy_default(network: NetworkView, name: str, object_key: int, to_port_key: int | None) -> Fragment:
    flow = seal_flow(policy.default_flow(network.vni, to_port_key), Feature.POLICY_DEFAULT, object_key)
    return Fragment(id=FragmentId(Feature.POLICY_DEFAULT, name), flows=(flow,))


def _names_no_port(intent: Intent, policy_name: str) -> bool:
    return intent.option_policies[policy_name].spec.to_port is None


def _any_allows(intent: Intent, policies: Iterable[str]) -> bool:
    return any(intent.option_policies[name].spec.action is PolicyAction.ALLOW for name in policies)


def _reachable(endpoints: Iterable[Address], families: frozenset[int]) -> Address | None:
    """Return the preferred endpoint that a host with endpoints of these families can send to."""
    return next((address for address in endpoints if address.version in families), None)
