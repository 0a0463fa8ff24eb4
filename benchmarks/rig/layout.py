# SPDX-License-Identifier: Apache-2.0
"""The fabric that benchmarks of the whole controller declare: hosts, networks and where ports sit. Pure.

Networks are dealt to hosts like cards, so that each host has as many as any other and two hosts share few.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass
from ipaddress import IPv4Address
from itertools import count
from random import Random

from controller.intent.model import (
    AnyObject,
    BindingSpec,
    HostSpec,
    Kind,
    NetworkSpec,
    Object,
    ObjectKey,
    OptionSchemaSpec,
    OptionValue,
    PortSpec,
)
from ovs_geneve.geneve.fields import FieldKind, OptionField, OptionLayout
from ovs_geneve.values import option_class, option_type, vni

_SEED = 1
_FIRST_VNI = 10_000
_FIRST_ENDPOINT = int(IPv4Address("172.16.0.1"))
_FIRST_ADDRESS = int(IPv4Address("10.0.0.0"))
_FIRST_MAC = 0x0200_0000_0000
_SCHEMA = "context"

TUNNEL_OFPORT = 6081


@dataclass(frozen=True)
class Layout:
    """A fabric in numbers. Each network has `spread` hosts and one option on its packets."""

    hosts: int
    networks: int
    ports: int
    "In all; as many in each network."
    spread: int
    big: int = 0
    "Networks in which host 0 takes the place of one of the hosts, so that it holds much more than any other."

    def __post_init__(self) -> None:
        if self.hosts % self.spread or self.ports % (self.networks * self.spread):
            raise ValueError("hosts and ports do not divide evenly among networks")

    @property
    def arguments(self) -> tuple[str, ...]:
        """Return what makes an equal layout, for a command line."""
        return tuple(map(str, astuple(self)))

    @property
    def numbers(self) -> dict[str, int]:
        """Return the numbers by name, for a report."""
        return asdict(self)

    @property
    def ports_per_network(self) -> int:
        return self.ports // self.networks

    def seating(self) -> list[list[int]]:
        """Return the hosts of each network."""
        random, deck, dealt = Random(_SEED), list[int](), list[list[int]]()
        while len(dealt) < self.networks:
            if not deck:
                deck = random.sample(range(self.hosts), self.hosts)
            dealt.append(deck[: self.spread])
            del deck[: self.spread]
        for members in dealt[: self.big]:
            if 0 not in members:
                members[-1] = 0
        return dealt

    def objects(self) -> Iterator[AnyObject]:
        """Yield everything declared, and where every port is plugged; nothing refers to what comes later."""
        keys = (ObjectKey(number) for number in count(1))
        yield Object(kind=Kind.OPTION_SCHEMA, name=_SCHEMA, key=next(keys), spec=_schema(), revision=1)
        for number in range(self.hosts):
            host = HostSpec(endpoints=(endpoint_of(number),))
            yield Object(kind=Kind.HOST, name=host_name(number), key=next(keys), spec=host, revision=1)
        for number, members in enumerate(self.seating()):
            value = OptionValue(schema=_SCHEMA, field="tier", value=number % 256)
            network = NetworkSpec(vni=vni(_FIRST_VNI + number), options=(_SCHEMA,), values=(value,))
            yield Object(
                kind=Kind.NETWORK, name=network_name(number), key=next(keys), spec=network, revision=1
            )
            for index in range(self.ports_per_network):
                name, key, port = port_name(number, index), next(keys), self._port(number, index)
                yield Object(kind=Kind.PORT, name=name, key=key, spec=port, revision=1)
                binding = BindingSpec(host=host_name(members[index % self.spread]))
                yield Object(kind=Kind.BINDING, name=name, key=key, spec=binding, revision=1)

    def plugged(self) -> dict[str, dict[str, int]]:
        """Return the OpenFlow port of each interface by host: those of all ports, and a spare one a network."""
        found = dict[str, dict[str, int]]()
        numbers = {host: (n for n in count(1) if n != TUNNEL_OFPORT) for host in range(self.hosts)}
        for number, members in enumerate(self.seating()):
            for index in range(self.ports_per_network):
                host = members[index % self.spread]
                found.setdefault(host_name(host), {})[port_name(number, index)] = next(numbers[host])
            spare = members[number % self.spread]
            found.setdefault(host_name(spare), {})[spare_name(number)] = next(numbers[spare])
        return found

    def spare_document(self, number: int) -> dict[str, object]:
        """Return the document of one more port of a network: its interface is plugged already."""
        spec = self._port(number, self.ports_per_network)
        mac = ":".join(f"{octet:02x}" for octet in spec.mac.to_bytes(6))
        return {"network": spec.network, "mac": mac, "addresses": [str(one) for one in spec.addresses]}

    def _port(self, network: int, index: int) -> PortSpec:
        number = network * (self.ports_per_network + 1) + index
        address = IPv4Address(_FIRST_ADDRESS + number)
        return PortSpec(network=network_name(network), mac=_FIRST_MAC + number, addresses=(address,))


def host_name(number: int) -> str:
    return f"h{number:04}"


def endpoint_of(number: int) -> IPv4Address:
    """Return a host's tunnel endpoint."""
    return IPv4Address(_FIRST_ENDPOINT + number)


def dpid_of(host: str) -> int:
    """Return the datapath identifier of a host's bridge."""
    return int(host[1:]) + 1


def network_name(number: int) -> str:
    return f"n{number:04}"


def port_name(network: int, index: int) -> str:
    return f"{network_name(network)}-p{index:03}"


def spare_name(network: int) -> str:
    """Return the name of the port that a network lacks, and of its interface."""
    return f"{network_name(network)}-spare"


def _schema() -> OptionSchemaSpec:
    field = OptionField(name="tier", kind=FieldKind.UINT, offset=0, bits=8)
    layout = OptionLayout(
        name=_SCHEMA,
        option_class=option_class(0xFF00),
        option_type=option_type(1),
        length=4,
        fields=(field,),
    )
    return OptionSchemaSpec(layout=layout, slot=0)
