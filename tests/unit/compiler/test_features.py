# SPDX-License-Identifier: Apache-2.0
"""Which flows an object brings to which host. What the flows look like is in tests/golden."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address

import pytest

from controller.compiler.cookies import Feature, parse
from controller.compiler.pipeline import Table
from controller.hoststate import EncodedFlow, flows_of
from controller.intent.model import TargetSpec
from ovs_geneve.openflow.bundle import ADD_OVERHEAD
from ovs_geneve.openflow.messages import MessageType
from tests.builders import (
    Fabric,
    bind,
    delete,
    drop_policy,
    host,
    network,
    policy,
    port,
    put,
    schema,
    small_fabric,
)


def counts(fabric: Fabric, name: str, *tables: Table) -> Counter[str]:
    """Count a host's flows by feature, those of some tables only if any are named."""
    flows = fabric.compiler.desired(name).flows.values()
    return Counter(
        Feature(parse(flow.cookie).feature).name for flow in flows if not tables or flow.key[0] in tables
    )


def test_host_that_is_not_declared_has_nothing() -> None:
    fabric = Fabric()
    assert not fabric.compiler.desired("hv1").flows
    fabric.do(put("hv1", host("192.0.2.1")))
    fabric.do(delete("host/hv1"))
    assert not fabric.compiler.desired("hv1").flows


def test_every_table_ends_with_a_flow_that_counts() -> None:
    fabric = Fabric()
    fabric.do(put("hv1", host("192.0.2.1")))
    last = {flow.key[0] for flow in fabric.compiler.desired("hv1").flows.values() if flow.key[1:] == b"\0\0"}
    assert last == set(Table)


@pytest.mark.parametrize(
    ("addresses", "antispoof", "answers"),
    [((), 1, 0), (("10.0.0.9",), 5, 1), (("2001:db8::9",), 12, 2), (("10.0.0.9", "2001:db8::9"), 16, 3)],
)
def test_flows_of_a_port_by_its_addresses(addresses, antispoof: int, answers: int) -> None:
    fabric = Fabric()
    fabric.do(
        *(put(f"hv{n}", host(f"192.0.2.{n}")) for n in (1, 2)),
        put("blue", network(100)),
        put("web1", port("blue", 9, *addresses)),
        put("db1", port("blue", 1)),
        bind("web1", "hv1"),
        bind("db1", "hv2"),
    )
    fabric.plug("hv1", web1=1)
    assert counts(fabric, "hv1", Table.ANTISPOOF, Table.ND_GUARD)["LOCAL"] == antispoof
    # Classify, stamp, forward, receive, deliver; and for each address a way past our own answer.
    assert counts(fabric, "hv1")["LOCAL"] == antispoof + 5 + answers
    assert counts(fabric, "hv1", Table.NEIGHBOURS)["NEIGHBOURS"] == answers
    assert counts(fabric, "hv2", Table.NEIGHBOURS)["NEIGHBOURS"] == answers
    assert counts(fabric, "hv2")["REMOTE"] == 1
    assert counts(fabric, "hv1")["REMOTE"] == 1


def test_port_that_is_bound_but_not_plugged_is_known_elsewhere_only() -> None:
    fabric = small_fabric()
    fabric.plug("hv1", web1=0)
    assert counts(fabric, "hv1")["LOCAL"] == 0
    assert counts(fabric, "hv2")["REMOTE"] == 1


def test_hosts_without_the_network_do_not_hear_of_it() -> None:
    fabric = small_fabric()
    fabric.do(put("hv3", host("192.0.2.3")))
    assert set(counts(fabric, "hv3")) == {"PIPELINE", "TUNNEL", "PEER", "FIREWALL"}
    assert counts(fabric, "hv3")["FIREWALL"] == 1, "the watch"
    assert counts(fabric, "hv3")["PEER"] == 2
    assert not fabric.compiler.desired("hv3").groups


def test_policy_to_a_port_is_on_its_host_alone() -> None:
    fabric = small_fabric()
    fabric.do(put("rule", policy("blue", {"context.tier": (2, 0xFF)}, to_port="db1")))
    assert counts(fabric, "hv2", Table.POLICY) == {"PIPELINE": 1, "POLICY": 1, "POLICY_DEFAULT": 1}
    assert counts(fabric, "hv1", Table.POLICY) == {"PIPELINE": 1}
    fabric.do(bind("db1", "hv1"))
    assert counts(fabric, "hv1", Table.POLICY)["POLICY"] == 1
    assert counts(fabric, "hv2", Table.POLICY)["POLICY"] == 0


