# SPDX-License-Identifier: Apache-2.0
"""Indexes: a step at a time equals the whole, whatever is asked in whatever order."""

from dataclasses import replace
from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.errors import IntentError
from controller.intent.commands import Bind, Delete, Put, Unbind, evaluate
from controller.intent.intent import Intent, difference, merged
from controller.intent.model import Kind, PolicyAction
from tests.unit.intent.builders import (
    KINDS,
    TIER,
    ZONE,
    after,
    fabric,
    host,
    network,
    policy,
    port,
    put,
    schema,
)

NAMES = st.sampled_from(["a", "b", "c", "d"])
ADDRESSES = [f"192.0.2.{number}" for number in range(5)]
VALUES = st.dictionaries(
    st.sampled_from(["a.tier", "a.zone", "b.tier", "b.zone"]), st.integers(0, 3), max_size=2
)
MATCHES = st.dictionaries(
    st.sampled_from(["a.tier", "b.zone"]), st.sampled_from([(1, 1), (2, 2), (1, 3)]), max_size=2
)

SPECS = st.one_of(
    st.builds(
        lambda addresses: host(*addresses), st.lists(st.sampled_from(ADDRESSES), max_size=2, unique=True)
    ),
    st.builds(
        lambda vni, options, values: network(vni, *options, values=values),
        st.none() | st.integers(1, 4) | st.integers(4095, 4098),
        st.lists(NAMES, max_size=2, unique=True),
        VALUES,
    ),
    st.builds(
        lambda net, mac, addresses, interface_id, values: port(
            net, mac, *addresses, interface_id=interface_id, values=values
        ),
        NAMES,
        st.integers(0, 4),
        st.lists(st.sampled_from(ADDRESSES), max_size=2, unique=True),
        st.none() | NAMES,
        VALUES,
    ),
    st.builds(
        lambda kind, fields: schema(kind, fields=fields),
        st.integers(0, 3),
        st.sampled_from([(TIER, ZONE), (TIER,), ()]),
    ),
    st.builds(
        lambda net, to_port, matches, action, priority: policy(
            net, matches, to_port=to_port, action=action, priority=priority
        ),
        NAMES,
        st.none() | NAMES,
        MATCHES,
        st.sampled_from(PolicyAction),
        st.integers(0, 1),
    ),
)
COMMANDS = st.one_of(
    st.builds(put, NAMES, SPECS),
    st.builds(put, NAMES, SPECS),
    st.builds(put, NAMES, SPECS),
    st.builds(lambda kind, name: Delete(kind=kind, name=name), st.sampled_from([*KINDS.values()]), NAMES),
    st.builds(Bind, port=NAMES, host=NAMES),
    st.builds(Unbind, port=NAMES),
)

SEED = [
    put("a", schema(0)),
    put("b", schema(1)),
    put("a", network(1, "a", "b")),
    put("b", network(2, "a")),
    put("a", host("192.0.2.0")),
    put("b", host("192.0.2.1")),
    put("a", port("a", 0, values={"a.tier": 1})),
    put("b", port("b", 1)),
]


def everything(intent: Intent):
    return [held for kind in Kind for held in intent.objects(kind).values()]


def whole(intent: Intent) -> Intent:
    return Intent.of(everything(intent), intent.revision, intent.last_key)


def taken_twice(intent: Intent) -> list[str]:
    """Look for what must be unique, the slow way."""
    claims = list[tuple]()
    for held in intent.hosts.values():
        claims += [("endpoint", address) for address in held.spec.endpoints]
    for held in intent.networks.values():
        claims.append(("vni", held.spec.vni))
    for held in intent.ports.values():
        claims.append(("mac", held.spec.network, held.spec.mac))
        claims += [("address", held.spec.network, address) for address in held.spec.addresses]
        claims.append(("iface-id", held.spec.interface_id or held.name))
    for held in intent.option_schemas.values():
        claims.append(("slot", held.spec.slot))
        claims.append(("type", held.spec.layout.key))
    claims += [("key", held.key) for held in everything(intent) if held.kind is not Kind.BINDING]
    return [claim for claim in claims if claims.count(claim) > 1]


