# SPDX-License-Identifier: Apache-2.0
"""What networks carry, and which hosts have to be told when that changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.intent.intent import Intent
from controller.intent.model import Change, Kind, RolloutSpec
from controller.intent.mtu import Underlay, network_fit


class Mtus:
    """The MTUs of networks, ports and interfaces."""

    def __init__(self) -> None:
        self._underlay = Underlay()
        self._intent = Intent()

    def follow(self, intent: Intent, changes: Iterable[Change]) -> frozenset[str]:
        """Take the next intent; return the hosts on which an interface may have to carry something else."""
        changes = tuple(changes)
        before, before_underlay = self._intent, self._underlay
        self._intent = intent
        if any(change.kind is Kind.HOST for change in changes):
            self._underlay = Underlay.of(intent.hosts.values())
        if self._underlay != before_underlay:
            return frozenset(intent.hosts)
        hosts = {host for change in changes for host in _hosts_of_port(change, before, intent)}
        for network in {name for change in changes for name in _networks(change)}:
            if network in before.networks and _mtu(before, network, before_underlay) != self.network(network):
                hosts |= {
                    host for port in intent.ports_of(network) if (host := intent.host_of(port)) is not None
                }
        return frozenset(hosts)

    def network(self, name: str) -> int | None:
        """Return what a network carries; None while no host is declared, or there is no such network."""
        return _mtu(self._intent, name, self._underlay)

    def interface(self, interface_id: str) -> int | None:
        """Return what an interface with this iface-id is to carry; None when it is no port of ours.

        Also None while a host leaves open what its underlay carries: no interface is made narrower on an assumption.
        """
        if not self._underlay.is_declared:
            return None
        port = self._intent.port_by_interface_id(interface_id)
        return None if port is None else self.network(self._intent.ports[port].spec.network)


def _mtu(intent: Intent, network: str, underlay: Underlay) -> int | None:
    found = network_fit(intent, network, underlay) if network in intent.networks else None
    return None if found is None else found.mtu


def _hosts_of_port(change: Change, before: Intent, after: Intent) -> Iterator[str]:
    if change.kind is Kind.PORT and (change.old is None or change.new is None):
        yield from (host for intent in (before, after) if (host := intent.host_of(change.name)) is not None)


def _networks(change: Change) -> Iterator[str]:
    if change.kind is Kind.NETWORK:
        yield change.name
    for one in (change.old, change.new):
        if one is not None and isinstance(one.spec, RolloutSpec):
            yield one.spec.network
