# SPDX-License-Identifier: Apache-2.0
"""Intent, hosts' reports and switches come together in any order, and what is said of objects is so."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from controller.compiler.cookies import parse
from controller.hoststate import HostFacts
from controller.intent.commands import Command, Record, evaluate
from controller.intent.intent import Intent, merged
from controller.intent.model import CapabilitySpec, Direction, Kind, OptionPolicySpec, RolloutStage
from controller.intent.rules import PacketMatch, SetQueue, Steer
from controller.reconciler.binder import Binder as RealBinder
from controller.reconciler.programmer import Phase
from controller.reconciler.reconciler import Reconciler
from controller.reconciler.status import Truth
from controller.southbound.ports import HostReport, LinkState, Problem
from ovs_geneve.openflow.messages import MessageType
from tests.builders import (
    bind,
    delete,
    drop_policy,
    group,
    group_policy,
    host,
    network,
    policy,
    port,
    put,
    schema,
)
from tests.fakes.switch import FakeBridge, FakeChannel

UP = HostReport(state=LinkState.CONNECTED, provisioned=True)


class Binder:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.reported: dict[str, frozenset[str]] = {}
        self.again: set[str] = set()
        self.refused: dict[str, str] = {}

    def report(self, name: str, interfaces: frozenset[str]) -> None:
        self.reported[name] = interfaces

    def drop(self, name: str) -> None:
        self.reported.pop(name, None)

    def look_again(self, ports) -> None:
        self.again.update(ports)

    def look_at_refused(self) -> None:
        self.again.update(self.refused)

    def intent_changed(self, changes) -> None:
        RealBinder.intent_changed(self, changes)  # type: ignore[arg-type]

    def refusal_of(self, name: str) -> str:
        return self.refused.get(name, "")


class Links:
    """Notes which hosts are enrolled."""

    def __init__(self) -> None:
        self.enrolled: set[str] = set()
        self.released: list[str] = []
        self.looked_at: list[str] = []

    def enrol(self, declared) -> None:
        self.enrolled.add(declared.name)

    def release(self, name: str) -> None:
        self.enrolled.discard(name)
        self.released.append(name)

    def forget(self, name: str) -> None:
        self.enrolled.discard(name)

    def look_again(self, name: str) -> None:
        self.looked_at.append(name)


class Rig:
    """A reconciler between fakes."""

    def __init__(self) -> None:
        self.intent = Intent()
        self.binder, self.links = Binder(), Links()
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.reconciler = Reconciler(self.binder, self.links, lambda *timer: self.timers.append(timer))
        self.bridges: dict[int, FakeBridge] = {}
        self.channels: dict[int, FakeChannel] = {}

    def do(self, *commands: Command) -> None:
        before, changes = self.intent, []
        for command in commands:
            decision = evaluate(self.intent, command)
            if decision.changes:
                self.intent = self.intent.with_changes(decision.changes, self.intent.revision + 1)
                changes += decision.changes
        self.reconciler.intent_changed(before, self.intent, merged(changes))

    def report(self, name: str, dpid: int, **ofports: int) -> None:
        self.reconciler.host_reported(name, replace(UP, facts=HostFacts(dpid=dpid, ofports=ofports)))

    def connect(self, dpid: int) -> FakeChannel:
        bridge = self.bridges.setdefault(dpid, FakeBridge())
        channel = FakeChannel(bridge, lambda c, event: self.reconciler.switch_event(dpid, c, event))
        self.channels[dpid] = channel
        self.reconciler.switch_connected(dpid, channel)
        return channel

    def disconnect(self, dpid: int) -> None:
        channel = self.channels.pop(dpid)
        channel.cut()
        self.reconciler.switch_disconnected(dpid, channel)

    def settle(self) -> None:
        """Let all switches answer, and the moment pass for which bundles wait in a burst."""
        while any(channel.waiting for channel in self.channels.values()):
            for channel in self.channels.values():
                channel.settle()
            self.fire(within=0.1)

    def fire(self, within: float = math.inf) -> None:
        due = [timer for timer in self.timers if timer[0] <= within]
        self.timers = [timer for timer in self.timers if timer[0] > within]
        for _, action in due:
            action()

    def in_sync(self, name: str, dpid: int) -> bool:
        return self.bridges[dpid].equals(self.reconciler.compiler.desired(name))

    def condition(self, kind: Kind, name: str, condition_type: str):
        held = self.intent.get(kind, name)
        assert held is not None
        (found,) = (c for c in self.reconciler.conditions(held) if c.type == condition_type)
        return found


@pytest.fixture
def rig() -> Rig:
    """Two hosts with a port each, programmed."""
    made = Rig()
    made.do(
        put("hv1", host("192.0.2.1")),
        put("hv2", host("192.0.2.2")),
        put("blue", network(100)),
        put("web1", port("blue", 1, "10.0.0.1")),
        put("db1", port("blue", 2, "10.0.0.2")),
        bind("web1", "hv1"),
        bind("db1", "hv2"),
    )
    for number, name in ((1, "web1"), (2, "db1")):
        made.report(f"hv{number}", number, **{name: 5})
        made.connect(number)
    made.settle()
    return made


@pytest.mark.parametrize("switch_first", [False, True])
def test_switch_waits_until_it_is_known_whose_it_is(switch_first: bool) -> None:
    rig = Rig()
    rig.do(put("hv1", host("192.0.2.1")))
    steps = [lambda: rig.report("hv1", 1), lambda: rig.connect(1)]
    for step in reversed(steps) if switch_first else steps:
        assert not rig.bridges or rig.channels[1].asked == []
        step()
    rig.settle()
    assert rig.in_sync("hv1", 1)


def test_stranger_is_left_alone(rig: Rig) -> None:
    rig.connect(99)
    rig.report("hv99", 99)
    rig.settle()
    assert rig.channels[99].asked == []
    assert rig.bridges[99] == FakeBridge(refuse=rig.bridges[99].refuse)


def test_both_hosts_are_programmed(rig: Rig) -> None:
    assert rig.in_sync("hv1", 1)
    assert rig.in_sync("hv2", 2)
    assert rig.condition(Kind.PORT, "web1", "Programmed").status is Truth.TRUE
    assert rig.condition(Kind.HOST, "hv1", "Programmed").status is Truth.TRUE
    assert rig.condition(Kind.PORT, "web1", "Bound").message == "hv1"


def test_interface_that_gets_another_number(rig: Rig) -> None:
    rig.report("hv1", 1, web1=9)
    rig.settle()
    assert rig.in_sync("hv1", 1)


def test_bridge_that_is_made_anew_has_another_dpid(rig: Rig) -> None:
    rig.report("hv1", 0)
    assert rig.reconciler.programmers["hv1"].phase is Phase.ABSENT
    rig.report("hv1", 11, web1=5)
    rig.connect(11)
    rig.settle()
    assert rig.in_sync("hv1", 11)
    rig.disconnect(1)
    assert rig.reconciler.programmers["hv1"].phase is Phase.IDLE, "the old connection is nobody's"


def test_connection_that_is_replaced_before_it_is_seen_to_end(rig: Rig) -> None:
    old = rig.channels[1]
    rig.connect(1)
    rig.reconciler.switch_disconnected(1, old)
    rig.settle()
    assert rig.reconciler.programmers["hv1"].phase is Phase.IDLE


def test_disconnected_host_is_unreachable_and_comes_back(rig: Rig) -> None:
    rig.disconnect(1)
    rig.do(put("web1", port("blue", 1, "10.0.0.9")))
    rig.settle()
    condition = rig.condition(Kind.PORT, "web1", "Programmed")
    assert (condition.status, condition.reason) == (Truth.FALSE, "HostUnreachable")
    assert "hv1" in condition.message
    assert "hv2" not in condition.message
    rig.connect(1)
    rig.settle()
    assert rig.condition(Kind.PORT, "web1", "Programmed").status is Truth.TRUE


@pytest.mark.parametrize("options", [False, True])
def test_deleted_host_is_emptied_and_let_go(rig: Rig, options: bool) -> None:
    if options:
        rig.do(put("context", schema(1)))
        rig.settle()
    rig.do(delete("host/hv1"))
    assert "hv1" in rig.links.enrolled, "its flows go first"
    rig.settle()
    assert rig.bridges[1].flows == {}
    assert rig.bridges[1].groups == {}
    assert rig.bridges[1].tlv_maps == frozenset()
    assert rig.links.enrolled == {"hv2"}
    assert "hv1" not in rig.reconciler.programmers
    assert rig.in_sync("hv2", 2)
    rig.fire()


def test_deleted_host_that_does_not_answer_is_let_go_all_the_same(rig: Rig) -> None:
    rig.disconnect(1)
    rig.do(delete("host/hv1"))
    assert "hv1" in rig.links.enrolled
    rig.fire()
    assert rig.links.enrolled == {"hv2"}
    rig.report("hv1", 1)
    rig.connect(1)
    assert rig.channels[1].asked == []


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize("batch", [False, True])
def test_host_that_is_declared_again_soon(rig: Rig, settled: bool, batch: bool) -> None:
    """It was not let go of yet: its interfaces are known, and its ports go back to it."""
    rig.do(put("context", schema(1)), put("blue", network(100, "context")))
    rig.settle()
    again = put("hv1", host("192.0.2.1"))
    if batch:
        rig.do(delete("host/hv1"), again)
    else:
        rig.do(delete("host/hv1"))
        if settled:
            rig.channels[1].answer()
        rig.do(again)
    rig.fire()
    assert "hv1" in rig.links.enrolled
    # It was let go of if it answered in time; then its OVSDB is read anew.
    if "hv1" not in rig.binder.reported:
        assert "web1" in rig.binder.again or rig.reconciler.report("hv1").facts is None
        rig.report("hv1", 1, web1=5)
    assert rig.binder.reported["hv1"] == {"web1"}
    assert not batch or "web1" in rig.binder.again
    rig.do(bind("web1", "hv1"))
    rig.settle()
    assert rig.in_sync("hv1", 1)
    assert rig.in_sync("hv2", 2)
    assert not rig.reconciler.programmers["hv1"].refusals.flows


@pytest.mark.parametrize("batch", [False, True])
def test_host_that_is_declared_again_elsewhere(rig: Rig, batch: bool) -> None:
    """The bridge that it left acknowledges nothing for it."""
    commands = delete("host/hv1"), put("hv1", host("192.0.2.1", bridge="br-other"))
    for step in [commands] if batch else [[command] for command in commands]:
        rig.do(*step)
    rig.settle()
    assert rig.links.released == ["hv1"]
    assert "hv1" in rig.links.enrolled
    assert "hv1" not in rig.binder.reported, "what was plugged into the other bridge is plugged nowhere here"
    assert rig.condition(Kind.HOST, "hv1", "Programmed").status is Truth.FALSE
    rig.fire()
    rig.report("hv1", 3, web1=5)
    rig.connect(3)
    rig.settle()
    assert rig.in_sync("hv1", 3)
    assert rig.condition(Kind.HOST, "hv1", "Programmed").status is Truth.TRUE


def test_restart_programs_what_is_stored(rig: Rig) -> None:
    again = Rig()
    again.intent = rig.intent
    again.bridges = rig.bridges
    again.reconciler.start(rig.intent)
    assert again.links.enrolled == {"hv1", "hv2"}
    for number, name in ((1, "web1"), (2, "db1")):
        again.report(f"hv{number}", number, **{name: 5})
        again.connect(number)
    again.settle()
    assert all(p.messages_sent == 0 for p in again.reconciler.programmers.values())
    assert all(p.phase is Phase.IDLE for p in again.reconciler.programmers.values())


def test_refused_object_is_named_with_the_hosts_error(rig: Rig) -> None:
    def refuse(message: bytes) -> str | None:
        policy = message[1] == MessageType.FLOW_MOD and parse(int.from_bytes(message[8:16])).feature == 8
        return "OFPFMFC_TABLE_FULL" if policy else None

    rig.bridges[2].refuse = refuse
    rig.do(put("rule", drop_policy("blue")))
    rig.settle()
    condition = rig.condition(Kind.OPTION_POLICY, "rule", "Programmed")
    assert (condition.status, condition.reason) == (Truth.FALSE, "OFPFMFC_TABLE_FULL")
    assert condition.message.startswith("hv2")
    assert rig.condition(Kind.HOST, "hv2", "Programmed").reason == "OFPFMFC_TABLE_FULL"
    assert rig.condition(Kind.HOST, "hv1", "Programmed").status is Truth.TRUE
    assert rig.condition(Kind.PORT, "web1", "Programmed").status is Truth.TRUE


def test_policy_that_another_one_decides_before_is_told_so(rig: Rig) -> None:
    rig.do(
        put("web", group()),
        put("green", network(300, "identity")),
        put("low", group_policy("green", "web", protocol=6)),
    )
    assert rig.condition(Kind.POLICY, "low", "Effective").status is Truth.TRUE
    rig.do(put("top", group_policy("green", "web", priority=200, allow=False)))
    shadowed = rig.condition(Kind.POLICY, "low", "Effective")
    assert (shadowed.status, shadowed.reason) == (Truth.FALSE, "Shadowed")
    assert "policy/top" in shadowed.message
    rig.do(delete("policy/top"))
    assert rig.condition(Kind.POLICY, "low", "Effective").status is Truth.TRUE
    # No host has a port of its network: there is nothing to wait for.
    assert rig.condition(Kind.POLICY, "low", "Programmed").status is Truth.TRUE


def test_an_option_policy_that_never_matches_says_which_one_is_before_it() -> None:
    rig = Rig()
    one = port("blue", 1)
    rig.do(put("blue", network(100)), put("web1", one), put("low", policy("blue", priority=5)))
    told = rig.condition(Kind.OPTION_POLICY, "low", "Effective")
    assert (told.status, told.reason) == (Truth.TRUE, "Reached")
    rig.do(put("high", policy("blue", priority=6, packet=PacketMatch(source_mac=one.mac))))
    assert rig.condition(Kind.OPTION_POLICY, "low", "Effective").status is Truth.TRUE
    rig.do(put("low", policy("blue", priority=5, from_port="web1")))
    told = rig.condition(Kind.OPTION_POLICY, "low", "Effective")
    assert (told.status, told.reason) == (Truth.FALSE, "Shadowed")
    assert told.message == "option-policy/high decides all of its packets"
    rig.do(put("web1", port("blue", 2)))
    assert rig.condition(Kind.OPTION_POLICY, "low", "Effective").status is Truth.TRUE
    rig.do(put("low", policy("blue", priority=6, from_port="web1", actions=(SetQueue(1),))))
    rig.do(put("high", policy("blue", priority=6)))
    told = rig.condition(Kind.OPTION_POLICY, "low", "Effective")
    assert (told.status, told.reason) == (Truth.UNKNOWN, "Conflict")
    assert told.message.startswith("option-policy/high ")
    rig.do(delete("option-policy/high"))
    assert rig.condition(Kind.OPTION_POLICY, "low", "Effective").status is Truth.TRUE


def test_conditions_of_a_host_that_has_trouble(rig: Rig) -> None:
    problem = Problem(reason="BridgeNotOwned", message="Bridge br-int exists and is not ours")
    facts = HostFacts(dpid=1, ofports={"web1": 5})
    rig.reconciler.host_reported("hv1", HostReport(state=LinkState.CONNECTED, facts=facts, problem=problem))
    assert rig.condition(Kind.HOST, "hv1", "Connected").status is Truth.TRUE
    assert rig.condition(Kind.HOST, "hv1", "Provisioned").reason == "BridgeNotOwned"
    away = Problem(reason="HostUnreachable", message="connection refused")
    rig.reconciler.host_reported("hv1", HostReport(facts=facts, provisioned=True, problem=away))
    assert rig.condition(Kind.HOST, "hv1", "Connected").message == "connection refused"
    assert rig.condition(Kind.HOST, "hv1", "Provisioned").status is Truth.TRUE
    assert rig.in_sync("hv1", 1), "a host that cannot be asked keeps its flows"


def test_port_that_is_plugged_nowhere(rig: Rig) -> None:
    rig.do(put("idle", port("blue", 7)))
    condition = rig.condition(Kind.PORT, "idle", "Bound")
    assert (condition.status, condition.reason) == (Truth.FALSE, "NotPlugged")


def test_port_whose_interface_is_where_it_cannot_be(rig: Rig) -> None:
    rig.do(put("late", port("blue", 9)))
    rig.binder.refused = {"late": "host hv1 cannot"}
    _, bound, _ = rig.reconciler.conditions(rig.intent.ports["late"])
    assert (bound.status, bound.reason, bound.message) == (Truth.FALSE, "HostCannot", "host hv1 cannot")
    rig.binder.again.clear()
    rig.do(put("late", port("blue", 10)), put("hv3", host("192.0.2.33")))
    assert "late" in rig.binder.again
    rig.binder.again.clear()
    rig.do(Record(name="hv1", spec=CapabilitySpec(critical=True)))
    assert rig.binder.again == {"late"}
    rig.do(bind("late", "hv1"))
    _, bound, _ = rig.reconciler.conditions(rig.intent.ports["late"])
    assert bound.status is Truth.TRUE


def test_who_is_concerned_by_an_object(rig: Rig) -> None:
    concerned = rig.reconciler.hosts_concerned
    rig.do(put("context", schema(1)), put("red", network(200)))
    assert concerned(rig.intent.networks["blue"]) == {"hv1", "hv2"}
    assert concerned(rig.intent.networks["red"]) == set()
    assert concerned(rig.intent.ports["web1"]) == {"hv1", "hv2"}
    assert concerned(rig.intent.hosts["hv1"]) == {"hv1"}
    assert concerned(rig.intent.option_schemas["context"]) == {"hv1", "hv2"}


async def test_acknowledged_waits_for_every_host_and_no_longer(rig: Rig) -> None:
    rig.do(put("web1", port("blue", 1, "10.0.0.7")))
    held = rig.intent.ports["web1"]
    waiter = asyncio.create_task(rig.reconciler.acknowledged({"hv1", "hv2"}, held.revision, held.key))
    await asyncio.sleep(0)
    rig.channels[1].settle()
    await asyncio.sleep(0)
    assert not waiter.done()
    # What comes later is not waited for.
    rig.do(put("db1", port("blue", 2, "10.0.0.8")))
    rig.channels[2].answer()
    async with asyncio.timeout(1):
        await waiter
    assert rig.channels[2].waiting


async def test_acknowledged_ends_when_the_object_is_refused(rig: Rig) -> None:
    rig.bridges[1].refuse = lambda message: "OFPFMFC_TABLE_FULL"
    rig.do(put("rule", drop_policy("blue")))
    held = rig.intent.option_policies["rule"]
    waiter = asyncio.create_task(rig.reconciler.acknowledged({"hv1", "hv2"}, held.revision, held.key))
    await asyncio.sleep(0)
    rig.settle()
    async with asyncio.timeout(1):
        await waiter


async def test_acknowledged_ends_when_the_host_goes(rig: Rig) -> None:
    rig.disconnect(1)
    rig.do(put("web1", port("blue", 1, "10.0.0.7")))
    held = rig.intent.ports["web1"]
    waiters = [
        asyncio.create_task(rig.reconciler.acknowledged({"hv1"}, held.revision, held.key)) for _ in range(2)
    ]
    await asyncio.sleep(0)
    waiters.pop().cancel()
    await asyncio.sleep(0)
    rig.do(delete("host/hv1"))
    rig.fire()
    async with asyncio.timeout(1):
        await waiters[0]


def test_only_hosts_that_are_served_are_kept_equal(rig: Rig) -> None:
    """Hosts that another controller serves are let go as they are: no flow goes, none is looked after."""
    rig.settle()
    asked = len(rig.channels[2].asked)
    rig.reconciler.serve(frozenset({"hv1"}))
    assert rig.links.enrolled == {"hv1"}
    assert rig.links.released == []
    rig.do(put("new", port("blue", 50, "10.0.0.50")), bind("new", "hv2"))
    rig.report("hv2", 2, db1=5, new=6)
    rig.settle()
    assert rig.in_sync("hv1", 1)
    assert len(rig.channels[2].asked) == asked
    assert set(rig.reconciler.programmers) == {"hv1"}
    rig.reconciler.serve(None)
    rig.report("hv2", 2, db1=5, new=6)
    rig.settle()
    assert rig.links.enrolled == {"hv1", "hv2"}
    assert rig.in_sync("hv2", 2)


class OtherControllers:
    """Whom hosts are shared with, and how far they say theirs are."""

    def __init__(self) -> None:
        self.holder: str | None = "other"
        self.acknowledged = 0
        self.told = ""

    def holder_of(self, host: str) -> str | None:
        return self.holder

    def is_behind(self, host: str, revision: int) -> bool:
        return self.acknowledged < revision

    def told_of(self, host: str) -> str:
        return self.told


async def test_hosts_of_other_controllers_are_waited_for(rig: Rig) -> None:
    rig.settle()
    peers = rig.reconciler.elsewhere.peers = OtherControllers()
    rig.reconciler.serve(frozenset({"hv1"}))
    rig.do(put("new", port("blue", 50, "10.0.0.50")))
    rig.settle()
    port_new = rig.intent.ports["new"]
    waiting = asyncio.create_task(
        rig.reconciler.acknowledged(("hv1", "hv2"), rig.intent.revision, port_new.key)
    )
    await asyncio.sleep(0)
    rig.reconciler.peers_changed()
    await asyncio.sleep(0)
    assert not waiting.done()
    assert rig.condition(Kind.PORT, "new", "Programmed").message == "not acknowledged yet: hv2"
    assert rig.condition(Kind.HOST, "hv2", "Programmed").reason == "Pending"
    peers.acknowledged = rig.intent.revision
    rig.reconciler.peers_changed()
    await waiting
    assert rig.condition(Kind.PORT, "new", "Programmed").status is Truth.TRUE
    connected = rig.condition(Kind.HOST, "hv2", "Connected")
    assert (connected.status, connected.reason) == (Truth.UNKNOWN, "ServedElsewhere")
    peers.holder = None
    assert rig.condition(Kind.HOST, "hv2", "Programmed").reason == "NotServed"
    assert rig.condition(Kind.PORT, "new", "Programmed").reason == "HostUnreachable"


def test_switch_that_does_not_answer_delays_nobody_else(rig: Rig) -> None:
    for last in range(10, 60):
        rig.do(put("web1", port("blue", 1, f"10.0.0.{last}")))
        rig.channels[2].settle()
        assert rig.in_sync("hv2", 2)
    stuck = rig.reconciler.programmers["hv1"]
    assert stuck.phase is Phase.APPLYING
    # Fifty changes are one: what the last left, and what all of them took away.
    asked = len(rig.channels[1].asked)
    rig.settle()
    assert len(rig.channels[1].asked) == asked + 1
    assert rig.in_sync("hv1", 1)


def test_what_a_host_can_do_is_asked_when_there_is_something_to_know() -> None:
    rig = Rig()
    told: list[str] = []
    rig.reconciler.on_host = told.append
    rig.do(put("hv1", host("192.0.2.1")), put("blue", network(100)))
    rig.report("hv1", 1)
    rig.connect(1)
    rig.settle()
    assert told == ["hv1"] * 3, "declared, its database, its bridge"
    rig.do(put("context", schema(1)))
    rig.settle()
    assert len(told) == 3, "an acknowledgement is no news of that"
    rig.do(delete("host/hv1"), put("hv1", host("192.0.2.1")))
    assert len(told) == 4, "what was recorded went with it"
    rig.disconnect(1)
    rig.connect(1)
    rig.settle()
    assert len(told) == 5


def test_a_host_is_programmed_once_it_is_recorded_what_it_can_do() -> None:
    rig = Rig()
    rig.reconciler.records_hosts = True
    rig.do(put("hv1", host("192.0.2.1")))
    rig.report("hv1", 1)
    rig.connect(1)
    rig.settle()

    def programmed() -> str:
        conditions = rig.reconciler.conditions(rig.intent.hosts["hv1"])
        return next(one.reason for one in conditions if one.type == "Programmed")

    assert programmed() == "Pending"
    rig.do(Record(name="hv1", spec=CapabilitySpec()))
    assert programmed() == "Acknowledged"


def test_a_policy_that_somebody_took_away_since_is_told_of_all_the_same(rig: Rig) -> None:
    rig.do(put("web", group()), put("blue", network(100, "identity")))
    rig.do(put("between", group_policy("blue", "web")), put("by-option", drop_policy("blue")))
    held = [rig.intent.policies["between"], rig.intent.option_policies["by-option"]]
    rig.do(delete("policy/between"), delete("option-policy/by-option"))
    for one in held:
        assert {told.type for told in rig.reconciler.conditions(one)} == {"Accepted", "Programmed"}


def test_a_policy_of_senders_says_that_what_it_reads_is_not_sent_yet(rig: Rig) -> None:
    rig.do(put("web", group()), put("blue", network(100, "identity")))
    rig.do(
        put("out", OptionPolicySpec(network="blue", direction=Direction.EGRESS, from_group="web")),
        put("in", OptionPolicySpec(network="blue", from_group="web")),
    )
    effective = rig.condition(Kind.OPTION_POLICY, "out", "Effective")
    assert (effective.status, effective.reason) == (Truth.FALSE, "RollingOut")
    assert "identity" in effective.message
    assert rig.condition(Kind.OPTION_POLICY, "in", "Effective").status is Truth.TRUE
    held = rig.intent.rollouts["blue:identity"]
    sending = replace(held.spec, stage=RolloutStage.SENDERS)
    rig.do(Record(name="blue:identity", spec=sending))
    assert rig.condition(Kind.OPTION_POLICY, "out", "Effective").status is Truth.TRUE


def test_a_policy_that_steers_to_a_port_that_is_nowhere_says_so(rig: Rig) -> None:
    rig.do(put("fw", port("blue", 3)))
    steer = Steer(("fw",), None)
    rig.do(put("inspect", OptionPolicySpec(network="blue", direction=Direction.EGRESS, actions=(steer,))))
    effective = rig.condition(Kind.OPTION_POLICY, "inspect", "Effective")
    assert (effective.status, effective.reason) == (Truth.FALSE, "NotPlugged")
    assert "fw" in effective.message
    rig.do(bind("fw", "hv2"))
    assert rig.condition(Kind.OPTION_POLICY, "inspect", "Effective").status is Truth.TRUE
