# SPDX-License-Identifier: Apache-2.0
"""Rollouts are carried on by themselves: over a real intent service, with hosts and a canary that a test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

import pytest

from controller.intent.commands import Command, Delete
from controller.intent.intent import Intent
from controller.intent.model import Kind, RolloutStage
from controller.intent.service import IntentService
from controller.intent.store import MemoryStore
from controller.rollout.canary import Outcome, Verdict
from controller.rollout.runner import Rollouts
from ovs_geneve.openflow.tlv_table import TlvMap
from tests.builders import bind, network, port, put, schema
from tests.unit.intent.builders import host

RECEIVERS, CANARY, SENDERS, ROLLED_BACK = RolloutStage
QUARANTINE = 10.0


class Clock:
    """Time, as a test has it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Played:
    """Hosts that acknowledge when told to, and a canary that says what it is told to."""

    def __init__(self, service: IntentService) -> None:
        self._service = service
        self.acknowledged: dict[str, int] = {}
        self.ours = True
        self.probed: list[tuple[str, str, str, str]] = []
        self.outcome = Outcome(verdict=Verdict.PASSED)
        self.answers = asyncio.Event()
        self.answers.set()

    @property
    def intent(self) -> Intent:
        return self._service.intent

    def hosts_of(self, network: str) -> frozenset[str]:
        bound = (self.intent.host_of(name) for name in self.intent.ports_of(network))
        return frozenset(name for name in bound if name is not None)

    def lacks(self, host: str, revision: int, object_key: int, option: TlvMap | None) -> str:
        return "" if self.acknowledged.get(host, 10_000) >= revision else "not connected"

    def is_ours(self, hosts: Iterable[str]) -> bool:
        return self.ours

    async def verify(self, network: str, schema: str, source: str, destination: str) -> Outcome:
        self.probed.append((network, schema, source, destination))
        await self.answers.wait()
        return self.outcome


