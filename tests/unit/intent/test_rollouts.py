# SPDX-License-Identifier: Apache-2.0
"""What a network's change of options brings along, what the controller records, and what hosts can take."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.errors import Conflict, NotFound, StaleRevision
from controller.intent.commands import Forget, Record, evaluate
from controller.intent.intent import Intent
from controller.intent.model import CapabilitySpec, Kind, RolloutSpec, RolloutStage
from ovs_geneve.openflow.tlv_table import TlvMap
from tests.unit.intent.builders import after, delete, host, network, port, put, schema

CRITICAL = 0x81
KNOWS = CapabilitySpec(ovs_version="3.1.0", max_option_bytes=256, max_options=64, critical=True)
DROPS = replace(KNOWS, critical=False)
ON, OFF = network(100, "context"), network(100)
NAME = "blue:context"


def world(*more) -> Intent:
    """Two hosts, an option, a network; in whatever order more comes."""
    return after(
        Intent(),
        put("hv1", host("192.0.2.1")),
        put("hv2", host("192.0.2.2")),
        put("context", schema(1)),
        put("blue", OFF),
        *more,
    )


IN_USE = put("web1", port("blue", 1, "10.0.0.1"))


def stage(stage: RolloutStage, reason: str = "", incoming: bool = True, **rest) -> Record:
    spec = RolloutSpec(network="blue", schema="context", incoming=incoming, stage=stage, reason=reason)
    return Record(name=NAME, spec=spec, **rest)


def test_a_network_without_ports_rolls_nothing_out() -> None:
    assert not world(put("blue", ON)).rollouts
    assert not world(put("blue", ON), put("blue", OFF)).rollouts


def test_in_begins_with_receivers_and_out_with_senders() -> None:
    intent = world(IN_USE, put("blue", ON))
    assert intent.rollouts[NAME].spec == stage(RolloutStage.RECEIVERS).spec
    intent = after(intent, Forget(kind=Kind.ROLLOUT, name=NAME), put("blue", OFF))
    assert intent.rollouts[NAME].spec == stage(RolloutStage.SENDERS, incoming=False).spec


@pytest.mark.parametrize("reached", [RolloutStage.CANARY, RolloutStage.SENDERS, RolloutStage.ROLLED_BACK])
def test_an_option_turns_round_on_its_way(reached: RolloutStage) -> None:
    intent = world(IN_USE, put("blue", ON), stage(reached), put("blue", OFF))
    assert intent.rollouts[NAME].spec == stage(RolloutStage.SENDERS, incoming=False).spec
    intent = after(intent, put("blue", ON))
    assert intent.rollouts[NAME].spec == stage(RolloutStage.RECEIVERS).spec


def test_what_was_rolled_back_begins_anew_when_the_network_is_put_again_and_nothing_else_does() -> None:
    before = world(IN_USE, put("blue", ON), stage(RolloutStage.ROLLED_BACK, "canary failed"))
    intent = after(before, put("blue", ON))
    assert intent.rollouts[NAME].spec == stage(RolloutStage.RECEIVERS).spec
    assert intent.networks["blue"] == before.networks["blue"], "the network itself is as it was"
    under_way = after(intent, stage(RolloutStage.SENDERS, "waits"))
    assert after(under_way, put("blue", ON)).revision == under_way.revision


def test_a_network_that_goes_takes_its_rollouts_along() -> None:
    intent = world(IN_USE, put("blue", ON), delete("port/web1"), delete("network/blue"))
    assert not intent.rollouts
    with pytest.raises(NotFound):
        evaluate(intent, stage(RolloutStage.CANARY))


def test_an_option_on_its_way_out_is_not_deleted() -> None:
    with pytest.raises(Conflict) as refused:
        evaluate(world(IN_USE, put("blue", ON), put("blue", OFF)), delete("option-schema/context"))
    assert refused.value.holder in ("network/blue", "rollout/blue:context")


def test_what_was_found_out_about_another_revision_means_nothing() -> None:
    intent = world(IN_USE, put("blue", ON))
    seen = intent.rollouts[NAME].revision
    moved = after(intent, stage(RolloutStage.CANARY, seen=seen))
    for late in (stage(RolloutStage.SENDERS, seen=seen), Forget(kind=Kind.ROLLOUT, name=NAME, seen=seen)):
        with pytest.raises(StaleRevision):
            evaluate(moved, late)
    assert not after(moved, Forget(kind=Kind.ROLLOUT, name=NAME, seen=moved.rollouts[NAME].revision)).rollouts
    gone = after(moved, Forget(kind=Kind.ROLLOUT, name=NAME))
    assert not evaluate(gone, Forget(kind=Kind.ROLLOUT, name=NAME, seen=seen)).changes, "over is over"


def test_a_record_that_says_the_same_costs_nothing_and_goes_with_its_host() -> None:
    intent = world(Record(name="hv1", spec=KNOWS))
    assert not evaluate(intent, Record(name="hv1", spec=KNOWS)).changes
    assert not after(intent, delete("host/hv1")).capabilities
    with pytest.raises(NotFound):
        evaluate(after(intent, delete("host/hv1")), Record(name="hv1", spec=KNOWS))


def refused(intent: Intent, command) -> Conflict:
    with pytest.raises(Conflict) as raised:
        evaluate(intent, command)
    return raised.value


def test_a_critical_option_wants_every_host_to_understand_it() -> None:
    critical = put("alarm", schema(CRITICAL))
    wanted = put("blue", network(100, "alarm"))
    one = world(critical, Record(name="hv1", spec=KNOWS))
    error = refused(one, wanted)
    assert (error.code, error.pointer, error.holder) == ("peer-cannot-parse", "/options/0", "host/hv2")
    assert "has not told" in str(error)
    error = refused(after(one, Record(name="hv2", spec=DROPS)), wanted)
    assert (error.code, error.holder) == ("peer-cannot-parse", "host/hv2")
    assert "drops" in str(error)
    both = after(one, Record(name="hv2", spec=KNOWS))
    assert after(both, wanted).networks["blue"].spec.options == ("alarm",)
    assert after(one, put("blue", ON)).networks["blue"].spec.options == ("context",), (
        "others need no such thing"
    )


def test_an_option_that_a_host_has_no_room_for() -> None:
    small = replace(KNOWS, max_option_bytes=16, foreign=(TlvMap(0xFF77, 1, 8, 60),))
    intent = world(Record(name="hv1", spec=KNOWS), Record(name="hv2", spec=small))
    error = refused(intent, put("wide", schema(2, length=8)))
    assert (error.code, error.pointer, error.holder) == ("peer-cannot-parse", "/length", "host/hv2")
    assert "host hv2 has room for 16 bytes of options: 12 of ours and 8 of others do not fit" in str(error)
    assert after(intent, put("narrow", schema(2))).option_schemas["narrow"].spec.slot == 1


def test_an_option_that_somebody_else_mapped() -> None:
    foreign = replace(KNOWS, foreign=(TlvMap(0xFF00, 2, 4, 60), TlvMap(0xFF77, 1, 4, 1)))
    intent = world(Record(name="hv2", spec=foreign))
    error = refused(intent, put("second", schema(2)))
    assert (error.code, error.pointer, error.holder) == ("option-type-foreign", "/type", "host/hv2")
    # A slot that is taken anywhere is given nowhere.
    assert after(intent, put("third", schema(3))).option_schemas["third"].spec.slot == 2
