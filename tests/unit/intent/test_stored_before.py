# SPDX-License-Identifier: Apache-2.0
"""What is stored stays as it is: put again it changes nothing, whatever was declared, or forbidden, since."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.errors import Conflict, Invalid
from controller.intent.commands import Record, evaluate
from controller.intent.identity import IDENTITY
from controller.intent.intent import Intent
from controller.intent.model import FIRST_DIRECT_VNI, CapabilitySpec, Direction, Kind, direct_vni
from controller.intent.rules import Mirror, RuleAction, Steer
from tests.unit.intent.builders import (
    after,
    delete,
    fabric,
    group,
    host,
    network,
    policy,
    put,
    rolled_out,
    schema,
)

ABLE = CapabilitySpec(critical=True, max_option_bytes=256, max_options=64)


def with_stored_vni(intent: Intent, name: str, vni: int) -> Intent:
    """Return an intent as a store has it in which any VNI could be a network's."""
    held = intent.networks[name]
    stored = replace(held, spec=replace(held.spec, vni=vni))
    objects = [stored if one is held else one for kind in Kind for one in intent.objects(kind).values()]
    return Intent.of(objects, intent.revision, intent.last_key)


def test_the_next_version_outlives_the_one_before() -> None:
    nxt = put("next", schema(3, replaces="spare"))
    intent = after(fabric(), nxt, put("red", network(200)), rolled_out("red", "spare"))
    intent = after(intent, delete("option-schema/spare"))
    assert evaluate(intent, nxt).changes == ()
    assert evaluate(intent, put("next", schema(3, replaces="spare"), labels=(("a", "b"),))).changes
    with pytest.raises(Invalid, match="no option schema spare before this"):
        evaluate(intent, put("other", schema(4, replaces="spare")))


def test_a_host_that_has_not_told_yet_is_in_the_way_of_new_critical_options_only() -> None:
    told = [Record(name=name, spec=ABLE) for name in ("hv1", "hv2")]
    options = put("critical", schema(0x81)), put("other", schema(0x82))
    green = put("green", network(300, "critical"))
    intent = after(fabric(), *told, *options, green, put("hv3", host("192.0.2.3")))
    assert evaluate(intent, green).changes == ()
    assert evaluate(intent, put("green", network(300, "critical", "context"))).changes
    with pytest.raises(Conflict) as caught:
        evaluate(intent, put("green", network(300, "critical", "other")))
    refused = caught.value
    assert (refused.code, refused.pointer, refused.holder) == ("peer-cannot-parse", "/options/1", "host/hv3")


@pytest.mark.parametrize(
    ("direction", "action"),
    [(Direction.INGRESS, Mirror("far1")), (Direction.EGRESS, Steer(("far1",), None))],
)
def test_packets_for_a_port_alone_never_look_like_those_of_a_network(
    direction: Direction, action: RuleAction
) -> None:
    told = put("told", policy("red", direction=direction, actions=(action,), action=None))
    assert evaluate(fabric(), told).changes
    vni = direct_vni(fabric().ports["far1"].key)
    intent = with_stored_vni(fabric(), "blue", vni)
    with pytest.raises(Conflict) as caught:
        evaluate(intent, told)
    refused = caught.value
    assert (refused.code, refused.holder) == ("direct-vni-taken", "network/blue")
    assert refused.pointer.startswith("/actions/0/")


def test_a_vni_of_direct_delivery_stays_where_it_is_and_is_not_given_again() -> None:
    intent = with_stored_vni(fabric(), "blue", FIRST_DIRECT_VNI + 9)
    same = network(FIRST_DIRECT_VNI + 9, "context", values={"context.zone": 7})
    assert evaluate(intent, put("blue", same)).changes == ()
    assert evaluate(intent, put("blue", replace(same, vni=None))).changes == ()
    for name in ("blue", "green"):
        with pytest.raises(Invalid, match="want 1 to"):
            evaluate(intent, put(name, network(FIRST_DIRECT_VNI + 10)))


def test_an_option_that_had_the_name_of_the_built_in_one_first() -> None:
    intent = after(fabric(), put("own", schema(9)))
    held = intent.option_schemas["own"]
    spec = replace(held.spec, layout=replace(held.spec.layout, name=IDENTITY))
    objects = [one for kind in Kind for one in intent.objects(kind).values() if one is not held]
    intent = Intent.of([*objects, replace(held, name=IDENTITY, spec=spec)], intent.revision, intent.last_key)
    assert evaluate(intent, put(IDENTITY, schema(9))).changes == ()
    with pytest.raises(Conflict) as caught:
        evaluate(intent, put("web", group()))
    assert (caught.value.code, caught.value.holder) == ("option-reserved", f"option-schema/{IDENTITY}")
    assert evaluate(after(intent, delete(f"option-schema/{IDENTITY}")), put("web", group())).changes