class Rig:
    """A network on two hosts, and who carries its rollouts on."""

    def __init__(self) -> None:
        self.service = IntentService(MemoryStore())
        self.played = Played(self.service)
        self.clock = Clock()
        self.commits: list[RolloutStage | None] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.all: list[Rollouts] = []
        self.begin()

    def begin(self) -> Rollouts:
        """Start one more controller, or the same again."""
        made = Rollouts(self.played, self.service.submit, self.clock, quarantine=QUARANTINE)
        made.canary = self.played
        self.all.append(made)
        return made

    async def start(self) -> None:
        await self.service.start()
        self.service.on_change = lambda before, after, changes: [
            one.intent_changed(changes) for one in self.all
        ]
        await self.do(
            *(put(name, host(number)) for number, name in enumerate(("hv1", "hv2"), 1)),
            put("context", schema(1)),
            put("blue", network(100)),
            *(put(f"web{n}", port("blue", n, f"10.0.0.{n}")) for n in (1, 2)),
            *(bind(f"web{n}", f"hv{n}") for n in (1, 2)),
        )

    def run(self) -> None:
        self.tasks += [asyncio.create_task(one.run()) for one in self.all[len(self.tasks) :]]

    async def stop(self) -> None:
        """End the controllers; the store stays."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks, self.all = [], []

    async def do(self, *commands: Command) -> None:
        for command in commands:
            await self.service.submit(command)

    def look(self) -> None:
        for one in self.all:
            one.look_again()

    @property
    def rollout(self):
        held = self.service.intent.rollouts.get("blue:context")
        return None if held is None else held.spec

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self.look()
                await asyncio.sleep(0.005)

    async def reaches(self, stage: RolloutStage | None) -> None:
        def is_there() -> bool:
            return (None if self.rollout is None else self.rollout.stage) is stage

        await self.until(is_there)

    async def settled(self) -> None:
        """Give whoever has something to do the time to do it."""
        for _ in range(20):
            self.look()
            await asyncio.sleep(0.002)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    await made.start()
    yield made
    await made.stop()
    await made.service.stop()


ON, OFF = network(100, "context"), network(100)


async def test_in_and_out(rig: Rig) -> None:
    rig.run()
    await rig.do(put("blue", ON))
    await rig.reaches(None)
    assert rig.played.probed == [("blue", "context", "hv1", "hv2"), ("blue", "context", "hv2", "hv1")]
    await rig.do(put("blue", OFF))
    await rig.reaches(SENDERS)
    await rig.settled()
    assert rig.rollout is not None, "packets are under way"
    rig.clock.now += 1.5
    await rig.reaches(None)


@pytest.mark.parametrize("stage", [RECEIVERS, CANARY, SENDERS])
async def test_a_host_goes_down_in_any_stage_and_comes_back(rig: Rig, stage: RolloutStage) -> None:
    rig.played.answers.clear()
    rig.run()
    if stage is RECEIVERS:
        rig.played.acknowledged["hv2"] = 0
        await rig.do(put("blue", ON))
    else:
        await rig.do(put("blue", ON))
        await rig.reaches(CANARY)
        await rig.until(lambda: bool(rig.played.probed))
        if stage is SENDERS:
            # It goes the moment before senders are told.
            rig.played.acknowledged["hv2"] = rig.service.intent.revision
            rig.played.answers.set()
        else:
            rig.played.acknowledged["hv2"] = 0
    await rig.reaches(stage)
    await rig.settled()
    rig.clock.now += 1.0
    await rig.until(lambda: rig.rollout.reason == "waits for host hv2: not connected")
    revision = rig.service.intent.revision
    for _ in range(5):
        rig.clock.now += 1.0
        await rig.settled()
    assert rig.service.intent.revision == revision, "time alone writes nothing"
    assert rig.rollout.stage is stage
    del rig.played.acknowledged["hv2"]
    rig.played.answers.set()
    await rig.reaches(None)


async def test_a_host_that_is_taken_out_is_waited_for_no_more(rig: Rig) -> None:
    rig.run()
    rig.played.acknowledged["hv2"] = 0
    await rig.do(put("blue", ON))
    await rig.settled()
    assert rig.rollout.stage is RECEIVERS
    await rig.do(Delete(kind=Kind.HOST, name="hv2"))
    await rig.reaches(None)
    assert rig.played.probed == [], "one host has nobody to be probed with"


@pytest.mark.parametrize(
    ("incoming", "stage"),
    [(True, RECEIVERS), (True, CANARY), (True, SENDERS), (False, SENDERS), (False, RECEIVERS)],
)
async def test_the_controller_restarts_in_any_stage(rig: Rig, incoming: bool, stage: RolloutStage) -> None:
    rig.run()
    if not incoming:
        await rig.do(put("blue", ON))
        await rig.reaches(None)
    rig.played.answers.clear()
    rig.played.acknowledged["hv2"] = 0 if stage is RECEIVERS and incoming else 10_000
    await rig.do(put("blue", ON if incoming else OFF))
    if stage is SENDERS and incoming:
        await rig.reaches(CANARY)
        rig.played.acknowledged["hv2"] = rig.service.intent.revision
        rig.played.answers.set()
    if stage is RECEIVERS and not incoming:
        await rig.reaches(SENDERS)
        rig.played.acknowledged["hv2"] = rig.service.intent.revision
        rig.clock.now += 1.5
    await rig.reaches(stage)
    await rig.stop()
    rig.played.acknowledged.clear()
    rig.played.answers.set()
    rig.begin()
    rig.run()
    await rig.settled()
    rig.clock.now += 1.5
    await rig.reaches(None)


async def test_a_canary_that_fails_rolls_back_until_the_network_is_put_again(rig: Rig) -> None:
    rig.played.outcome = Outcome(
        verdict=Verdict.FAILED, reason="hv1 to hv2: context: expected 01, got nothing"
    )
    rig.run()
    await rig.do(put("blue", ON))
    await rig.reaches(ROLLED_BACK)
    assert rig.rollout.reason == "canary failed: hv1 to hv2: context: expected 01, got nothing"
    rig.clock.now += 3600.0
    await rig.settled()
    assert rig.rollout.stage is ROLLED_BACK
    rig.played.outcome = Outcome(verdict=Verdict.PASSED)
    await rig.do(put("blue", ON))
    await rig.reaches(None)


async def test_what_was_rolled_back_is_taken_off(rig: Rig) -> None:
    rig.played.outcome = Outcome(verdict=Verdict.FAILED)
    rig.run()
    await rig.do(put("blue", ON))
    await rig.reaches(ROLLED_BACK)
    await rig.do(put("blue", OFF))
    await rig.settled()
    rig.clock.now += 1.5
    await rig.reaches(None)


async def test_a_prober_that_breaks_rolls_back(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(*_: str) -> Outcome:
        raise RuntimeError("no way")

    rig.played.verify = broken  # type: ignore[method-assign]
    rig.run()
    await rig.do(put("blue", ON))
    await rig.reaches(ROLLED_BACK)
    assert "no way" in rig.rollout.reason


async def test_without_a_prober_nobody_is_asked(rig: Rig) -> None:
    rig.all[0].canary = None
    reasons = []
    rig.service.on_change = lambda before, after, changes: [
        *[one.intent_changed(changes) for one in rig.all],
        *[reasons.append(c.new.spec.reason) for c in changes if c.kind is Kind.ROLLOUT and c.new is not None],
    ]
    rig.run()
    await rig.do(put("blue", ON))
    await rig.reaches(None)
    assert reasons[-1] == "canary not probed: this controller sends no probes"


async def test_two_controllers_race_and_each_step_is_made_once(rig: Rig) -> None:
    stages = []

    def changed(before, after, changes) -> None:
        stages.extend(None if c.new is None else c.new.spec.stage for c in changes if c.kind is Kind.ROLLOUT)
        for one in rig.all:
            one.intent_changed(changes)

    rig.service.on_change = changed
    rig.begin()
    rig.run()
    await rig.do(put("blue", ON))
    await rig.reaches(None)
    await rig.settled()
    assert stages == [RECEIVERS, CANARY, SENDERS, None]


async def test_one_that_does_not_act_for_the_hosts_does_nothing(rig: Rig) -> None:
    rig.played.ours = False
    rig.run()
    await rig.do(put("blue", ON))
    await rig.settled()
    assert rig.rollout.stage is RECEIVERS
    rig.played.ours = True
    await rig.reaches(None)


async def test_a_user_who_changes_their_mind_wins_over_what_was_found_out(rig: Rig) -> None:
    rig.played.answers.clear()
    rig.run()
    await rig.do(put("blue", ON))
    await rig.reaches(CANARY)
    await rig.until(lambda: bool(rig.played.probed))
    await rig.do(put("blue", OFF))
    rig.played.answers.set()
    await rig.settled()
    assert not rig.rollout.incoming
    rig.clock.now += 1.5
    await rig.reaches(None)
    assert rig.service.intent.networks["blue"].spec.options == ()


async def test_who_waits_is_told_when_it_is_over(rig: Rig) -> None:
    rig.played.answers.clear()
    rig.run()
    await rig.do(put("blue", ON))
    waiting = asyncio.create_task(rig.all[0].finished("blue"))
    await rig.settled()
    assert not waiting.done()
    rig.played.answers.set()
    await asyncio.wait_for(waiting, 5)
    assert rig.rollout is None
    await asyncio.wait_for(rig.all[0].finished("red"), 5)


async def test_a_slot_rests_until_a_host_that_was_down_has_let_go(rig: Rig) -> None:
    rig.run()
    rig.played.acknowledged["hv2"] = rig.service.intent.revision
    await rig.do(Delete(kind=Kind.OPTION_SCHEMA, name="context"))
    rig.clock.now += 3600.0
    await rig.settled()
    assert rig.service.intent.retired_slots
    await rig.do(put("other", schema(2)))
    assert rig.service.intent.option_schemas["other"].spec.slot == 1
    del rig.played.acknowledged["hv2"]
    await rig.settled()
    assert rig.service.intent.retired_slots, "packets with the old meaning may be under way"
    rig.clock.now += QUARANTINE
    await rig.until(lambda: not rig.service.intent.retired_slots)
    await rig.do(put("third", schema(3)))
    assert rig.service.intent.option_schemas["third"].spec.slot == 0
