# SPDX-License-Identifier: Apache-2.0
"""What commands come to when nothing forbids them."""

from dataclasses import replace

import pytest

from controller.errors import Conflict
from controller.intent.commands import Bind, Unbind, evaluate
from controller.intent.intent import Intent
from controller.intent.model import Kind, PolicyAction, Tunables
from ovs_geneve.geneve.fields import FieldKind, OptionField
from tests.unit.intent.builders import (
    TIER,
    ZONE,
    after,
    delete,
    fabric,
    host,
    network,
    policy,
    port,
    put,
    rolled_out,
    schema,
)

ACCEPTED = [
    put("a" * 63, host("192.0.2.9")),
    put("0", host("192.0.2.9")),
    put("a.b_c-d", host("192.0.2.9"), labels=(("rack/row", ""), ("zone", "a1"))),
    put("h", host("127.0.0.9")),
    put("h", host("2001:db8::9", bridge="a" * 15)),
    put("h", host("192.0.2.9", ovsdb="unix:/run/openvswitch/db.sock")),
    put("h", host("192.0.2.9", ovsdb="tcp:[2001:db8::9]:6640")),
    put("h", host("192.0.2.9", tunables=Tunables(ttl=1, tos=0))),
    put("h", host("192.0.2.9", tunables=Tunables(ttl=255, tos=0xFC))),
    put("h", host("192.0.2.9", tunables=Tunables(ttl="inherit", tos="inherit"))),
    put("hv2", host("192.0.2.9")),
    put("n", network(1)),
    put("n", network((3 << 22) - 1)),
    put("n", network(None, "context", "spare", values={"context.tier": 255, "context.zone": 0})),
    put("red", network(200)),
    put("red", network(200, "spare", "context")),
    put("p", port("red", 2, "10.0.0.2")),
    put("p", port("blue", 9)),
    put("p", port("blue", 9, "fe80::1", values={"context.zone": 0xFFFF})),
    put("db1", port("blue", 3, "10.0.0.3", interface_id="elsewhere")),
    put("s", schema(0)),
    put("s", schema(255, option_class=0xFFFF, length=124)),
    put("s", schema(1, option_class=0x0104, allow_registered=True)),
    put("context", schema(1, fields=[ZONE, TIER])),
    put(
        "context",
        schema(1, fields=[TIER, ZONE, OptionField(name="n", kind=FieldKind.UINT, offset=24, bits=8)]),
    ),
    put("spare", schema(2, length=8, fields=[])),
    put("o", policy("red")),
    put("o", policy("blue", priority=0)),
    put("o", policy("blue", priority=10_000, action=PolicyAction.DROP)),
    put("o", policy("blue", {"context.tier": (0, 1), "context.zone": (0xFFFF, 0xFFFF)}, to_port="web1")),
    put("o", policy("blue", {"context.tier": (2, 0xFF)}, to_port="db1", priority=101)),
    put("tier2-only", policy("red", {"spare.tier": (2, 0xFF)}, to_port="far1")),
    delete("host/hv1"),
    delete("port/web1"),
    delete("option-policy/tier2-only"),
]


@pytest.mark.parametrize("command", ACCEPTED)
def test_accepted(command):
    before = fabric()
    decision = evaluate(before, command)
    done = before.with_changes(decision.changes, before.revision + 1)
    assert done.get(command.kind, command.name) is decision.result
    assert decision.created == (before.get(command.kind, command.name) is None)


def grades(**values):
    kind = FieldKind.ENUM
    return [OptionField(name="tier", kind=kind, offset=0, bits=8, names=tuple(values.items())), ZONE]


def test_a_name_in_use_keeps_its_value():
    before = after(fabric(), put("spare", schema(2, length=8, fields=grades(gold=1, silver=2))))
    used = after(before, put("red", network(200, "spare", values={"spare.tier": 1})))
    for better in (grades(gold=1, silver=2, bronze=3), grades(gold=1), grades(platinum=1, silver=2)):
        assert evaluate(used, put("spare", schema(2, length=8, fields=better))).changes
    with pytest.raises(Conflict, match=r"/fields/0: field spare.tier is used by network/red"):
        evaluate(used, put("spare", schema(2, length=8, fields=grades(gold=2, silver=1))))


def test_put_again_changes_nothing():
    intent = fabric()
    for held in [held for kind in Kind for held in intent.objects(kind).values()]:
        again = evaluate(intent, put(held.name, held.spec, labels=held.labels))
        assert again.changes == ()
        assert again.result is held
        assert not again.created


def test_order_of_values_and_labels_is_nothing():
    values = {"context.zone": 1, "context.tier": 2}
    backwards = dict(reversed(values.items()))
    intent = after(fabric(), put("p", port("blue", 9, values=values), labels=(("a", "1"), ("b", "2"))))
    again = put("p", port("blue", 9, values=backwards), labels=(("b", "2"), ("a", "1")))
    assert evaluate(intent, again).changes == ()


