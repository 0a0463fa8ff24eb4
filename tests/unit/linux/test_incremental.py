# SPDX-License-Identifier: Apache-2.0
"""What the compiler of Linux hosts keeps up to date equals what it compiles from nothing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest

from controller.errors import IntentError
from controller.intent.commands import Command, Put, evaluate
from controller.intent.model import (
    Direction,
    HostKind,
    HostSpec,
    InnerVlan,
    NetworkSpec,
    OptionPolicySpec,
    Payload,
    PolicyAction,
    PolicySpec,
    Spec,
    TunnelStyle,
)
from controller.linux.compile import LinuxCompiler, parts_of
from controller.linux.part import HOST_PART, Part, PartKind
from tests.builders import bind, delete, group, host, network, port, put, unbind
from tests.unit.compiler.operations import HOSTS, NETWORKS, PORTS, Operations
from tests.unit.linux.builders import LinuxFabric, linux

STEPS = 150


class LinuxOperations(Operations):
    """The same over hosts of which some, now these, now those, have no Open vSwitch."""

    def draw(self, *, binds: bool = True) -> Command:
        command = super().draw(binds=binds)
        if not isinstance(command, Put) or self._random.random() < 0.05:
            return command
        return replace(command, spec=self._feasible(command.spec))

    def _feasible(self, spec: Spec) -> Spec:
        """Return something like it that Linux hosts are able to."""
        match spec:
            case HostSpec():
                kind = self._pick(HostKind.LINUX, HostKind.LINUX, HostKind.OVS)
                styles = (*(TunnelStyle.METADATA,) * 3, TunnelStyle.FIXED)
                style = self._pick(*styles) if kind is HostKind.LINUX else TunnelStyle.METADATA
                return replace(spec, kind=kind, underlay_mtu=self._pick(None, 1500, 9000), tunnels=style)
            case NetworkSpec():
                if self._pick(*(False,) * 5, True):
                    return NetworkSpec(payload=Payload.IP)
                return replace(spec, inner_vlan=InnerVlan.FORBID)
            case PolicySpec():
                return replace(spec, stateful=False, log=False)
            case OptionPolicySpec():
                verdict = self._pick(PolicyAction.ALLOW, PolicyAction.DROP)
                packet = replace(spec.packet, dscp=None)
                return replace(spec, direction=Direction.INGRESS, actions=(), action=verdict, packet=packet)
            case _:
                return spec


def check(fabric: LinuxFabric) -> None:
    for name in HOSTS:
        kept = fabric.compiler.parts(name)
        assert kept == parts_of(name, fabric.intent, fabric.interfaces.get(name, {})), name
        assert fabric.held.get(name, {}) == kept, name


def plug(fabric: LinuxFabric, random: Random) -> None:
    number = random.randrange(len(PORTS))
    interface_id = random.choice((PORTS[number], f"if-{PORTS[number]}"))
    names = ("", f"tap{number}", f"tap{number}", "tap0")
    fabric.plug(random.choice(HOSTS), **{interface_id: random.choice(names)})


def attempt(fabric: LinuxFabric, command: Command) -> bool:
    with suppress(IntentError):
        fabric.do(command)
        return True
    return False


def acceptable(fabric: LinuxFabric, commands: list[Command]) -> list[Command]:
    intent, taken = fabric.intent, []
    for command in commands:
        with suppress(IntentError):
            decision = evaluate(intent, command)
            intent = intent.with_changes(decision.changes, intent.revision + 1)
            taken.append(command)
    return taken


@pytest.mark.parametrize("seed", range(12))
def test_incremental_equals_whole(seed: int) -> None:
    random = Random(seed)
    operations = LinuxOperations(random, hv1={"kind": HostKind.LINUX}, hv2={"kind": HostKind.LINUX})
    fabric = LinuxFabric()
    done = sum(attempt(fabric, command) for command in operations.world())
    for _ in range(STEPS):
        if random.random() < 0.25:
            plug(fabric, random)
        else:
            done += attempt(fabric, operations.draw())
        check(fabric)
    assert done > STEPS / 4, "most commands were refused: nothing was tested"


@pytest.mark.parametrize("seed", range(6))
def test_batches_equal_whole(seed: int) -> None:
    random = Random(1000 + seed)
    operations = LinuxOperations(random, hv1={"kind": HostKind.LINUX}, hv2={"kind": HostKind.LINUX})
    fabric = LinuxFabric()
    fabric.do(*acceptable(fabric, operations.world()))
    for _ in range(STEPS // 5):
        plug(fabric, random)
        fabric.do(*acceptable(fabric, [operations.draw() for _ in range(random.randrange(1, 30))]))
        check(fabric)


@pytest.mark.parametrize("seed", range(4))
def test_a_host_alone_is_compiled_as_among_all(seed: int) -> None:
    random = Random(2000 + seed)
    operations = LinuxOperations(random, hv1={"kind": HostKind.LINUX}, hv2={"kind": HostKind.LINUX})
    everyone, alone = LinuxFabric(), {name: LinuxFabric(compiler=LinuxCompiler(only=name)) for name in HOSTS}
    for _ in range(STEPS):
        if random.random() < 0.25:
            host_name, interface = random.choice(HOSTS), random.choice(("", "tap0", "tap1"))
            for fabric in (everyone, *alone.values()):
                fabric.plug(host_name, **{PORTS[0]: interface})
        else:
            commands = acceptable(everyone, [operations.draw() for _ in range(random.randrange(1, 6))])
            for fabric in (everyone, *alone.values()):
                fabric.do(*commands)
        for name, fabric in alone.items():
            assert fabric.compiler.parts(name) == everyone.compiler.parts(name)
            assert fabric.held.get(name, {}) == everyone.held.get(name, {})
            assert not any(fabric.compiler.parts(other) for other in HOSTS if other != name)


def test_what_a_host_alone_costs_does_not_grow_with_other_hosts() -> None:
    def cost(hosts: int) -> int:
        fabric = LinuxFabric(compiler=LinuxCompiler(only="lx1"))
        fabric.do(put("blue", network(100)))
        for number in range(1, hosts + 1):
            fabric.do(
                put(f"lx{number}", linux(f"192.0.2.{number}")),
                put(f"web{number}", port("blue", number, f"10.0.0.{number}")),
                bind(f"web{number}", f"lx{number}"),
            )
        before = fabric.compiler.parts_compiled
        fabric.do(put("web2", port("blue", 2, "10.0.0.200")), put("new", port("blue", 99, "10.0.0.99")))
        fabric.do(bind("new", "lx2"))
        return fabric.compiler.parts_compiled - before

    assert cost(40) == cost(3)


def test_without_linux_hosts_nothing_is_kept_and_the_first_one_gets_all() -> None:
    fabric = LinuxFabric()
    fabric.do(
        put("hv1", host("192.0.2.1")),
        put("hv2", host("192.0.2.2")),
        put("blue", network(100)),
        put("p1", port("blue", 1)),
        put("p2", port("blue", 2)),
        bind("p1", "hv1"),
        bind("p2", "hv2"),
    )
    fabric.plug("hv2", p2="tap2")
    assert fabric.compiler.parts_compiled == 0
    for _ in range(2):
        held = fabric.intent.hosts["hv2"]
        changes = fabric.swap(replace(held, spec=linux("192.0.2.2")))
        parts = {
            HOST_PART,
            Part(PartKind.PEER, "hv1"),
            Part(PartKind.NETWORK, "blue"),
            *(Part(PartKind.PORT, p) for p in ("p1", "p2")),
        }
        assert set(changes["hv2"]) == parts
        check(fabric)
        assert fabric.swap(held)["hv2"] == dict.fromkeys(parts)
        fabric.do(unbind("p1"))
        fabric.do(bind("p1", "hv1"))


def test_a_change_costs_what_it_touches() -> None:
    fabric = LinuxFabric()
    fabric.do(
        *(put(f"hv{n}", linux(f"192.0.2.{n}")) for n in range(1, 7)),
        put("web", group()),
        *(put(name, network(None, "identity")) for name in NETWORKS),
        *(put(f"{net}{n}", port(net, n, f"10.0.0.{n}")) for net in ("blue", "red") for n in range(1, 4)),
        *(bind(f"blue{n}", f"hv{n}") for n in range(1, 4)),
        *(bind(f"red{n}", f"hv{n + 2}") for n in range(1, 4)),
    )

    def cost(*commands: Command) -> tuple[int, set[str]]:
        before = fabric.compiler.parts_compiled
        changes = fabric.do(*commands)
        return fabric.compiler.parts_compiled - before, {
            f"{h} {p}" for h, parts in changes.items() for p in parts
        }

    cost(put("blue9", port("blue", 9, "10.0.0.9")))
    # On hv1 what of the network depends on who is there is looked at, too.
    assert cost(bind("blue9", "hv1")) == (4, {"hv2 port/blue9", "hv3 port/blue9"})
    assert cost(put("blue9", port("blue", 9, "10.0.0.19")))[1] == {"hv2 port/blue9", "hv3 port/blue9"}
    assert cost(put("red9", port("red", 9)))[1] == set()
    assert cost(delete("port/red9")) == (0, set())
    assert cost(put("hv9", host("192.0.2.9"))) == (6, {f"hv{n} peer/hv9" for n in range(1, 7)})
    # A host that comes to the network is sent to from every port of it.
    assert cost(bind("blue9", "hv9"))[1] == {
        f"hv{n} {part}" for n in (1, 2, 3) for part in ("network/blue", "port/blue9")
    }
    before = fabric.compiler.parts_compiled
    fabric.plug("hv1", blue1="tap1")
    fabric.plug("hv1", stranger="tap9")
    assert fabric.compiler.parts_compiled == before + 2
