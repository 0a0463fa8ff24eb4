# SPDX-License-Identifier: Apache-2.0
"""Where the flows of option policies are, what changes cost, and that there are as many as admission counted."""

from __future__ import annotations

from random import Random

import pytest

from controller.compiler.cookies import Feature, parse
from controller.compiler.features import policy as feature
from controller.compiler.pipeline import Table
from controller.compiler.policy_views import policy_view
from controller.compiler.views import network_view
from controller.errors import IntentError
from controller.intent.commands import Put, evaluate
from controller.intent.conditions import flows_of_policy
from controller.intent.intent import Intent
from controller.intent.model import Direction, OptionPolicySpec
from controller.intent.rules import FieldName, Mirror, Stamp, Steer
from ovs_geneve.openflow.fields import is_tun_metadata
from tests.builders import (
    Fabric,
    bind,
    delete,
    group,
    host,
    network,
    policy,
    port,
    put,
    rolled_out,
    schema,
    small_fabric,
)
from tests.unit.compiler.operations import Operations

TIER = FieldName("context", "tier")
EGRESS = Direction.EGRESS


def held(fabric: Fabric, name: str, *features: Feature) -> list[Table]:
    """Return the tables of a host's flows for these features, sorted."""
    flows = fabric.compiler.desired(name).flows.values()
    return sorted(Table(flow.key[0]) for flow in flows if parse(flow.cookie).feature in features)


def three_hosts() -> Fabric:
    """The small fabric, a third host with a port that listens, and a fourth that has no port of the network."""
    fabric = small_fabric()
    for number in (3, 4):
        fabric.do(put(f"hv{number}", host(f"192.0.2.{number}")))
    fabric.do(put("tap", port("blue", 3)), bind("tap", "hv3"))
    fabric.plug("hv3", tap=1)
    return fabric


def test_a_policy_of_a_sender_is_on_its_host_alone_and_moves_with_it() -> None:
    fabric = three_hosts()
    fabric.do(put("rule", policy("blue", direction=EGRESS, from_port="web1", to_port="db1")))
    both = Feature.POLICY, Feature.POLICY_DEFAULT
    # The policy; ARP, two of neighbour discovery, and the rest.
    assert held(fabric, "hv1", *both) == [Table.EGRESS] * 5
    assert held(fabric, "hv2", *both) == held(fabric, "hv3", *both) == []
    fabric.do(bind("web1", "hv3"))
    assert held(fabric, "hv3", *both) == [Table.EGRESS] * 5
    assert held(fabric, "hv1", *both) == []


def test_the_way_to_a_mirror_is_where_its_network_is() -> None:
    fabric = three_hosts()
    assert held(fabric, "hv3", Feature.DIRECT) == []
    deltas = fabric.do(put("watch", policy("blue", to_port="db1", action=None, actions=(Mirror("tap"),))))
    assert set(deltas) == {"hv1", "hv2", "hv3"}
    assert held(fabric, "hv1", Feature.DIRECT) == held(fabric, "hv2", Feature.DIRECT) == [Table.DIRECT]
    assert held(fabric, "hv3", Feature.DIRECT) == [Table.DIRECT, Table.RECEIVE]
    assert held(fabric, "hv4", Feature.DIRECT) == []
    fabric.do(bind("tap", "hv1"))
    assert held(fabric, "hv1", Feature.DIRECT) == [Table.DIRECT, Table.RECEIVE]
    fabric.do(delete("option-policy/watch"))
    assert held(fabric, "hv1", Feature.DIRECT) == []