def dangling(intent: Intent) -> list[str]:
    """Look for names of what is not there."""
    networks = [held.spec for held in (*intent.ports.values(), *intent.option_policies.values())]
    wrong = [spec.network for spec in networks if spec.network not in intent.networks]
    for held in intent.networks.values():
        wrong += [name for name in held.spec.options if name not in intent.option_schemas]
    for spec in networks:
        said = spec.values if hasattr(spec, "values") else spec.match
        options = intent.networks[spec.network].spec.options
        wrong += [one.schema for one in said if one.schema not in options]
        for one in said:
            intent.option_schemas[one.schema].spec.layout.field(one.field)
    wrong += [name for name in intent.bindings if name not in intent.ports]
    wrong += [held.spec.host for held in intent.bindings.values() if held.spec.host not in intent.hosts]
    policies = intent.option_policies.values()
    wrong += [
        one.spec.to_port for one in policies if one.spec.to_port and one.spec.to_port not in intent.ports
    ]
    return wrong


@settings(max_examples=150, deadline=None)
@given(st.lists(COMMANDS, max_size=40), st.integers(0, len(SEED)))
def test_a_step_at_a_time_equals_the_whole(commands, seeds):
    intent = before = after(Intent(), *SEED[:seeds])
    done = []
    for command in commands:
        try:
            decision = evaluate(intent, command)
        except IntentError:
            continue
        step = intent.with_changes(decision.changes, intent.revision + 1)
        if isinstance(command, Put):
            assert evaluate(step, command).changes == ()
        intent = step
        done += decision.changes
        assert taken_twice(intent) == []
        assert dangling(intent) == []
    assert intent == whole(intent)
    at_once = before.with_changes(merged(done), intent.revision)
    assert replace(at_once, last_key=intent.last_key) == intent
    over_again = before.with_changes(difference(before, intent), intent.revision)
    assert replace(over_again, last_key=intent.last_key) == intent


def test_merged_order_does_not_matter():
    """Two hosts swap an endpoint by way of a third address: folded, either may come first."""
    before = after(Intent(), put("a", host("192.0.2.1")), put("b", host("192.0.2.2")))
    swapped = after(
        before, put("a", host("192.0.2.3")), put("b", host("192.0.2.1")), put("a", host("192.0.2.2"))
    )
    changes = difference(before, swapped)
    assert len(changes) == 2
    assert before.with_changes(changes, swapped.revision) == swapped
    assert before.with_changes(changes[::-1], swapped.revision) == swapped


def test_merged_leaves_out_what_comes_to_nothing():
    intent = fabric()
    there = evaluate(intent, put("p", port("blue", 9))).changes
    then = intent.with_changes(there, intent.revision + 1)
    back = evaluate(then, Delete(kind=Kind.PORT, name="p")).changes
    assert merged([*there, *back]) == ()


def test_an_older_intent_stays_as_it_was():
    intent = fabric()
    later = after(intent, Delete(kind=Kind.PORT, name="web1"))
    assert intent.port_by_interface_id("web1") == "web1"
    assert later.port_by_interface_id("web1") is None
    assert intent == whole(intent)


def test_finding():
    intent = after(fabric(), Bind(port="web1", host="hv1"))
    assert intent.host_by_endpoint(ip_address("2001:db8::1")) == "hv1"
    assert intent.host_by_system_id("hv1") == "hv1"
    assert intent.host_by_system_id("second") == "hv2"
    assert intent.host_by_system_id("hv2") is None
    assert intent.host_by_ovsdb("ssl:192.0.2.1:6640") == "hv1"
    assert intent.network_by_vni(200) == "red"
    assert intent.port_by_mac("red", 0x020000000001) == "far1"
    assert intent.port_by_address("blue", ip_address("10.0.0.1")) == "web1"
    assert intent.port_by_interface_id("database") == "db1"
    assert intent.schema_by_slot(1) == "spare"
    assert intent.schema_by_type(0xFF00, 2) == "spare"
    assert set(intent.ports_of("blue")) == {"web1", "db1"}
    assert set(intent.policies_of("blue")) == {"tier2-only"}
    assert set(intent.policies_to("db1")) == {"tier2-only"}
    assert set(intent.networks_using("context")) == {"blue"}
    assert set(intent.users_of_field("blue", "context", "tier")) == {"port/web1", "option-policy/tier2-only"}
    assert set(intent.users_of_field("blue", "context", "zone")) == {"network/blue"}
    assert set(intent.ports_on("hv1")) == {"web1"}
    assert intent.host_of("web1") == "hv1"
    assert intent.host_of("db1") is None
    assert intent.get(Kind.PORT, "none") is None