def test_policy_of_a_network_is_on_all_its_hosts() -> None:
    fabric = small_fabric()
    fabric.do(put("rule", policy("blue")))
    for name in ("hv1", "hv2"):
        assert counts(fabric, name, Table.POLICY) == {"PIPELINE": 1, "POLICY": 1, "POLICY_DEFAULT": 1}


def test_drop_alone_lets_the_rest_in() -> None:
    fabric = small_fabric()
    fabric.do(put("rule", drop_policy("blue")), put("rule2", drop_policy("blue", to_port="web1")))
    assert counts(fabric, "hv1", Table.POLICY) == {"PIPELINE": 1, "POLICY": 2}


def test_flows_that_concern_no_local_port_are_the_same_object_on_every_host() -> None:
    """Encoded once, held by reference."""
    fabric = small_fabric()
    fabric.do(put("hv3", host("192.0.2.3")), put("more", port("blue", 3)), bind("more", "hv3"))
    hosts = [flows_by_block(fabric, name) for name in ("hv1", "hv2", "hv3")]
    holders = Counter(block for flows in hosts for block in flows)
    shared = [flow for block, flows in hosts[0].items() if holders[block] > 1 for flow in flows]
    alone = {flow for block, flows in hosts[0].items() if holders[block] == 1 for flow in flows}
    assert any(parse(flow.cookie).feature == Feature.REMOTE for flow in shared)
    assert not any(alone.intersection(flows) for other in hosts[1:] for flows in other.values())


def flows_by_block(fabric: Fabric, name: str) -> dict[int, list[EncodedFlow]]:
    """Return a host's flows by the object that holds their bytes."""
    blocks = fabric.compiler.installation(name).blocks
    return {id(b): list(flows_of(b)) for b in blocks if b.data[ADD_OVERHEAD + 1] == MessageType.FLOW_MOD}


def refused(fabric: Fabric, name: str) -> set[bytes]:
    """Return the keys of a host's flows that refuse options, the watch among them."""
    flows = fabric.compiler.desired(name).flows.values()
    return {flow.key for flow in flows if parse(flow.cookie).feature == Feature.FIREWALL}


def test_each_network_refuses_the_options_that_it_does_not_carry() -> None:
    fabric = small_fabric()
    only_the_watch = refused(fabric, "hv1")
    assert len(only_the_watch) == 1
    fabric.do(put("trace", schema(2)))
    assert len(refused(fabric, "hv1") - only_the_watch) == 1
    fabric.do(put("blue", network(100, "context", "trace")))
    assert refused(fabric, "hv1") == only_the_watch, "understood before the first port stamps it"
    fabric.do(put("green", network(300)), put("g1", port("green", 7)), bind("g1", "hv2"))
    assert len(refused(fabric, "hv2") - only_the_watch) == 2
    assert refused(fabric, "hv1") == only_the_watch, "it has no port of green"


def test_hosts_behind_a_load_balancer_have_its_flows_and_no_others_do():
    gateways = (ip_address("192.0.2.100"),)
    fabric = Fabric()
    aws = [
        put(name, schema(kind, option_class=0x0108, length=length, fields=(), profile="aws-gwlb"))
        for name, kind, length in (("endpoint", 1, 8), ("attachment", 2, 8), ("cookie", 3, 4))
    ]
    options = ("endpoint", "attachment", "cookie")

    def target(*hosts: str):
        return put("gwlb", network(300, *options, target=TargetSpec(gateways=gateways, hosts=hosts)))

    def holders() -> set[str]:
        return {
            name
            for name in ("hv1", "hv2")
            if any(
                parse(flow.cookie).feature == Feature.TARGET
                for flow in fabric.compiler.desired(name).flows.values()
            )
        }

    fabric.do(put("hv1", host("192.0.2.1")), put("hv2", host("192.0.2.2")), *aws, target("hv1"))
    assert holders() == {"hv1"}
    fabric.do(put("other", schema(1)))
    refused = [
        flow
        for flow in fabric.compiler.desired("hv1").flows.values()
        if parse(flow.cookie).feature == Feature.FIREWALL and parse(flow.cookie).object_key
    ]
    assert len(refused) == 1, "an option that the load balancer does not know does not go back to it"
    assert set(fabric.do(target("hv2"))) == {"hv1", "hv2"}
    assert holders() == {"hv2"}
    fabric.compiler.serve(frozenset({"hv1"}))
    assert holders() == set()
    fabric.compiler.serve(None)
    assert holders() == {"hv2"}
    fabric.do(delete("network/gwlb"))
    assert holders() == set()
