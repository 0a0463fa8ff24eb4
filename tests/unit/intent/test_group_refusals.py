# SPDX-License-Identifier: Apache-2.0
"""What is refused of groups and policies between them: the code, where it points, who is in the way."""

import pytest

from controller.errors import Conflict, Invalid
from controller.intent.commands import evaluate
from controller.intent.policy_size import MAX_NETWORK_FLOWS, MAX_POLICY_FLOWS, flows_of
from controller.intent.rules import PortRange
from controller.intent.shadows import shadow_of
from tests.unit.intent.builders import after, delete, fabric, group, group_policy, network, policy, port, put

TCP = {"protocol": 6}


def ports(*ranges):
    return tuple(PortRange(*one) for one in ranges)


def grouped():
    """The fabric with two groups on blue, which then carries who sends, and a policy from web to db."""
    return after(
        fabric(),
        put("web", group()),
        put("db", group(7)),
        put("lone", group()),
        put("blue", network(100, "context", "identity", values={"context.zone": 7})),
        put("web1", port("blue", 1, "10.0.0.1", "2001:db8:1::1", group="web", values={"context.tier": 2})),
        put("web-db", group_policy("blue", "db", from_group="web", ports=ports((80, 90)), **TCP)),
    )


INVALID = [
    (put("g", group(0)), "identity-out-of-range", "/identity"),
    (put("g", group(0x10000)), "identity-out-of-range", "/identity"),
    (put("p", port("blue", 9, group="nobody")), "group-unknown", "/group"),
    (put("p", port("red", 9, group="web")), "identity-not-on-network", "/group"),
    (put("r", group_policy("green", "db")), "network-unknown", "/network"),
    (put("r", group_policy("blue", "nobody")), "group-unknown", "/to/group"),
    (put("r", group_policy("red", "db")), "identity-not-on-network", "/to/group"),
    (put("r", group_policy("blue", "db", from_group="nobody")), "group-unknown", "/from/group"),
    (put("r", group_policy("blue", "db", priority=-1)), "priority-out-of-range", "/priority"),
    (put("r", group_policy("blue", "db", priority=10_001)), "priority-out-of-range", "/priority"),
    (put("r", group_policy("blue", "db", protocol=256)), "protocol-out-of-range", "/protocol"),
    (put("r", group_policy("blue", "db", protocol=-1)), "protocol-out-of-range", "/protocol"),
    (put("r", group_policy("blue", "db", ports=ports((80, 80)))), "ports-without-protocol", "/ports"),
    (
        put("r", group_policy("blue", "db", protocol=1, ports=ports((80, 80)))),
        "ports-without-protocol",
        "/ports",
    ),
    (
        put("r", group_policy("blue", "db", ports=ports((1, 2), (90, 80)), **TCP)),
        "port-out-of-range",
        "/ports/1",
    ),
    (put("r", group_policy("blue", "db", ports=ports((1, 0x10000)), **TCP)), "port-out-of-range", "/ports/0"),
    (put("r", group_policy("blue", "db", ports=ports((1, 9), (9, 12)), **TCP)), "ports-overlap", "/ports/1"),
    (
        put("r", group_policy("blue", "db", allow=False, stateful=True)),
        "stateful-without-allow",
        "/stateful",
    ),
]

CONFLICTS = [
    (put("g", group(7)), "identity-taken", "/identity", "group/db"),
    (put("web", group(99)), "identity-in-use", "/identity", "port/web1"),
    (delete("group/web"), "in-use", "", "policy/web-db"),
    (delete("group/db"), "in-use", "", "policy/web-db"),
    (delete("network/blue"), "in-use", "", "port/db1"),
    (
        put("r", group_policy("blue", "db", from_group="web", ports=ports((80, 90)), **TCP)),
        "policy-duplicate",
        "",
        "policy/web-db",
    ),
    (
        put("r", group_policy("blue", "db", from_group="web", ports=ports((80, 90)), allow=False, **TCP)),
        "policy-contradicts",
        "/action",
        "policy/web-db",
    ),
    (
        put("r", group_policy("blue", "db", from_group="web", ports=ports((1, 2), (90, 91)), **TCP)),
        "policy-overlaps",
        "/ports",
        "policy/web-db",
    ),
    (
        put("r", group_policy("blue", "db", from_group="web", stateful=True, **TCP)),
        "policy-overlaps",
        "/ports",
        "policy/web-db",
    ),
    (
        put("r", group_policy("blue", "db", ports=ports(*((n, n) for n in range(1, 400, 2))), **TCP)),
        "policy-too-large",
        "/ports",
        "",
    ),
    (
        put("blue", network(100, "context", values={"context.zone": 7})),
        "in-use",
        "/options",
        "policy/web-db",
    ),
]


@pytest.mark.parametrize(("command", "code", "pointer"), INVALID)
def test_invalid(command, code, pointer):
    with pytest.raises(Invalid) as caught:
        evaluate(grouped(), command)
    assert (caught.value.code, caught.value.pointer) == (code, pointer)


