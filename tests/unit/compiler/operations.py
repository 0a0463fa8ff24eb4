# SPDX-License-Identifier: Apache-2.0
"""Random commands over a small world, so that names, addresses and slots meet again and again."""

from __future__ import annotations

from random import Random

from controller.intent.commands import Command, Delete, Record
from controller.intent.companions import rollout_name
from controller.intent.model import Kind, PolicyAction, RolloutSpec, RolloutStage
from ovs_geneve.geneve.fields import FieldKind, OptionField
from tests.builders import bind, host, network, policy, port, put, rolled_out, schema, unbind

HOSTS = ("hv1", "hv2", "hv3", "hv4")
NETWORKS = ("blue", "red", "green")
PORTS = tuple(f"p{number}" for number in range(8))
SCHEMAS = ("s0", "s1", "s2")
POLICIES = tuple(f"rule{number}" for number in range(5))

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
            *(self._policy,) * 2,
            self._host,
            self._network,
            self._network,
            self._schema,
            self._unbind,
            *(self._rollout,) * 2,
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
        name = name or self._pick(*SCHEMAS)
        fields = self._pick((_LOW, _HIGH), (_LOW, _HIGH), (_HIGH,))
        return put(name, schema(self._random.randrange(5), length=self._pick(4, 4, 8), fields=fields))

    def _network(self, name: str | None = None) -> Command:
        name = name or self._pick(*NETWORKS)
        options = self._random.sample(SCHEMAS, self._random.randrange(3))
        values = {f"{options[0]}.high": self._random.randrange(3)} if options else {}
        vni = self._pick(None, None, 100 + self._random.randrange(4))
        return put(name, network(vni, *options, values=values))

    def _port(self, name: str | None = None) -> Command:
        name = name or self._pick(*PORTS)
        number = 1 + self._random.randrange(len(PORTS))
        addresses = self._pick(
            (), (f"10.0.0.{number}",), (f"2001:db8::{number}",), (f"10.0.0.{number}", f"2001:db8::{number}")
        )
        values = self._pick({}, {}, {f"{self._pick(*SCHEMAS)}.low": self._random.randrange(3)})
        interface_id = self._pick(None, None, f"if-{name}")
        where = self._pick(*NETWORKS)
        return put(name, port(where, number, *addresses, values=values, interface_id=interface_id))

    def _policy(self) -> Command:
        matches = self._pick({}, {f"{self._pick(*SCHEMAS)}.low": (1, 3)})
        to_port = self._pick(None, *PORTS)
        action = self._pick(*PolicyAction)
        spec = policy(
            self._pick(*NETWORKS), matches, to_port=to_port, action=action, priority=self._pick(100, 200)
        )
        return put(self._pick(*POLICIES), spec)

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
            (Kind.OPTION_POLICY, POLICIES),
        )
        return Delete(kind=kind, name=self._pick(*names))
