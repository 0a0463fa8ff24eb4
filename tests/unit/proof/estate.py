# SPDX-License-Identifier: Apache-2.0
"""Two tenants on two hosts with all that flows do between them; their flows, to be changed and proved."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from controller.compiler.pipeline import Table
from controller.intent.intent import Intent
from controller.intent.model import Direction, InnerVlan, Kind
from controller.intent.rules import (
    FieldName,
    Mirror,
    PacketField,
    PacketMatch,
    PortRange,
    Stamp,
    StampFrom,
    Steer,
)
from controller.proof.facts import Facts, facts_of
from controller.proof.prove import HostFlows, decoded_hosts, prove_flows
from controller.proof.report import Proof
from ovs_geneve.openflow.actions import Action
from ovs_geneve.openflow.fields import XREGS, Field, tun_metadata
from ovs_geneve.openflow.flow import Flow, GroupEntry, Match, TermLike
from tests.builders import (
    Fabric,
    bind,
    group,
    group_policy,
    host,
    network,
    policy,
    port,
    put,
    rolled_out,
    schema,
)

CONTEXT, TRACE = FieldName("context", "tier"), FieldName("trace", "zone")
BLUE, RED = 100, 200
PORTS = {
    "hv1": {"web1": 1, "mid": 2, "red1": 3, "red3": 4},
    "hv2": {"db1": 1, "tap": 2, "red2": 3, "redtap": 4},
}


def estate() -> Fabric:
    """Blue has stateful policies between groups, a chain, a mirror and a stamp; red a mirror in the other direction."""
    fabric = Fabric()
    out = Direction.EGRESS
    fabric.do(
        put("hv1", host("192.0.2.1", "2001:db8:ffff::1")),
        put("hv2", host("192.0.2.2", "2001:db8:ffff::2")),
        *(put(name, group()) for name in ("web", "db")),
        put("context", schema(1)),
        put("trace", schema(2, length=8)),
        put("blue", replace(network(BLUE, "identity", "context", "trace"), inner_vlan=InnerVlan.STRIP)),
        put("red", network(RED, "context")),
        *(rolled_out("blue", name) for name in ("identity", "context", "trace")),
        rolled_out("red", "context"),
        put("web1", port("blue", 1, "10.0.0.1", "2001:db8::1", group="web")),
        put("db1", port("blue", 2, "10.0.0.2", "2001:db8::2", group="db")),
        put("tap", port("blue", 3)),
        put("mid", port("blue", 4)),
        put("red1", port("red", 1, "10.0.0.1", "2001:db8::1")),
        put("red2", port("red", 2, "10.0.0.2")),
        put("red3", port("red", 5, "10.0.0.5")),
        put("redtap", port("red", 6)),
        *(bind(name, on) for on, ports in PORTS.items() for name in ports),
        put(
            "stamp",
            policy(
                "blue",
                direction=out,
                action=None,
                from_port="web1",
                actions=(StampFrom(CONTEXT, PacketField.DSCP),),
            ),
        ),
        put(
            "chain",
            policy(
                "blue",
                direction=out,
                action=None,
                from_group="db",
                packet=PacketMatch(protocol=6, destination_ports=(PortRange(80, 82),)),
                priority=300,
                actions=(Steer(("mid",), TRACE),),
            ),
        ),
        put("watch-web", policy("blue", to_port="web1", action=None, actions=(Mirror("tap"),), priority=200)),
        put("watch", policy("blue", to_port="db1", action=None, actions=(Mirror("tap"),), priority=200)),
        put(
            "watch-red",
            policy(
                "red",
                direction=out,
                from_port="red1",
                action=None,
                actions=(Mirror("redtap"), Stamp(CONTEXT, 3)),
            ),
        ),
        put(
            "web-db",
            group_policy(
                "blue", "db", from_group="web", protocol=6, ports=(PortRange(80, 81),), stateful=True
            ),
        ),
        put("log", group_policy("blue", "web", protocol=17, ports=(PortRange(9, 9),), allow=False, log=True)),
    )
    for name, ports in PORTS.items():
        fabric.plug(name, **ports)
    return fabric


@dataclass(frozen=True)
class Estate:
    """What is proved: flows and groups by host, and what they are held against."""

    intent: Intent
    facts: Facts
    hosts: dict[str, HostFlows]
    lengths: dict[int, int]

    @classmethod
    def of(cls, fabric: Fabric) -> Estate:
        snapshot = fabric.compiler.snapshot()
        return cls(
            intent=fabric.intent,
            facts=facts_of(snapshot.intent, snapshot.ofports),
            hosts=decoded_hosts(snapshot),
            lengths={one.index: one.length for one in snapshot.tlv_maps},
        )

    def prove(self) -> Proof:
        return prove_flows(self.facts, self.hosts, self.lengths, self.intent)

    def key(self, name: str) -> int:
        kind, _, one = name.partition("/")
        held = self.intent.get(Kind(kind), one)
        assert held is not None
        return held.key

    def slot(self, schema_name: str) -> Field:
        slot = self.intent.option_schemas[schema_name].spec.slot
        assert slot is not None
        return tun_metadata(slot, self.lengths[slot])

    def with_flows(self, change: Callable[[str, Flow], Iterable[Flow]]) -> Estate:
        """Put other flows, none or several, in the place of each; fail if nothing becomes different."""
        hosts = {
            name: (tuple(new for flow in flows for new in change(name, flow)), groups)
            for name, (flows, groups) in self.hosts.items()
        }
        assert hosts != self.hosts, "the change found no flow"
        return replace(self, hosts=hosts)

    def with_groups(self, change: Callable[[str, GroupEntry], GroupEntry]) -> Estate:
        """Put other groups in the place of each; fail if nothing becomes different."""
        hosts = {
            name: (flows, tuple(change(name, one) for one in groups))
            for name, (flows, groups) in self.hosts.items()
        }
        assert hosts != self.hosts, "the change found no group"
        return replace(self, hosts=hosts)


def of_table(flow: Flow, table: Table, *fields: Field, priority: int | None = None) -> bool:
    """Tell whether a flow is in a table and matches these fields among others."""
    asked = {term.field for term in flow.match.terms}
    return flow.table == table and asked.issuperset(fields) and priority in (None, flow.priority)


def value_of(flow: Flow, field: Field) -> int | None:
    """Return what a flow wants a field to be."""
    return next((term.value for term in flow.match.terms if term.field is field), None)


def without(flow: Flow, *fields: Field) -> Flow:
    """Return a flow that does not ask for some fields."""
    terms = [term for term in flow.match.terms if term.field not in fields]
    return replace(flow, match=Match.of(*terms))


def asking(flow: Flow, *terms: TermLike) -> Flow:
    """Return a flow that asks for other values of some fields."""
    fields = [term[0] for term in terms]
    kept = [term for term in flow.match.terms if term.field not in fields]
    return replace(flow, match=Match.of(*kept, *terms))


def doing(flow: Flow, *actions: Action) -> Flow:
    """Return a flow that does something before what it does."""
    return replace(flow, actions=(*actions, *flow.actions))


def swapped(flow: Flow, swap: Callable[[Action], Action]) -> Flow:
    """Return a flow with other actions in the place of its own."""
    return replace(flow, actions=tuple(swap(action) for action in flow.actions))


REG0_OR_1 = XREGS[0]
"How matches on reg0 and reg1 are written."
