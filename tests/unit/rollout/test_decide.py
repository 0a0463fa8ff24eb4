# SPDX-License-Identifier: Apache-2.0
"""Every stage of a rollout, and all that it may wait for."""

from __future__ import annotations

import pytest

from controller.intent.commands import Forget, Record
from controller.intent.model import Kind, Object, RetiredSlotSpec, RolloutSpec, RolloutStage
from controller.rollout.canary import Outcome, Verdict
from controller.rollout.decide import (
    DRAIN_SECONDS,
    SAY_SECONDS,
    Done,
    Sight,
    Verify,
    Wait,
    decide,
    decide_rest,
    waiting_for,
)
from ovs_geneve.openflow.tlv_table import TlvMap

IN, OUT = True, False
RECEIVERS, CANARY, SENDERS, ROLLED_BACK = RolloutStage
ALL_WELL = Sight(lacking={}, settled_for=60.0)
PAIR = Sight(lacking={}, settled_for=60.0, pair=("hv1", "hv2"))
HV3 = {"hv3": "not connected"}


def rollout(incoming: bool, stage: RolloutStage, reason: str = "") -> Object[RolloutSpec]:
    spec = RolloutSpec(network="blue", schema="context", incoming=incoming, stage=stage, reason=reason)
    return Object(kind=Kind.ROLLOUT, name="blue:context", key=7, spec=spec, revision=12)


def record(incoming: bool, stage: RolloutStage, reason: str = "") -> Record:
    return Record(name="blue:context", spec=rollout(incoming, stage, reason).spec, seen=12)


GONE = Forget(kind=Kind.ROLLOUT, name="blue:context", seen=12)


def with_outcome(verdict: Verdict, reason: str = "") -> Sight:
    return Sight(lacking={}, pair=("hv1", "hv2"), outcome=Outcome(verdict=verdict, reason=reason))


@pytest.mark.parametrize(
    ("incoming", "stage", "sight", "expected"),
    [
        (IN, RECEIVERS, ALL_WELL, record(IN, CANARY)),
        (IN, CANARY, PAIR, Verify("hv1", "hv2")),
        (IN, CANARY, Sight(lacking={}, no_pair="why"), record(IN, SENDERS, "canary skipped: why")),
        (IN, CANARY, with_outcome(Verdict.PASSED, "a pair"), record(IN, SENDERS, "canary passed: a pair")),
        (IN, CANARY, with_outcome(Verdict.NOT_PROBED, "w"), record(IN, SENDERS, "canary not probed: w")),
        (IN, CANARY, with_outcome(Verdict.FAILED, "got 0"), record(IN, ROLLED_BACK, "canary failed: got 0")),
        (IN, SENDERS, ALL_WELL, GONE),
        (IN, ROLLED_BACK, ALL_WELL, Done()),
        (IN, ROLLED_BACK, Sight(lacking=HV3, waiting=60.0), Done()),
        (OUT, SENDERS, ALL_WELL, record(OUT, RECEIVERS)),
        (OUT, RECEIVERS, ALL_WELL, GONE),
    ],
)
def test_next(incoming: bool, stage: RolloutStage, sight: Sight, expected: object) -> None:
    assert decide(rollout(incoming, stage), sight) == expected


@pytest.mark.parametrize(
    ("incoming", "stage"),
    [(IN, RECEIVERS), (IN, CANARY), (IN, SENDERS), (OUT, SENDERS), (OUT, RECEIVERS)],
)
def test_a_host_that_is_down_is_waited_for_in_every_stage_and_said_once(
    incoming: bool, stage: RolloutStage
) -> None:
    reason = "waits for host hv3: not connected"
    at_first = decide(rollout(incoming, stage), Sight(lacking=HV3))
    assert at_first == Wait(reason, SAY_SECONDS), "milliseconds are not worth a commit"
    later = Sight(lacking=HV3, waiting_for=reason, waiting=SAY_SECONDS)
    assert decide(rollout(incoming, stage), later) == record(incoming, stage, reason)
    for waited in (0.0, 1.0, 100_000.0):
        # The record says so already: time alone writes nothing.
        sight = Sight(lacking=HV3, waiting_for=reason, waiting=waited)
        assert decide(rollout(incoming, stage, reason), sight) == Wait(reason)
    for_another = Sight(lacking=HV3, waiting_for="waits for host hv3: not acknowledged yet", waiting=60.0)
    assert decide(rollout(incoming, stage), for_another) == Wait(reason, SAY_SECONDS)


def test_packets_under_way_are_waited_for_before_receivers_forget() -> None:
    sight = Sight(lacking={}, settled_for=0.25)
    assert decide(rollout(OUT, SENDERS), sight) == Wait("waits for packets under way", DRAIN_SECONDS - 0.25)
    # What nobody sends yet needs no such thing.
    assert decide(rollout(IN, RECEIVERS), sight) == record(IN, CANARY)


def test_a_canary_that_passed_counts_for_nothing_while_a_host_is_missing() -> None:
    sight = Sight(lacking=HV3, pair=("hv1", "hv2"), outcome=Outcome(verdict=Verdict.PASSED))
    assert isinstance(decide(rollout(IN, CANARY), sight), Wait)


def test_reasons_name_a_few_hosts() -> None:
    many = {f"hv{number}": "not connected" for number in range(9)}
    said = waiting_for(many)
    assert said.startswith("waits for hosts hv0: not connected; hv1: not connected; hv2")
    assert said.endswith("; and 6 more")
    assert waiting_for(dict(reversed(many.items()))) == said, "whatever order they are found in"


SLOT = Object(
    kind=Kind.RETIRED_SLOT,
    name="slot-0",
    key=9,
    spec=RetiredSlotSpec(tlv_map=TlvMap(0xFF00, 1, 4, 0)),
    revision=20,
)


def test_a_slot_rests_until_all_have_let_go_and_packets_are_gone() -> None:
    assert decide_rest(SLOT, Sight(lacking=HV3), 10.0) == Wait("waits for host hv3: not connected")
    resting = Sight(lacking={}, settled_for=9.0)
    assert decide_rest(SLOT, resting, 10.0) == Wait("waits for packets under way", 1.0)
    rested = Sight(lacking={}, settled_for=10.0)
    assert decide_rest(SLOT, rested, 10.0) == Forget(kind=Kind.RETIRED_SLOT, name="slot-0", seen=20)
