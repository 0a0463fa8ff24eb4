# SPDX-License-Identifier: Apache-2.0
"""Random commands over a small world, so that names, addresses and slots meet again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network
from random import Random

from controller.intent.commands import Command, Delete, Record
from controller.intent.companions import rollout_name
from controller.intent.identity import IDENTITY
from controller.intent.model import Direction, InnerVlan, Kind, PolicyAction, RolloutSpec, RolloutStage
from controller.intent.rules import (
    Copy,
    FieldName,
    Mirror,
    PacketField,
    PacketMatch,
    PortRange,
    RuleAction,
    SetDscp,
    SetQueue,
    Stamp,
    StampFrom,
    Steer,
    Strip,
)
from ovs_geneve.geneve.fields import FieldKind, OptionField
from tests.builders import (
    bind,
    group,
    group_policy,
    host,
    network,
    policy,
    port,
    put,
    rolled_out,
    schema,
    unbind,
)

HOSTS = ("hv1", "hv2", "hv3", "hv4")
NETWORKS = ("blue", "red", "green")
PORTS = tuple(f"p{number}" for number in range(8))
SCHEMAS = ("s0", "s1", "s2")
POLICIES = tuple(f"rule{number}" for number in range(8))
GROUPS = ("web", "db", "ops")
BETWEEN = tuple(f"between{number}" for number in range(5))
PORT_RANGES = ((), (PortRange(80, 81),), (PortRange(80, 80), PortRange(443, 450)), (PortRange(0, 0xFFFF),))

_AT_HOME = {"blue": PORTS[:5], "red": PORTS[5:7], "green": PORTS[7:]}
"Where ports are, mostly: a policy that names a port of another network is refused."
_HOMES = {name: home for home, names in _AT_HOME.items() for name in names}

_PACKETS = (
    *(PacketMatch(),) * 4,
    PacketMatch(protocol=6),
    PacketMatch(ethertype=0x0800, protocol=17, destination_ports=(PortRange(80, 82),)),
    PacketMatch(source=ip_network("10.0.0.0/30"), dscp=46),
    PacketMatch(destination_mac=0x020000000001),
)

_LOW = OptionField(name="low", kind=FieldKind.UINT, offset=0, bits=8)
_HIGH = OptionField(name="high", kind=FieldKind.UINT, offset=8, bits=16)


class Operations:
    """Draws commands; many are refused by the intent, which is as it should be."""

    def __init__(self, random: Random, hosts: tuple[str, ...] = HOSTS, **specs) -> None:
        self._random = random
        self._hosts = hosts
        self._host_specs = specs
        self._makers = (
            *(self._port,) * 4,
            *(self._bind,) * 6,
            *(self._policy,) * 6,
            *(self._between,) * 3,
            self._group,
            self._host,
            self._network,
            self._network,
            self._schema,
            self._unbind,
            *(self._rollout,) * 2,
            self._delete,
            self._delete,
            self._delete,
        )

    def draw(self, *, binds: bool = True) -> Command:
        """Draw a command; without `binds`, only such as users send."""
        own = self._bind, self._unbind, self._rollout
        makers = [m for m in self._makers if binds or m not in own]
        return self._random.choice(makers)()

    def world(self) -> list[Command]:
        """Draw what makes the first commands meet something."""
        return [
            *(self._host(name) for name in self._hosts),
            *(self._schema(name) for name in SCHEMAS),
            *(self._group(name) for name in GROUPS),
            *(self._network(name) for name in NETWORKS),
            *(self._port(name) for name in PORTS),
        ]

    def _pick(self, *of):
        return self._random.choice(of)

    def _host(self, name: str | None = None) -> Command:
        name = name or self._pick(*self._hosts)
        number = self._hosts.index(name) + 1
        four, six = f"192.0.2.{number}", f"2001:db8:ffff::{number}"
        endpoints = self._pick((four,), (four,), (six,), (four, six), (six, four))
        return put(name, host(*endpoints, **self._host_specs.get(name, {})))

    def _schema(self, name: str | None = None) -> Command:
        first, name = name is not None, name or self._pick(*SCHEMAS)
        fields = self._pick((_LOW, _HIGH), (_LOW, _HIGH), (_LOW, _HIGH), (_HIGH,))
        own = SCHEMAS.index(name)
        number = own if first else self._pick(own, own, own, self._random.randrange(5))
        return put(name, schema(number, length=self._pick(4, 4, 8), fields=fields))

    def _network(self, name: str | None = None) -> Command:
        first, name = name is not None, name or self._pick(*NETWORKS)
        options = self._random.sample(SCHEMAS, self._pick(0, 1, 2, 2, 3, 3))
        carried = self._pick((), (IDENTITY,), (IDENTITY,))
        values = {f"{options[0]}.high": self._random.randrange(3)} if options else {}
        vni = None if first else self._pick(None, None, 100 + self._random.randrange(4))
        spec = network(vni, *options, *carried, values=values)
        return put(name, replace(spec, inner_vlan=self._pick(*InnerVlan)))

    def _group(self, name: str | None = None) -> Command:
        identity = None if name else self._pick(None, None, 1, 2, 3)
        return put(name or self._pick(*GROUPS), group(identity))

    def _port(self, name: str | None = None) -> Command:
        first, name = name is not None, name or self._pick(*PORTS)
        own = 1 + PORTS.index(name)
        number = own if first else self._pick(own, own, own, 1 + self._random.randrange(len(PORTS)))
        addresses = self._pick(
            (), (f"10.0.0.{number}",), (f"2001:db8::{number}",), (f"10.0.0.{number}", f"2001:db8::{number}")
        )
        values = (
            {} if first else self._pick({}, {}, {f"{self._pick(*SCHEMAS)}.low": self._random.randrange(3)})
        )
        interface_id = self._pick(None, None, f"if-{name}")
        where = _HOMES[name] if first else self._pick(*(_HOMES[name],) * 5, *NETWORKS)
        spec = port(where, number, *addresses, values=values, interface_id=interface_id)
        return put(name, replace(spec, group=None if first else self._pick(None, None, *GROUPS)))

    def _between(self) -> Command:
        protocol = self._pick(None, 6, 17, 1, 58, 47)
        spec = group_policy(
            self._pick(*NETWORKS),
            self._pick(*GROUPS),
            from_group=self._pick(None, *GROUPS),
            priority=self._pick(100, 100, 200),
            protocol=protocol,
            ports=self._pick(*PORT_RANGES) if protocol in (6, 17) else (),
            allow=self._pick(True, True, False),
            stateful=self._pick(True, False),
            log=self._pick(True, False),
        )
        return put(self._pick(*BETWEEN), spec)

    def _policy(self) -> Command:
        matches = self._pick({}, {}, {f"{self._pick(*SCHEMAS)}.low": (1, 3)})
        where = self._pick("blue", "blue", *NETWORKS)
        ports = (*_AT_HOME[where] * 2, self._pick(*PORTS))
        spec = policy(
            where,
            matches,
            direction=self._pick(*Direction),
            from_port=self._pick(None, *ports) if self._random.random() < 0.5 else None,
            to_port=self._pick(None, *ports) if self._random.random() < 0.5 else None,
            packet=self._pick(*_PACKETS),
            actions=tuple(self._action(ports) for _ in range(self._random.randrange(3))),
            action=self._pick(*PolicyAction, None),
            priority=self._pick(100, 200),
        )
        if self._random.random() < 0.3:
            spec = replace(spec, from_port=None, from_group=self._pick(*GROUPS))
        if self._random.random() < 0.2:
            spec = replace(spec, to_port=None, to_group=self._pick(*GROUPS))
        return put(self._pick(*POLICIES), spec)

    def _action(self, ports: Sequence[str]) -> RuleAction:
        high = FieldName(self._pick(*SCHEMAS), "high")
        return self._pick(
            Stamp(high, self._random.randrange(3)),
            StampFrom(high, self._pick(PacketField.DSCP, PacketField.VLAN)),
            Copy(high, FieldName(self._pick(*SCHEMAS), "low")),
            Strip(self._pick(*SCHEMAS)),
            Mirror(self._pick(*ports)),
            Mirror(self._pick(*ports)),
            Steer((self._pick(*ports),)),
            Steer(tuple(self._random.sample(ports, 2)), high),
            SetQueue(1),
            SetDscp(10),
        )

    def _bind(self) -> Command:
        return bind(self._pick(*PORTS), self._pick(*self._hosts))

    def _unbind(self) -> Command:
        return unbind(self._pick(*PORTS))

    def _rollout(self) -> Command:
        network, option = self._pick(*NETWORKS), self._pick(*SCHEMAS)
        if self._random.random() < 0.3:
            return rolled_out(network, option)
        incoming, stage = self._pick(True, False), self._pick(*RolloutStage)
        spec = RolloutSpec(network=network, schema=option, incoming=incoming, stage=stage)
        return Record(name=rollout_name(network, option), spec=spec)

    def _delete(self) -> Command:
        kind, names = self._pick(
            (Kind.HOST, self._hosts),
            (Kind.NETWORK, NETWORKS),
            (Kind.PORT, PORTS),
            (Kind.OPTION_SCHEMA, SCHEMAS),
            *((Kind.OPTION_POLICY, POLICIES),) * 4,
            (Kind.GROUP, GROUPS),
            (Kind.POLICY, BETWEEN),
            (Kind.POLICY, BETWEEN),
        )
        return Delete(kind=kind, name=self._pick(*names))