@pytest.mark.parametrize(("command", "code", "pointer", "holder"), CONFLICTS)
def test_conflict(command, code, pointer, holder):
    with pytest.raises(Conflict) as caught:
        evaluate(grouped(), command)
    assert (caught.value.code, caught.value.pointer, caught.value.holder) == (code, pointer, holder)


@pytest.mark.parametrize(
    "rest",
    [
        {"ports": ports((91, 95))},
        {"ports": ports((80, 90)), "priority": 101},
        {"ports": ports((85, 95)), "allow": False},
        {"ports": ports((80, 90)), "protocol": 17},
        {"ports": ports((80, 90)), "from_group": "lone"},
        {"ports": ports((80, 90)), "from_group": None},
    ],
)
def test_what_says_something_else_is_taken(rest):
    spec = group_policy("blue", "db", **{"from_group": "web", **TCP, **rest})
    assert evaluate(grouped(), put("r", spec)).created


def test_a_policy_may_be_put_again_and_changed():
    intent = grouped()
    spec = group_policy("blue", "db", from_group="web", ports=ports((80, 90)), **TCP)
    assert not evaluate(intent, put("web-db", spec)).changes
    wider = group_policy("blue", "db", from_group="web", ports=ports((80, 95)), **TCP)
    assert evaluate(intent, put("web-db", wider)).changes


def test_the_largest_policy_is_taken():
    spec = group_policy("blue", "db", ports=ports(*((n, n) for n in range(1, 257, 2))), **TCP)
    assert flows_of(spec) == MAX_POLICY_FLOWS
    assert evaluate(grouped(), put("r", spec)).created


def test_a_network_is_full_at_its_limit():
    intent = after(grouped(), delete("policy/web-db"))
    full = group_policy("blue", "db", ports=ports(*((n, n) for n in range(1, 257, 2))), **TCP)
    for number in range(MAX_NETWORK_FLOWS // MAX_POLICY_FLOWS):
        intent = after(
            intent, put(f"r{number}", group_policy("blue", "db", ports=full.ports, priority=number, **TCP))
        )
    left = MAX_NETWORK_FLOWS - intent.flows_between("blue")
    assert left == MAX_NETWORK_FLOWS % MAX_POLICY_FLOWS
    rest = group_policy("blue", "db", ports=full.ports[: left // 2], priority=900, **TCP)
    assert evaluate(intent, put("last", rest)).created
    intent = after(intent, put("last", rest))
    with pytest.raises(Conflict) as caught:
        evaluate(intent, put("over", group_policy("blue", "db", priority=901)))
    assert (caught.value.code, caught.value.holder) == ("policy-too-large", "network/blue")
    assert str(MAX_NETWORK_FLOWS) in caught.value.reason
    # It is about what a change comes to, not about who is there: the last one may shrink, and come back.
    assert evaluate(intent, put("last", group_policy("blue", "db", priority=900))).changes


def test_identities_are_given_and_kept():
    intent = grouped()
    assert intent.groups["web"].spec.identity == 1
    assert intent.groups["lone"].spec.identity == 2
    assert evaluate(intent, put("web", group())).changes == ()


SHADOWED = [
    ({"priority": 50}, "top", {"from_group": None}),
    ({"priority": 50, "ports": ports((80, 80)), **TCP}, "top", TCP),
    ({"priority": 50, "ports": ports((80, 85)), **TCP}, "top", {"ports": ports((70, 82), (83, 99)), **TCP}),
    ({"from_group": "web", **TCP}, "top", {"priority": 100, "allow": False}),
    ({"priority": 50, "stateful": True}, "top", {"allow": False}),
]
SEEN = [
    ({"priority": 50}, {"from_group": "web"}),
    ({"priority": 50}, TCP),
    ({"priority": 50, "ports": ports((80, 90)), **TCP}, {"ports": ports((80, 89)), **TCP}),
    ({"priority": 300}, {}),
    # It still lets the replies in.
    ({"priority": 50, "stateful": True}, {}),
    ({"from_group": "web", "allow": False}, {"priority": 100}),
]


@pytest.mark.parametrize(("below", "holder", "above"), SHADOWED)
def test_a_policy_that_never_decides_is_told_why(below, holder, above):
    intent = after(grouped(), delete("policy/web-db"), put("low", group_policy("blue", "db", **below)))
    assert shadow_of(intent, "low") is None
    intent = after(intent, put(holder, group_policy("blue", "db", **{"priority": 200, **above})))
    assert shadow_of(intent, "low") == holder
    assert shadow_of(intent, holder) is None


@pytest.mark.parametrize(("below", "above"), SEEN)
def test_a_policy_that_decides_something_has_no_shadow(below, above):
    intent = after(
        grouped(),
        delete("policy/web-db"),
        put("low", group_policy("blue", "db", **below)),
        put("top", group_policy("blue", "db", **{"priority": 200, **above})),
    )
    assert shadow_of(intent, "low") is None


def test_option_policies_hold_their_groups():
    intent = after(grouped(), put("o", policy("blue", from_group="lone")))
    with pytest.raises(Conflict) as caught:
        evaluate(intent, delete("group/lone"))
    assert caught.value.holder == "option-policy/o"
