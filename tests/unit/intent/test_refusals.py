# SPDX-License-Identifier: Apache-2.0
"""Every rule from its wrong side: the code, where it points, who is in the way, and that nothing changed."""

import pytest

from controller.errors import Conflict, Invalid, NotFound, PreconditionRequired, StaleRevision
from controller.intent.commands import Bind, Put, evaluate
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
    schema,
)

MOVED_TIER = OptionField(name="tier", kind=FieldKind.UINT, offset=24, bits=8)
RENAMED_TIER = OptionField(name="level", kind=FieldKind.UINT, offset=0, bits=8)

INVALID = [
    # names and labels
    (put("", host("192.0.2.9")), "name-invalid", "/name"),
    (put("Web", host("192.0.2.9")), "name-invalid", "/name"),
    (put("-a", host("192.0.2.9")), "name-invalid", "/name"),
    (put("a-", host("192.0.2.9")), "name-invalid", "/name"),
    (put("a/b", host("192.0.2.9")), "name-invalid", "/name"),
    (put("a" * 64, host("192.0.2.9")), "name-invalid", "/name"),
    (put("h", host("192.0.2.9"), labels=(("a b", "c"),)), "label-invalid", "/labels/a b"),
    (put("h", host("192.0.2.9"), labels=(("a/b~c", "d e"),)), "label-invalid", "/labels/a~1b~0c"),
    (put("h", host("192.0.2.9"), labels=(("a", "b"), ("a", "c"))), "label-duplicate", "/labels/a"),
    (Put(kind=Kind.PORT, name="h", spec=host("192.0.2.9")), "kind-mismatch", "/kind"),
    # hosts
    (put("h", host()), "endpoint-missing", "/endpoints"),
    (put("h", host("192.0.2.9", "192.0.2.9")), "endpoint-duplicate", "/endpoints/1/address"),
    (put("h", host("224.0.0.1")), "address-not-unicast", "/endpoints/0/address"),
    (put("h", host("192.0.2.9", "0.0.0.0")), "address-not-unicast", "/endpoints/1/address"),
    (put("h", host("255.255.255.255")), "address-not-unicast", "/endpoints/0/address"),
    (put("h", host("ff02::1")), "address-not-unicast", "/endpoints/0/address"),
    (put("h", host("::ffff:192.0.2.9")), "address-mapped", "/endpoints/0/address"),
    (put("h", host("fe80::1%eth0")), "address-scoped", "/endpoints/0/address"),
    (put("h", host("fe80::1")), "endpoint-link-local", "/endpoints/0/address"),
    (put("h", host("192.0.2.9", bridge="")), "bridge-invalid", "/bridge"),
    (put("h", host("192.0.2.9", bridge="a" * 16)), "bridge-invalid", "/bridge"),
    (put("h", host("192.0.2.9", bridge="br/1")), "bridge-invalid", "/bridge"),
    (put("h", host("192.0.2.9", ovsdb="192.0.2.9")), "ovsdb-invalid", "/ovsdb"),
    (put("h", host("192.0.2.9", ovsdb="ptcp:6640")), "ovsdb-invalid", "/ovsdb"),
    (put("h", host("192.0.2.9", system_id="")), "id-invalid", "/system_id"),
    (put("h", host("192.0.2.9", tunables=Tunables(ttl=0))), "ttl-invalid", "/tunnel/ttl"),
    (put("h", host("192.0.2.9", tunables=Tunables(ttl=256))), "ttl-invalid", "/tunnel/ttl"),
    (put("h", host("192.0.2.9", tunables=Tunables(ttl="much"))), "ttl-invalid", "/tunnel/ttl"),
    (put("h", host("192.0.2.9", tunables=Tunables(tos=-4))), "tos-invalid", "/tunnel/tos"),
    (put("h", host("192.0.2.9", tunables=Tunables(tos=256))), "tos-invalid", "/tunnel/tos"),
    (put("h", host("192.0.2.9", tunables=Tunables(tos=1))), "tos-invalid", "/tunnel/tos"),
    # networks
    (put("n", network(0)), "vni-out-of-range", "/vni"),
    (put("n", network(-1)), "vni-out-of-range", "/vni"),
    (put("n", network(1 << 24)), "vni-out-of-range", "/vni"),
    (put("n", network(1, "nothing")), "option-schema-unknown", "/options/0"),
    (put("n", network(1, "context", "context")), "option-duplicate", "/options/1"),
    (put("n", network(1, values={"context.tier": 1})), "option-not-on-network", "/values/context/tier"),
    (put("n", network(1, "context", values={"context.x": 1})), "field-unknown", "/values/context/x"),
    (
        put("n", network(1, "context", values={"context.tier": 256})),
        "value-out-of-range",
        "/values/context/tier",
    ),
    # ports
    (put("p", port("nowhere", 9)), "network-unknown", "/network"),
    (put("p", port("blue", -0x020000000000)), "mac-not-unicast", "/mac"),
    (put("p", port("blue", -0x020000000001)), "mac-not-unicast", "/mac"),
    (put("p", port("blue", 0x010000000000)), "mac-not-unicast", "/mac"),
    (put("p", port("blue", 1 << 48)), "mac-not-unicast", "/mac"),
    (put("p", port("blue", 9, "10.0.0.9", "10.0.0.9")), "address-duplicate", "/addresses/1"),
    (put("p", port("blue", 9, "10.0.0.9", "239.1.1.1")), "address-not-unicast", "/addresses/1"),
    (put("p", port("blue", 9, "127.0.0.1")), "address-not-unicast", "/addresses/0"),
    (put("p", port("blue", 9, "::")), "address-not-unicast", "/addresses/0"),
    (put("p", port("blue", 9, "::ffff:10.0.0.9")), "address-mapped", "/addresses/0"),
    (put("p", port("blue", 9, interface_id="a b")), "id-invalid", "/interface_id"),
    (put("p", port("blue", 9, values={"spare.tier": 1})), "option-not-on-network", "/options/spare/tier"),
    (put("p", port("blue", 9, values={"context.x": 1})), "field-unknown", "/options/context/x"),
    (put("p", port("blue", 9, values={"context.zone": -1})), "value-out-of-range", "/options/context/zone"),
    (
        put("p", port("blue", 9, values={"context.zone": 1 << 16})),
        "value-out-of-range",
        "/options/context/zone",
    ),
    # option schemas
    (put("s", schema(9, option_class=0x0102)), "class-not-experimental", "/class"),
    (put("s", schema(9, option_class=0xFEFF)), "class-not-experimental", "/class"),
    (put("s", schema(9, option_class=0)), "class-not-experimental", "/class"),
    # option policies
    (put("o", policy("nowhere")), "network-unknown", "/network"),
    (put("o", policy("blue", priority=-1)), "priority-out-of-range", "/priority"),
    (put("o", policy("blue", priority=10_001)), "priority-out-of-range", "/priority"),
    (put("o", policy("blue", to_port="nobody")), "port-unknown", "/to/port"),
    (put("o", policy("blue", to_port="far1")), "port-elsewhere", "/to/port"),
    (
        put("o", policy("blue", {"spare.tier": (1, 1)})),
        "option-not-on-network",
        "/match/option/spare.tier",
    ),
    (put("o", policy("blue", {"context.x": (1, 1)})), "field-unknown", "/match/option/context.x"),
    (put("o", policy("blue", {"context.tier": (0, 0)})), "mask-out-of-range", "/match/option/context.tier"),
    (
        put("o", policy("blue", {"context.tier": (0, 0x100)})),
        "mask-out-of-range",
        "/match/option/context.tier",
    ),
    (
        put("o", policy("blue", {"context.tier": (3, 0xFE)})),
        "value-outside-mask",
        "/match/option/context.tier",
    ),
]

