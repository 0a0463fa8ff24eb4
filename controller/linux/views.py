# SPDX-License-Identifier: Apache-2.0
"""What features of Linux hosts see: one network as it is on one host, with references followed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controller.compiler.situation import reachable
from controller.compiler.views import NetworkView, PortView
from controller.intent.identity import LAYOUT
from controller.intent.model import Address, HostKind, HostSpec, Object, Payload, Tunables
from controller.linux.layout import DEVICE_MTU, ipv4_text, ipv6_text
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxNetwork:
    """A network on a Linux host."""

    name: str
    view: NetworkView
    payload: Payload
    udp_port: int
    "Of its tunnels."
    tunables: Tunables
    local: Mapping[str, LocalPort]
    "By name."
    refused: Mapping[str, str]
    "Why ports of this host are left out, by name."
    remote: Mapping[str, RemoteHost]
    "By name, in the order of keys: one more changes nothing before it."
    mtu: int
    interface_mtu: int | None
    "None leaves interfaces as they are."


class LinuxViews:
    """The networks of Linux hosts in one situation, each resolved once."""

    def __init__(self, situation: LinuxSituation) -> None:
        self.situation = situation
        self._networks: dict[tuple[str, str], LinuxNetwork] = {}

    def network(self, host: str, name: str) -> LinuxNetwork:
        """Return a network of a Linux host; ports that can not be served as asked are left out and named."""
        known = self._networks.get((host, name))
        if known is None:
            known = self._networks[host, name] = _network(host, name, self.situation)
        return known


def reaches(own: Object[HostSpec], other: Object[HostSpec], payload: Payload) -> Address | None:
    """Return the endpoint to which a Linux host sends what is for another host; None when it can not."""
    if payload is Payload.IP and other.spec.kind is HostKind.OVS:
        return None
    return reachable(other.spec.endpoints, frozenset(one.version for one in own.spec.endpoints))


def addresses_of(port: PortView) -> Iterator[str]:
    """Yield the addresses of a port, the one for neighbour discovery among them."""
    yield from map(ipv4_text, port.ipv4)
    yield from map(ipv6_text, port.ipv6)


def own_endpoint(endpoints: tuple[Address, ...], towards: Address) -> Address:
    """Return the own endpoint from which another is sent to."""
    return next(one for one in endpoints if one.version == towards.version)


def _network(host: str, name: str, situation: LinuxSituation) -> LinuxNetwork:
    own = situation.intent.hosts[host]
    mtu = situation.mtu(name)
    payload = situation.intent.networks[name].spec.payload
    refused = dict[str, str]()
    return LinuxNetwork(
        name=name,
        view=situation.network(name),
        payload=payload,
        udp_port=situation.udp_port(name),
        tunables=own.spec.tunables,
        local={port.name: port for port in _local_ports(own, name, situation, refused)},
        refused=refused,
        remote=dict(_remote_hosts(own, name, payload, situation)),
        mtu=DEVICE_MTU if mtu is None else mtu,
        interface_mtu=mtu,
    )


def _local_ports(
    host: Object[HostSpec], network: str, situation: LinuxSituation, refused: dict[str, str]
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
            refused[name] = refusal
        elif interface is not None:
            seen = situation.port(name)
            yield LocalPort(
                name=name, interface=interface, group=port.spec.group, view=seen, options=_options(view, seen)
            )


def _remote_hosts(
    own: Object[HostSpec], network: str, payload: Payload, situation: LinuxSituation
) -> Iterator[tuple[str, RemoteHost]]:
    hosts = (situation.intent.hosts[name] for name in situation.seats.hosts_of(network) if name != own.name)
    for host in sorted(hosts, key=lambda one: one.key):
        endpoint = reaches(own, host, payload)
        if endpoint is not None:
            yield (
                host.name,
                RemoteHost(
                    key=host.key,
                    source=own_endpoint(own.spec.endpoints, endpoint),
                    endpoint=endpoint,
                    arrives_from=_other_way(own.spec.endpoints, host.spec.endpoints, endpoint),
                ),
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
