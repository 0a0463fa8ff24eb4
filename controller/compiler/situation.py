# SPDX-License-Identifier: Apache-2.0
"""What parts are compiled from: the intent, where ports sit, which interface is which, which hosts are ours. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from controller.compiler.buckets import EncodedBucket, to_host
from controller.compiler.fragments import FABRIC, OAM_ENDS, OAM_TAKEN, Layer, LayerKind, shared_layer
from controller.compiler.seats import Seats
from controller.compiler.views import NetworkView, network_view
from controller.intent.intent import Intent
from controller.intent.model import Address, Change, Kind


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
    _linux: frozenset[str] = frozenset()
    "Hosts without bridges of ours: peers, nothing to program here."

    def move_on(self, intent: Intent, changes: Iterable[Change]) -> None:
        """Take the next intent."""
        self.intent = intent
        kinds = {change.kind for change in changes}
        if not kinds.isdisjoint((Kind.NETWORK, Kind.OPTION_SCHEMA, Kind.ROLLOUT)):
            self._networks.clear()
        if Kind.HOST in kinds:
            self._linux = frozenset(intent.linux_hosts)
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
        """Tell whether a host has a bridge that is ours to program."""
        return (self.served is None or host in self.served) and host not in self._linux

    def served_hosts_of(self, network: str) -> Set[str]:
        """Return the hosts of a network whose bridges are ours to program."""
        hosts = self.seats.hosts_of(network).keys()
        ours = hosts if self.served is None else hosts & self.served
        return ours - self._linux if self._linux else ours

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
            endpoint = reachable(self.endpoints(host), families)
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
        receive = OAM_TAKEN if self.intent.hosts[host].spec.takes_oam else OAM_ENDS
        return frozenset((FABRIC, receive, here, *networks, *self.memberships_of(host)))


def reachable(endpoints: Iterable[Address], families: frozenset[int]) -> Address | None:
    """Return the preferred endpoint that a host with endpoints of these families can send to."""
    return next((address for address in endpoints if address.version in families), None)