CONFLICTS = [
    (put("hv3", host("192.0.2.9", "192.0.2.2")), "endpoint-taken", "/endpoints/1/address", "host/hv2"),
    (put("hv2", host("2001:db8::1")), "endpoint-taken", "/endpoints/0/address", "host/hv1"),
    (put("hv3", host("192.0.2.9", system_id="second")), "system-id-taken", "/system_id", "host/hv2"),
    (put("hv3", host("192.0.2.9", system_id="hv1")), "system-id-taken", "/system_id", "host/hv1"),
    (put("second", host("192.0.2.9")), "system-id-taken", "/system_id", "host/hv2"),
    (put("hv3", host("192.0.2.9", ovsdb="ssl:192.0.2.1:6640")), "ovsdb-taken", "/ovsdb", "host/hv1"),
    (put("hv3", host("192.0.2.9", ovsdb="ssl:192.0.2.1")), "ovsdb-taken", "/ovsdb", "host/hv1"),
    (put("green", network(100)), "vni-taken", "/vni", "network/blue"),
    (put("red", network(100, "spare")), "vni-taken", "/vni", "network/blue"),
    (put("red", network(201, "spare")), "vni-in-use", "/vni", "port/far1"),
    (put("blue", network(100)), "in-use", "/options", "option-policy/tier2-only"),
    (put("web1", port("red", 9)), "immutable", "/network", "port/web1"),
    (put("web2", port("blue", 1)), "mac-taken", "/mac", "port/web1"),
    (put("web2", port("blue", 9, "10.0.0.9", "10.0.0.1")), "address-taken", "/addresses/1", "port/web1"),
    (put("web2", port("blue", 9, "2001:db8:1::1")), "address-taken", "/addresses/0", "port/web1"),
    (
        put("web2", port("red", 9, interface_id="database")),
        "interface-id-taken",
        "/interface_id",
        "port/db1",
    ),
    (put("web2", port("red", 9, interface_id="web1")), "interface-id-taken", "/interface_id", "port/web1"),
    (put("database", port("red", 9)), "interface-id-taken", "/interface_id", "port/db1"),
    (put("context", schema(9)), "immutable", "/type", "option-schema/context"),
    (put("context", schema(1, option_class=0xFF01)), "immutable", "/class", "option-schema/context"),
    (put("context", schema(1, length=8)), "immutable", "/length", "option-schema/context"),
    (put("other", schema(1)), "option-type-taken", "/type", "option-schema/context"),
    (put("context", schema(1, fields=[ZONE])), "in-use", "/fields", "option-policy/tier2-only"),
    (put("context", schema(1, fields=[TIER])), "in-use", "/fields", "network/blue"),
    (
        put("context", schema(1, fields=[ZONE, MOVED_TIER])),
        "in-use",
        "/fields/1",
        "option-policy/tier2-only",
    ),
    (put("context", schema(1, fields=[RENAMED_TIER, ZONE])), "in-use", "/fields", "option-policy/tier2-only"),
    (
        put("again", policy("blue", {"context.tier": (2, 0xFF)}, to_port="db1")),
        "policy-duplicate",
        "",
        "option-policy/tier2-only",
    ),
    (
        put("never", policy("blue", {"context.tier": (2, 0xFF)}, to_port="db1", action=PolicyAction.DROP)),
        "policy-contradicts",
        "/action",
        "option-policy/tier2-only",
    ),
    (delete("network/blue"), "in-use", "", "port/db1"),
    (delete("port/db1"), "in-use", "", "option-policy/tier2-only"),
    (delete("option-schema/context"), "in-use", "", "network/blue"),
]


