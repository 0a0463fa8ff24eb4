# SPDX-License-Identifier: Apache-2.0
"""Which flows policies between groups come to, on which hosts. What they look like is in tests/golden."""

from __future__ import annotations

from collections import Counter

import pytest

from controller.compiler.compile import Compiler
from controller.compiler.cookies import Feature, parse
from controller.compiler.group_views import zone_of
from controller.compiler.pipeline import Table
from controller.intent.policy_size import flows_of
from controller.intent.rules import PortRange
from tests.builders import Fabric, bind, delete, group, group_policy, host, network, port, put
from tests.unit.compiler.test_features import flows_by_block

TABLES = (Table.TRACK, Table.GROUPS, Table.GROUPS_STATE)
ONE_PORT = (PortRange(443, 443),)


def fabric_with(ports: int = 2, groups: tuple[str, ...] = ("web", "db", "ops")) -> Fabric:
    """Two hosts and one without the network; ports in turn of each group, on each host."""
    fabric = Fabric()
    fabric.do(
        *(put(f"hv{number}", host(f"192.0.2.{number}")) for number in (1, 2, 3)),
        *(put(name, group()) for name in groups),
        put("blue", network(100, "identity")),
        *(
            put(f"p{number}", port("blue", number, group=groups[number % len(groups)]))
            for number in range(1, ports + 1)
        ),
        *(bind(f"p{number}", f"hv{1 + number % 2}") for number in range(1, ports + 1)),
    )
    return fabric


def counts(fabric: Fabric, name: str = "hv1") -> Counter[tuple[str, str]]:
    """Count the flows of objects in the tables of groups."""
    found = Counter(
        (Table(flow.key[0]).name, Feature(parse(flow.cookie).feature).name)
        for flow in fabric.compiler.desired(name).flows.values()
        if flow.key[0] in TABLES
    )
    return Counter({key: count for key, count in found.items() if key[1] != "PIPELINE"})


def test_stateless_policy_is_its_flows_and_what_protects_the_group() -> None:
    fabric = fabric_with()
    fabric.do(put("rule", group_policy("blue", "db", from_group="web", protocol=6, ports=ONE_PORT)))
    wanted = {("GROUPS", "GROUP_POLICY"): 2, ("GROUPS", "PORT_GROUP"): 4}
    assert counts(fabric, "hv1") == counts(fabric, "hv2") == wanted
    assert counts(fabric, "hv3") == {}, "it has no port of the network"
    fabric.do(delete("policy/rule"))
    assert counts(fabric) == {}


@pytest.mark.parametrize(
    ("rest", "flows"),
    [
        ({}, 1),
        ({"protocol": 1}, 1),
        ({"protocol": 58}, 1),
        ({"protocol": 47}, 2),
        ({"protocol": 17, "ports": ONE_PORT}, 2),
        ({"protocol": 6, "ports": (PortRange(8000, 8100),)}, 8),
        ({"allow": False}, 1),
        ({"stateful": True}, 3),
        ({"stateful": True, "protocol": 6, "ports": ONE_PORT}, 2),
    ],
)
def test_flows_of_a_policy(rest, flows: int) -> None:
    fabric = fabric_with()
    spec = group_policy("blue", "db", from_group="web", **rest)
    fabric.do(put("rule", spec))
    assert counts(fabric)["GROUPS", "GROUP_POLICY"] == flows
    # And what is counted before it is stored is never less than what comes of it, protected on both sides.
    fabric.do(put("other", group_policy("blue", "web", allow=False, priority=200)))
    of_rule = sum(counts(fabric).values()) - 1 - 2 * 4
    shared = 2 * (7 + 2) if spec.stateful else 0
    assert of_rule - shared <= flows_of(spec) <= of_rule


