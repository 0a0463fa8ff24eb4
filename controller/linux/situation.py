# SPDX-License-Identifier: Apache-2.0
"""What parts of Linux hosts are compiled from: the intent, where ports sit, which interface is which. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from controller.compiler.seats import Seat, Seats
from controller.compiler.views import NetworkView, PortView, network_view, port_view
from controller.intent.intent import Intent
from controller.intent.model import Change, HostKind, Kind, Object, Payload, PortSpec
from controller.intent.mtu import Underlay, network_fit
from controller.linux.part import Interfaces
from ovs_geneve.vport import GENEVE_PORT

_NO_INTERFACES: Interfaces = {}

_IP_PORT = 10_000
"So far from the UDP port of all other tunnels is that of tunnels that carry IP as it is."


@dataclass(slots=True)
class LinuxSituation:
    """All that parts depend on. What is derived here is kept until something it comes from changes."""

    tunnel_port: int = GENEVE_PORT
    "UDP port of tunnels, but for those of IP."
    only: str | None = None
    "The one host whose parts are asked for; None for all."
    intent: Intent = field(default_factory=Intent)
    seats: Seats = field(default_factory=Seats)
    interfaces: dict[str, Interfaces] = field(default_factory=dict)
    "By host."
    underlay: Underlay = field(default_factory=Underlay)
    _networks: dict[str, NetworkView] = field(default_factory=dict)
    _ports: dict[str, PortView] = field(default_factory=dict)
    "Of this intent: every host of a network asks for the same."

    def begin(self, intent: Intent) -> None:
        """Take an intent as the first one."""
        self.intent = intent
        self.seats = Seats()
        self.underlay = Underlay.of(intent.hosts.values())
        self._networks.clear()
        self._ports.clear()
        self.seat(intent.bindings)

    def move_on(self, intent: Intent, changes: Iterable[Change]) -> None:
        """Take the next intent."""
        self.intent = intent
        self._ports.clear()
        kinds = {change.kind for change in changes}
        if not kinds.isdisjoint((Kind.NETWORK, Kind.OPTION_SCHEMA, Kind.ROLLOUT)):
            self._networks.clear()
        if Kind.HOST in kinds:
            self.underlay = Underlay.of(intent.hosts.values())

    def seat(self, ports: Iterable[str]) -> Mapping[str, tuple[Seat | None, Seat | None]]:
        """Seat ports where the intent has them now; return where those were and are that moved."""
        moves = {port: self.seats.move(port, self.intent) for port in ports}
        return {port: move for port, move in moves.items() if move[0] != move[1]}

    def is_linux(self, host: str) -> bool:
        """Tell whether this is a host without Open vSwitch."""
        declared = self.intent.hosts.get(host)
        return declared is not None and declared.spec.kind is HostKind.LINUX

    def is_asked_for(self, host: str) -> bool:
        """Tell whether this is a Linux host whose parts are asked for."""
        return self.is_linux(host) and self.only in (None, host)

    @property
    def linux_hosts(self) -> Collection[str]:
        """The Linux hosts whose parts are asked for."""
        linux = self.intent.linux_hosts
        return linux if self.only is None else [self.only] if self.only in linux else ()

    def linux_hosts_of(self, network: str) -> Iterable[str]:
        """Return those that have ports of a network."""
        linux = self.linux_hosts
        return [host for host in self.seats.hosts_of(network) if host in linux]

    def network(self, name: str) -> NetworkView:
        """Return a network, resolved."""
        view = self._networks.get(name)
        if view is None:
            view = self._networks[name] = network_view(self.intent, self.intent.networks[name])
        return view

    def udp_port(self, network: str) -> int:
        """Return the UDP port of a network's tunnels: no two geneve devices of different payload share one."""
        if self.intent.networks[network].spec.payload is Payload.ETHERNET:
            return self.tunnel_port
        return self.tunnel_port + (_IP_PORT if self.tunnel_port + _IP_PORT <= 0xFFFF else -_IP_PORT)

    def port(self, name: str) -> PortView:
        """Return a port, resolved."""
        view = self._ports.get(name)
        if view is None:
            port = self.intent.ports[name]
            view = self._ports[name] = port_view(self.intent, port, self.network(port.spec.network))
        return view

    def mtu(self, network: str) -> int | None:
        """Return what a network carries; None while a host leaves open what its underlay does."""
        if not self.underlay.is_declared:
            return None
        found = network_fit(self.intent, network, self.underlay)
        return None if found is None else found.mtu

    def interface_of(self, host: str, port: Object[PortSpec] | None) -> str | None:
        """Find the interface of a port on a host."""
        if port is None:
            return None
        return self.interfaces.get(host, _NO_INTERFACES).get(port.spec.interface_id or port.name)

    def ports_at(self, host: str) -> Mapping[str, Sequence[str]]:
        """Return the ports of a host by interface."""
        ports = defaultdict[str, list[str]](list)
        for port in self.intent.ports_on(host):
            name = self.interface_of(host, self.intent.ports.get(port))
            if name is not None:
                ports[name].append(port)
        return ports
