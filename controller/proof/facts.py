# SPDX-License-Identifier: Apache-2.0
"""What isolation means for an intent: who is where, who may say what. Pure.

Taken from the intent alone, so that flows are held against what users declared and not against what the compiler made
of it. The same goes for where interfaces are: OVSDB tells it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from controller.intent.intent import Intent
from controller.intent.model import Address, Object, OptionSchemaSpec, PortSpec, link_local
from controller.intent.rules import Copy, FieldName, PacketField, StampFrom, Steer


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFacts:
    """A logical port."""

    name: str
    key: int
    network: str
    mac: int
    ipv4: frozenset[int]
    ipv6: frozenset[int]
    "With its link-local address, where it has any."
    passes_on: bool = False
    "Packets of others are steered through it: it sends what they said."


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """A host, and what is plugged into it."""

    name: str
    endpoints: tuple[Address, ...]
    ports: Mapping[int, PortFacts] = field(default_factory=dict)
    "By OpenFlow port."


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFacts:
    """A virtual network."""

    name: str
    vni: int
    copied: Mapping[PacketField, Mapping[int, int]]
    "Bits of options that policies declare as copies of what packets say: by slot."


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that flows are held against."""

    hosts: Mapping[str, HostFacts]
    networks: Mapping[str, NetworkFacts]
    ports: Mapping[str, PortFacts]
    gateways: frozenset[Address]
    "Of gateway load balancers: what comes from there goes back there."

    def host_at(self, address: Address) -> HostFacts | None:
        """Find the host with a tunnel endpoint."""
        return next((host for host in self.hosts.values() if address in host.endpoints), None)


def facts_of(intent: Intent, ofports: Mapping[str, Mapping[str, int]]) -> Facts:
    """Read an intent; `ofports` are the OpenFlow ports by host, then external_ids:iface-id."""
    passing = {
        port
        for policy in intent.option_policies.values()
        for action in policy.spec.actions
        if isinstance(action, Steer)
        for port in action.ports
    }
    ports = {port.name: _port(port, port.name in passing) for port in intent.ports.values()}
    plugged: dict[str, dict[int, PortFacts]] = defaultdict(dict)
    for host, interfaces in ofports.items():
        for interface, ofport in interfaces.items():
            name = intent.port_by_interface_id(interface)
            if name is not None and intent.host_of(name) == host and ports[name].network in intent.networks:
                plugged[host][ofport] = ports[name]
    return Facts(
        hosts={
            host.name: HostFacts(
                name=host.name, endpoints=host.spec.endpoints, ports=plugged.get(host.name, {})
            )
            for host in intent.hosts.values()
        },
        networks={name: _network(intent, name) for name in intent.networks},
        ports=ports,
        gateways=frozenset(
            gateway
            for network in intent.networks.values()
            if network.spec.target is not None
            for gateway in network.spec.target.gateways
        ),
    )


def _port(port: Object[PortSpec], passes_on: bool) -> PortFacts:
    spec = port.spec
    ipv6 = {int(one) for one in spec.addresses if isinstance(one, IPv6Address)}
    return PortFacts(
        name=port.name,
        key=port.key,
        network=spec.network,
        mac=spec.mac,
        ipv4=frozenset(int(one) for one in spec.addresses if isinstance(one, IPv4Address)),
        ipv6=frozenset(ipv6 | {int(link_local(spec.mac))}) if ipv6 else frozenset(),
        passes_on=passes_on,
    )


def _network(intent: Intent, name: str) -> NetworkFacts:
    copied: dict[PacketField, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    policies = [intent.option_policies[policy].spec for policy in intent.policies_of(name)]
    actions = [action for policy in policies for action in policy.actions]
    for action in actions:
        if isinstance(action, StampFrom):
            _allow(intent, copied[action.source], (action.to,))
    for source in copied.values():
        _allow(intent, source, (action.to for action in actions if isinstance(action, Copy)))
    return NetworkFacts(name=name, vni=intent.networks[name].spec.vni or 0, copied=copied)


def _allow(intent: Intent, bits: dict[int, int], fields: Iterable[FieldName]) -> None:
    for one in fields:
        schema = intent.option_schemas.get(one.schema)
        if schema is not None and schema.spec.slot is not None:
            bits[schema.spec.slot] |= _bits(schema, one.field)


def _bits(schema: Object[OptionSchemaSpec], name: str) -> int:
    _, mask = schema.spec.layout.match_bits(name, 0)
    return mask