def test_replace_keeps_key_and_moves_revision():
    intent = fabric()
    held = intent.ports["web1"]
    result = evaluate(intent, put("web1", port("blue", 77), if_match=held.revision)).result
    assert result.key == held.key
    assert result.revision == intent.revision + 1
    assert result.spec.mac == 0x02000000004D


def test_labels_alone_are_a_change():
    intent = fabric()
    decision = evaluate(intent, put("web1", intent.ports["web1"].spec, labels=(("tier", "2"),)))
    assert decision.result.labels == (("tier", "2"),)
    assert len(decision.changes) == 1


def test_keys_are_never_used_twice():
    intent = after(fabric(), put("p", port("blue", 9)))
    key = intent.ports["p"].key
    again = after(intent, delete("port/p"), put("p", port("blue", 9)))
    assert again.ports["p"].key == key + 1


def test_vni_is_the_lowest_free_from_4096_and_stays():
    intent = after(Intent(), put("a", network()), put("b", network(4097)), put("c", network()))
    assert [intent.networks[name].spec.vni for name in "abc"] == [4096, 4097, 4098]
    assert evaluate(intent, put("c", network())).changes == ()
    intent = after(intent, delete("network/a"), put("d", network()))
    assert intent.networks["d"].spec.vni == 4096


def test_vni_allocation_passes_over_full_blocks():
    intent = after(Intent(), *(put(f"n{number}", network()) for number in range(600)))
    assert sorted(held.spec.vni for held in intent.networks.values()) == [*range(4096, 4696)]
    intent = after(intent, delete("network/n300"), put("again", network()))
    assert intent.networks["again"].spec.vni == 4396


def test_vni_may_change_while_there_is_no_port():
    intent = after(fabric(), delete("port/far1"), put("red", network(201, "spare")))
    assert intent.network_by_vni(200) is None
    assert intent.network_by_vni(201) == "red"


def test_slot_is_the_lowest_free_and_stays():
    intent = after(Intent(), *(put(f"s{number}", schema(number)) for number in range(3)))
    assert [intent.option_schemas[f"s{number}"].spec.slot for number in range(3)] == [0, 1, 2]
    asked = replace(schema(1), slot=40)
    assert evaluate(intent, put("s1", asked)).changes == (), "users do not choose slots"
    intent = after(intent, delete("option-schema/s1"), put("s9", schema(9)))
    assert intent.option_schemas["s9"].spec.slot == 1


def test_layout_takes_the_name_of_its_object():
    assert fabric().option_schemas["context"].spec.layout.name == "context"


def test_bind_move_and_unbind():
    intent = after(fabric(), Bind(port="web1", host="hv1"))
    assert intent.host_of("web1") == "hv1"
    assert intent.bindings["web1"].key == intent.ports["web1"].key
    assert evaluate(intent, Bind(port="web1", host="hv1")).changes == ()
    intent = after(intent, Bind(port="web1", host="hv2"))
    assert (set(intent.ports_on("hv1")), set(intent.ports_on("hv2"))) == (set(), {"web1"})
    intent = after(intent, Unbind(port="web1"))
    assert intent.host_of("web1") is None
    assert evaluate(intent, Unbind(port="web1")).changes == ()


def test_binding_goes_with_its_port_and_with_its_host():
    intent = after(fabric(), *(Bind(port=name, host="hv1") for name in ("web1", "db1", "far1")))
    one_less = after(intent, delete("port/web1"))
    assert set(one_less.bindings) == {"db1", "far1"}
    assert set(after(intent, delete("host/hv1")).bindings) == set()


def test_policy_is_known_to_its_port_until_it_goes():
    intent = fabric()
    assert set(intent.policies_to("db1")) == {"tier2-only"}
    intent = after(intent, delete("option-policy/tier2-only"), delete("port/db1"))
    assert "db1" not in intent.ports


def test_schema_comes_off_a_network_nobody_uses_it_in():
    intent = after(fabric(), delete("option-policy/tier2-only"), put("web1", port("blue", 1)))
    intent = after(intent, put("blue", network(100)))
    assert set(intent.networks_using("context")) == set()
    with pytest.raises(Conflict) as raised:
        after(intent, delete("option-schema/context"))
    assert raised.value.holder == "rollout/blue:context"  # ports may still stamp it
    intent = after(intent, rolled_out("blue", "context"))
    assert "context" not in after(intent, delete("option-schema/context")).option_schemas


def test_the_same_type_in_another_class_is_another_option():
    intent = after(fabric(), put("s", schema(1, option_class=0xFF01)))
    assert intent.schema_by_type(0xFF01, 1) == "s"
    assert intent.schema_by_type(0xFF00, 1) == "context"
