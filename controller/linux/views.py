# SPDX-License-Identifier: Apache-2.0
"""What features of Linux hosts see: one network as it is on one host, with references followed. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controller.compiler.situation import reachable
from controller.compiler.views import NetworkView, PortView, port_view
from controller.intent.identity import LAYOUT
from controller.intent.model import Address, HostKind, HostSpec, Object, Payload, Tunables
from controller.linux.layout import DEVICE_MTU, ipv4_text, ipv6_text
from controller.linux.part import Problem
from controller.linux.refusals import refusal_of
from controller.linux.situation import LinuxSituation
from ovs_geneve.kernel.objects import GeneveOption


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPort:
    """A port on this host whose interface is there."""

    name: str
    interface: str
    group: str | None
    view: PortView
    options: tuple[GeneveOption, ...]
    "What its packets carry, in the order on the wire."

    @property
    def identity(self) -> int:
        """What its packets say of its group: 0 without one, and while the network does not carry identities yet."""
        there = any(
            one.option_class == LAYOUT.option_class and one.option_type == LAYOUT.option_type
            for one in self.options
        )
        return self.view.group if there else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteHost:
    """Another host of the network that can be reached."""

    key: int
    source: Address
    "The own endpoint from which it is sent to."
    endpoint: Address
    arrives_from: Address | None
    "From where it sends here, if that is of the other version of IP: each sends to what the other prefers."
    ports: tuple[PortView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxNetwork:
    """A network on a Linux host."""

    name: str
    view: NetworkView
    tunables: Tunables
    local: tuple[LocalPort, ...]
    remote: tuple[RemoteHost, ...]
    "By key: one more changes nothing before it."
    mtu: int
    interface_mtu: int | None
    "None leaves interfaces as they are."


def linux_network(
    host: str, name: str, situation: LinuxSituation
) -> tuple[LinuxNetwork, tuple[Problem, ...]]:
    """Resolve a network of a Linux host; ports that can not be served as asked are left out and named."""
    intent = situation.intent
    own = intent.hosts[host]
    mtu = situation.mtu(name)
    problems = list[Problem]()
    network = LinuxNetwork(
        name=name,
        view=situation.network(name),
        tunables=own.spec.tunables,
        local=tuple(_local_ports(own, name, situation, problems)),
        remote=tuple(_remote_hosts(own, name, situation)),
        mtu=DEVICE_MTU if mtu is None else mtu,
        interface_mtu=mtu,
    )
    return network, tuple(problems)


def addresses_of(port: PortView) -> Iterator[str]:
    """Yield the addresses of a port, the one for neighbour discovery among them."""
    yield from map(ipv4_text, port.ipv4)
    yield from map(ipv6_text, port.ipv6)


def own_endpoint(endpoints: tuple[Address, ...], towards: Address) -> Address:
    """Return the own endpoint from which another is sent to."""
    return next(one for one in endpoints if one.version == towards.version)


def _local_ports(
    host: Object[HostSpec], network: str, situation: LinuxSituation, problems: list[Problem]
) -> Iterator[LocalPort]:
    intent, view = situation.intent, situation.network(network)
    at = situation.ports_at(host.name)
    for name in sorted(situation.seats.hosts_of(network)[host.name]):
        port = intent.ports[name]
        interface = situation.interface_of(host.name, port)
        refusal = refusal_of(intent, host, port)
        if refusal is None and interface is not None and len(at[interface]) > 1:
            others = ", ".join(f"port/{other}" for other in sorted(at[interface]) if other != name)
            refusal = f"its interface {interface} is that of {others} as well"
        if refusal is not None:
            problems.append(Problem(subject=port.id, reason=refusal))
        elif interface is not None:
            seen = port_view(intent, port, view)
            yield LocalPort(
                name=name, interface=interface, group=port.spec.group, view=seen, options=_options(view, seen)
            )


def _remote_hosts(own: Object[HostSpec], network: str, situation: LinuxSituation) -> Iterator[RemoteHost]:
    intent, view = situation.intent, situation.network(network)
    families = frozenset(one.version for one in own.spec.endpoints)
    only_linux = intent.networks[network].spec.payload is Payload.IP
    seats = situation.seats.hosts_of(network)
    for host in sorted((intent.hosts[name] for name in seats if name != own.name), key=lambda one: one.key):
        endpoint = reachable(host.spec.endpoints, families)
        if endpoint is not None and not (only_linux and host.spec.kind is HostKind.OVS):
            yield RemoteHost(
                key=host.key,
                source=own_endpoint(own.spec.endpoints, endpoint),
                endpoint=endpoint,
                arrives_from=_other_way(own.spec.endpoints, host.spec.endpoints, endpoint),
                ports=tuple(port_view(intent, intent.ports[port], view) for port in sorted(seats[host.name])),
            )


def _other_way(own: tuple[Address, ...], remote: tuple[Address, ...], endpoint: Address) -> Address | None:
    """Return from where a host sends here if it is not from where it is sent to: each takes what the other prefers."""
    here = reachable(own, frozenset(one.version for one in remote))
    if here is None or here.version == endpoint.version:
        return None
    return own_endpoint(remote, here)


def _options(network: NetworkView, port: PortView) -> tuple[GeneveOption, ...]:
    return tuple(
        GeneveOption(
            option_class=schema.spec.layout.option_class,
            option_type=schema.spec.layout.option_type,
            data=value.to_bytes(schema.spec.layout.length).hex(),
        )
        for schema, (_, value) in zip(network.stamped, port.stamps, strict=True)
    )