def test_conntrack_is_for_stateful_policies_of_protected_groups_alone() -> None:
    fabric = fabric_with()
    fabric.do(put("rule", group_policy("blue", "db", from_group="web", protocol=6, stateful=True)))
    # The receiver's side: what is answered, and errors about it. Replies come in freely to web.
    assert counts(fabric) == {
        ("TRACK", "PORT_GROUP"): 2,
        ("GROUPS", "GROUP_POLICY"): 2,
        ("GROUPS", "PORT_GROUP"): 4 + 7,
        ("GROUPS_STATE", "PORT_GROUP"): 2,
    }
    fabric.do(put("other", group_policy("blue", "web", from_group="ops")))
    # Now web lets in only what is allowed, and the replies: committed as asked, looked up as they come.
    assert counts(fabric) == {
        ("TRACK", "PORT_GROUP"): 2 + 2,
        ("GROUPS", "GROUP_POLICY"): 2 + 1,
        ("GROUPS", "PORT_GROUP"): 4 + 7 + 4 + 7 + 2,
        ("GROUPS_STATE", "PORT_GROUP"): 2 + 2,
    }
    fabric.do(delete("policy/rule"))
    assert counts(fabric) == {("GROUPS", "GROUP_POLICY"): 1, ("GROUPS", "PORT_GROUP"): 4}


def test_policies_that_track_the_same_share_its_flows() -> None:
    fabric = fabric_with()
    fabric.do(put("lock", group_policy("blue", "web", allow=False)))
    fabric.do(
        put("one", group_policy("blue", "db", from_group="web", protocol=6, ports=ONE_PORT, stateful=True))
    )
    before = counts(fabric)
    again = {"from_group": "web", "protocol": 6, "ports": ONE_PORT, "stateful": True}
    fabric.do(put("two", group_policy("blue", "db", priority=200, **again)))
    assert counts(fabric) - before == {("GROUPS", "GROUP_POLICY"): 2}
    fabric.do(delete("policy/one"))
    assert counts(fabric) == before


def test_flows_on_a_host_do_not_grow_with_members() -> None:
    """Rules times members is what address sets come to; here members are in no flow of a rule."""
    sizes = set()
    for ports in (2, 40):
        fabric = fabric_with(ports)
        fabric.do(put("rule", group_policy("blue", "db", from_group="web", protocol=6, stateful=True)))
        fabric.do(put("lock", group_policy("blue", "web", allow=False, log=True)))
        sizes.add(sum(counts(fabric).values()))
    assert len(sizes) == 1


def test_rules_are_encoded_once_for_all_hosts() -> None:
    fabric = fabric_with()
    fabric.do(put("rule", group_policy("blue", "db", protocol=6, stateful=True)))
    one, two = (flows_by_block(fabric, name) for name in ("hv1", "hv2"))
    for feature in (Feature.GROUP_POLICY, Feature.PORT_GROUP):
        blocks = {
            block for block, flows in one.items() if any(parse(f.cookie).feature == feature for f in flows)
        }
        assert blocks
        assert blocks <= two.keys()


def test_policy_of_a_group_touches_what_it_must() -> None:
    fabric = fabric_with()
    before = fabric.compiler.parts_compiled
    fabric.do(put("rule", group_policy("blue", "db", from_group="web")))
    # The policy, and what each of the two groups has beside it.
    assert fabric.compiler.parts_compiled - before == 3


def test_identity_that_changes_is_in_all_rules_of_its_group() -> None:
    fabric = fabric_with(ports=0)
    fabric.do(put("lock", group_policy("blue", "web", allow=False)))
    fabric.do(put("rule", group_policy("blue", "db", from_group="web", stateful=True)))
    fabric.do(put("p9", port("blue", 9)), bind("p9", "hv1"))
    fabric.do(put("web", group(500)))
    whole = Compiler.of(fabric.compiler.snapshot())
    assert whole.desired("hv1") == fabric.compiler.desired("hv1")


def test_zones_are_never_that_of_everybody() -> None:
    zones = {zone_of(key) for key in range(1, 70_000)}
    assert min(zones) == 1
    assert max(zones) == 0xFFFF