def test_a_chain_makes_services_of_its_ports_until_it_goes() -> None:
    fabric = three_hosts()
    fabric.do(put("p9", port("blue", 9, "10.0.0.9")), bind("p9", "hv2"))
    fabric.do(
        put("chain", policy("blue", direction=EGRESS, action=None, actions=(Steer(("tap", "p9"), TIER),)))
    )
    # Recognised, itself, passed on, onwards; six more where a port has addresses of its own.
    assert len(held(fabric, "hv3", Feature.SERVICE)) == 4
    assert len(held(fabric, "hv2", Feature.SERVICE)) == 4 + 6
    assert held(fabric, "hv1", Feature.SERVICE) == []
    before = fabric.compiler.desired("hv3")
    fabric.do(put("p9", port("blue", 10, "10.0.0.9")))
    changed = {
        parse(flow.cookie).feature
        for key, flow in before.flows.items()
        if fabric.compiler.desired("hv3").flows.get(key) != flow
    }
    assert Feature.SERVICE not in changed, "the next port is known by its key, not by its MAC"
    fabric.do(delete("option-policy/chain"))
    assert held(fabric, "hv3", Feature.SERVICE, Feature.DIRECT) == []


def test_what_is_on_its_way_into_a_network_is_not_written() -> None:
    """By no port, and by no policy: receivers are to understand it first."""
    fabric = small_fabric()
    trace = FieldName("trace", "tier")
    fabric.do(put("trace", schema(2)), put("blue", network(100, "context", "trace")))
    rule = put(
        "rule", policy("blue", direction=EGRESS, action=None, actions=(Stamp(TIER, 1), Stamp(trace, 1)))
    )
    fabric.do(rule)
    assert written(fabric) == {"tun_metadata0"}
    assert set(fabric.do(rolled_out("blue", "trace"))) == {"hv1", "hv2"}
    assert written(fabric) == {"tun_metadata0", "tun_metadata1"}


def written(fabric: Fabric) -> set[str]:
    view = view_of(fabric.intent, "rule")
    return {
        action.field.name
        for flow in feature.flows(view)
        for action in flow.actions
        if hasattr(action, "field") and is_tun_metadata(action.field)
    }


def test_cost_of_a_policy_is_its_own() -> None:
    fabric = three_hosts()
    for number in range(50):
        fabric.do(put(f"rule{number}", policy("blue", to_port="web1", priority=number)))
    before = fabric.compiler.parts_compiled
    deltas = fabric.do(put("new", policy("blue", to_port="db1", action=None)))
    assert set(deltas) == {"hv2"}
    # The policy and its port.
    assert fabric.compiler.parts_compiled - before == 2
    before = fabric.compiler.parts_compiled
    assert {
        name: len(d.flows) for name, d in fabric.do(put("all", policy("blue", direction=EGRESS))).items()
    } == {
        # The policy, the rest of the network, and the way out for neighbour discovery.
        f"hv{number}": 5
        for number in (1, 2, 3)
    }
    assert fabric.compiler.parts_compiled - before == 2


def test_a_port_more_in_a_group_touches_no_policy() -> None:
    fabric = three_hosts()
    fabric.do(
        put("web", group(1)), put("blue", network(100, "context", "identity")), rolled_out("blue", "identity")
    )
    fabric.do(put("rule", policy("blue", from_group="web", to_group="web")))
    deltas = fabric.do(put("tap", port("blue", 3, group="web")))
    assert set(deltas) == {"hv3"}
    assert held(fabric, "hv3", Feature.POLICY, Feature.POLICY_DEFAULT) == [Table.POLICY] * 2


def view_of(intent: Intent, name: str):
    declared = intent.option_policies[name]
    view = network_view(intent, intent.networks[declared.spec.network])
    return policy_view(intent, declared, view)


@pytest.mark.parametrize("seed", range(5))
def test_flows_are_as_many_as_were_counted(seed: int) -> None:
    operations = Operations(Random(seed))
    intent, seen = Intent(), 0
    for command in [*operations.world(), *(operations.draw(binds=False) for _ in range(200))]:
        try:
            decision = evaluate(intent, command)
        except IntentError:
            continue
        if decision.changes:
            intent = intent.with_changes(decision.changes, intent.revision + 1)
        if isinstance(command, Put) and isinstance(command.spec, OptionPolicySpec):
            flows = list(feature.flows(view_of(intent, command.name)))
            assert len({flow.key for flow in flows}) == len(flows) == flows_of_policy(command.spec)
            seen += 1
    assert seen > 5
