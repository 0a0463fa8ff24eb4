# SPDX-License-Identifier: Apache-2.0
"""What goes wrong once must not stay wrong: refusals, faults, hosts that go and come at a bad moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from controller.hoststate import HostFacts
from controller.intent.commands import Bind, Command, Unbind, evaluate
from controller.intent.intent import Intent, merged
from controller.intent.model import HostSpec, Kind, Object
from controller.reconciler import binder as binder_module
from controller.reconciler.binder import Binder
from controller.reconciler.programmer import Phase
from controller.reconciler.reconciler import Reconciler
from controller.southbound.ports import HostReport, LinkState, Problem
from ovs_geneve.openflow.events import Applied, Bundle, Observed, Refusal, Refused, Step
from tests.builders import delete, host, network, port, put

DPID = 5
EMPTY = Observed(tlv_maps=(), groups={}, flows={}, max_option_space=256, max_fields=64)


class Links:
    """Notes who was released."""

    def __init__(self) -> None:
        self.released: list[str] = []

    def enrol(self, host: Object[HostSpec]) -> None:
        pass

    def release(self, name: str) -> None:
        self.released.append(name)

    def look_again(self, name: str) -> None:
        """Look at nothing."""


class Bridge:
    """Notes what is asked of it; the test answers."""

    def __init__(self) -> None:
        self.asked: list[Sequence[Step] | None] = []

    def observe(self) -> None:
        self.asked.append(None)

    def apply(self, steps: Sequence[Step]) -> None:
        self.asked.append(steps)

    def messages(self) -> list[bytes]:
        steps = self.asked[-1]
        assert steps is not None
        return [message for step in steps if isinstance(step, Bundle) for message in step.messages]


class World:
    """A reconciler and a binder, without hosts, store or clock."""

    def __init__(self) -> None:
        self.intent = Intent()
        self.timers: list[Callable[[], None]] = []
        self.submitted: list[Command] = []
        self.faults: list[Exception] = []
        self.links = Links()
        self.binder = Binder(lambda: self.intent, self._submit)
        self.reconciler = Reconciler(self.binder, self.links, lambda _, action: self.timers.append(action))
        self.do(put("hv1", host("192.0.2.1")), put("blue", network(100)), put("web1", port("blue", 1)))

    def do(self, *commands: Command) -> None:
        before, changes = self.intent, []
        for command in commands:
            decision = evaluate(self.intent, command)
            self.intent = self.intent.with_changes(decision.changes, self.intent.revision + 1)
            changes += decision.changes
        self.reconciler.intent_changed(before, self.intent, merged(changes))

    def report(self, dpid: int = DPID, **ofports: int) -> None:
        facts = HostFacts(dpid=dpid, ofports=ofports)
        self.reconciler.host_reported("hv1", HostReport(state=LinkState.CONNECTED, facts=facts))

    async def _submit(self, command: Bind | Unbind) -> None:
        if self.faults:
            raise self.faults.pop()
        self.submitted.append(command)
        self.do(command)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(binder_module, "_RETRY_SECONDS", 0.0)
    return World()


async def some_turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_host_declared_again_before_it_is_let_go_gets_its_ports_back(world: World) -> None:
    binding = asyncio.create_task(world.binder.run())
    world.report(web1=1)
    await some_turns()
    assert world.intent.host_of("web1") == "hv1"
    world.do(delete("host/hv1"))
    await some_turns()
    world.do(put("hv1", host("192.0.2.1")))
    world.report(dpid=DPID + 1, web1=1)
    await some_turns()
    assert world.intent.host_of("web1") == "hv1"
    binding.cancel()


async def test_a_fault_does_not_end_the_binder(world: World, caplog: pytest.LogCaptureFixture) -> None:
    binding = asyncio.create_task(world.binder.run())
    world.faults.append(RuntimeError("a fault of ours"))
    world.report(web1=1)
    await some_turns()
    assert world.submitted == [Bind(port="web1", host="hv1")]
    assert "a fault of ours" in caplog.text
    binding.cancel()


async def test_who_waits_for_a_host_hears_that_it_was_let_go(world: World) -> None:
    key = world.intent.hosts["hv1"].key
    waiting = asyncio.create_task(world.reconciler.acknowledged(["hv1"], world.intent.revision, key))
    await some_turns()
    assert not waiting.done()
    world.do(delete("host/hv1"))
    for action in world.timers:
        action()
    await some_turns()
    assert world.links.released == ["hv1"]
    assert waiting.done()


def refused(world: World, bridge: Bridge) -> bytes:
    """Have the bridge refuse one flow of web1; return the flow."""
    world.report(web1=1)
    world.reconciler.switch_connected(DPID, bridge)
    world.do(Bind(port="web1", host="hv1"))
    world.reconciler.switch_event(DPID, bridge, EMPTY)
    messages = bridge.messages()
    flow = messages[-1]
    refusal = Refusal(name="OFPFMFC_TABLE_FULL", error_type=5, code=1, index=len(messages) - 1, message=flow)
    world.reconciler.switch_event(DPID, bridge, Refused(step=0, refusals=(refusal,), committed=0))
    world.reconciler.switch_event(DPID, bridge, EMPTY)
    assert flow not in bridge.messages()
    world.reconciler.switch_event(DPID, bridge, Applied())
    return flow


def test_a_bridge_that_connects_again_gets_what_it_refused(world: World) -> None:
    first, second = Bridge(), Bridge()
    flow = refused(world, first)
    assert world.reconciler.programmers["hv1"].refusals.objects
    world.reconciler.switch_disconnected(DPID, first)
    world.reconciler.switch_connected(DPID, second)
    assert not world.reconciler.programmers["hv1"].refusals.objects
    world.reconciler.switch_event(DPID, second, EMPTY)
    assert flow in second.messages()


def test_a_host_that_cannot_be_provisioned_keeps_what_is_known_of_it(world: World) -> None:
    bridge = Bridge()
    world.report(web1=1)
    world.reconciler.switch_connected(DPID, bridge)
    problem = Problem(reason="BridgeNotOwned", message="Bridge br-int exists and is not ours")
    world.reconciler.host_reported("hv1", HostReport(state=LinkState.CONNECTED, problem=problem))
    facts = world.reconciler.report("hv1").facts
    assert facts is not None
    assert facts.ofports == {"web1": 1}
    world.report(web1=1)
    assert bridge.asked == [None], "it is observed once, not again beside what is under way"
    assert world.reconciler.programmers["hv1"].phase is Phase.OBSERVING


def test_a_group_that_no_message_can_carry_takes_nothing_else_with_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    many = [f"many{number}" for number in range(1700)]
    world.do(*(put(name, port("blue", 10 + number)) for number, name in enumerate(many)))
    world.report(web1=1)
    world.do(
        put("hv2", host("192.0.2.2")),
        Bind(port="web1", host="hv1"),
        *(Bind(port=name, host="hv1") for name in many),
    )
    assert "a message has at most" in caplog.text
    assert "hv2" in world.reconciler.programmers
    desired = world.reconciler.compiler.desired("hv1")
    web1 = world.intent.get(Kind.PORT, "web1")
    assert web1 is not None
    assert any(flow.cookie >> 28 & 0x3FFFFF == web1.key for flow in desired.flows.values())