@pytest.mark.parametrize(("command", "code", "pointer"), INVALID)
def test_document_is_wrong(command, code, pointer):
    with pytest.raises(Invalid) as caught:
        evaluate(fabric(), command)
    assert (caught.value.code, caught.value.pointer) == (code, pointer)


@pytest.mark.parametrize(("command", "code", "pointer", "holder"), CONFLICTS)
def test_another_object_is_in_the_way(command, code, pointer, holder):
    with pytest.raises(Conflict) as caught:
        evaluate(fabric(), command)
    assert (caught.value.code, caught.value.pointer, caught.value.holder) == (code, pointer, holder)


def test_network_with_only_a_policy_is_in_use():
    intent = after(fabric(), put("p", policy("red")), delete("port/far1"))
    with pytest.raises(Conflict, match="option-policy/p"):
        evaluate(intent, delete("network/red"))


def test_field_twice():
    spec = port("blue", 9)
    doubled = port("blue", 9, values={"context.tier": 1}).values * 2
    with pytest.raises(Invalid) as caught:
        evaluate(fabric(), put("p", type(spec)(network="blue", mac=spec.mac, values=doubled)))
    assert (caught.value.code, caught.value.pointer) == ("value-duplicate", "/options/context/tier")


def test_match_twice():
    once = policy("blue", {"context.tier": (1, 1)})
    twice = type(once)(network="blue", action=PolicyAction.ALLOW, match=once.match * 2)
    with pytest.raises(Invalid) as caught:
        evaluate(fabric(), put("p", twice))
    assert caught.value.code == "match-duplicate"


@pytest.mark.parametrize(
    ("command", "error", "code"),
    [
        (delete("port/none"), NotFound, "not-found"),
        (delete("binding/web1"), NotFound, "not-found"),
        (Bind(port="none", host="hv1"), NotFound, "not-found"),
        (Bind(port="web1", host="none"), NotFound, "not-found"),
        (delete("port/web1", if_match=1), StaleRevision, "revision-stale"),
        (put("web1", port("blue", 1), if_match=1), StaleRevision, "revision-stale"),
        (put("new", port("blue", 9), if_match=1), StaleRevision, "revision-stale"),
        (put("web1", port("blue", 1), if_none_match=True), StaleRevision, "exists"),
    ],
)
def test_preconditions(command, error, code):
    intent = after(fabric(), Bind(port="web1", host="hv1"))
    with pytest.raises(error) as caught:
        evaluate(intent, command)
    assert caught.value.code == code


@pytest.mark.parametrize("command", [put("hv1", host("192.0.2.7")), delete("host/hv1")])
def test_revision_can_be_demanded(command):
    with pytest.raises(PreconditionRequired):
        evaluate(fabric(), command, require_match=True)


def test_slots_run_out_at_64():
    specs = [schema(number, length=0 if number % 2 else 4, fields=[]) for number in range(65)]
    intent = after(Intent(), *(put(f"s{number}", spec) for number, spec in enumerate(specs[:64])))
    with pytest.raises(Conflict) as caught:
        evaluate(intent, put("one-more", specs[64]))
    assert (caught.value.code, caught.value.holder) == ("option-slots-exhausted", "option-schema/s0")


def test_bytes_run_out_at_256():
    intent = after(
        Intent(), *(put(f"s{number}", schema(number, length=124, fields=[])) for number in range(2))
    )
    intent = after(intent, put("s2", schema(2, length=8, fields=[])), put("net", network(None, "s0")))
    with pytest.raises(Conflict) as caught:
        evaluate(intent, put("s3", schema(3, fields=[])))
    assert (caught.value.code, caught.value.pointer) == ("option-bytes-exhausted", "/length")
    assert caught.value.holder == "option-schema/s1", "the largest that no network carries"


def test_header_of_a_network_runs_out_at_252():
    # (4 + 124) + (4 + 116) = 248, and an empty option fills it up; one of 4 bytes does not fit.
    intent = after(
        Intent(),
        put("a", schema(1, length=124, fields=[])),
        put("b", schema(2, length=116, fields=[])),
        put("empty", schema(3, length=0, fields=[])),
        put("four", schema(4, length=4, fields=[])),
        put("full", network(None, "a", "b", "empty")),
    )
    with pytest.raises(Conflict) as caught:
        evaluate(intent, put("over", network(None, "a", "b", "four")))
    assert (caught.value.code, caught.value.pointer) == ("options-too-long", "/options/2")
    assert caught.value.holder == "option-schema/four"


def test_keys_run_out():
    last = Intent(last_key=(1 << 22) - 2)
    intent = after(last, put("last", network()))
    assert intent.networks["last"].key == (1 << 22) - 1
    with pytest.raises(Conflict) as caught:
        evaluate(intent, put("next", network()))
    assert caught.value.code == "keys-exhausted"
