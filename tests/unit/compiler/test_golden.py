# SPDX-License-Identifier: Apache-2.0
"""Every host's groups and flows of a few small scenarios, as text that is reviewed like code.

A change that is meant: UPDATE_GOLDEN=1 pytest tests/unit/compiler/test_golden.py, and read the diff.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from controller.compiler import buckets, parts, port_flows, rule_parts, situation
from controller.compiler.buckets import EncodedBucket, seal_group
from controller.compiler.cookies import Feature, parse
from controller.compiler.features import flood, local_port, neighbours, tunnel
from controller.compiler.groups import GroupPurpose, group_id
from controller.compiler.pipeline import Table
from controller.compiler.stencil import seal_flows
from controller.compiler.views import PortView
from controller.hoststate import EncodedFlow, EncodedGroup, flows_of
from controller.intent.model import Address, Direction, InnerVlan, Kind, OffloadChoice
from controller.intent.rules import (
    Copy,
    FieldName,
    Mirror,
    PacketField,
    PacketMatch,
    PortRange,
    SetDscp,
    SetQueue,
    Stamp,
    StampFrom,
    Steer,
    Strip,
)
from ovs_geneve.geneve.fields import FieldKind, OptionField
from ovs_geneve.openflow.bundle import Block
from ovs_geneve.openflow.flow import Bucket, Flow, GroupEntry, GroupKind
from ovs_geneve.openflow.stats import canonical_buckets
from ovs_geneve.openflow.template import GroupCommand, encode_group
from ovs_geneve.openflow.text import render_flow, render_group
from tests.builders import (
    Fabric,
    bind,
    drop_policy,
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

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
TABLES = {int(table): table.name.lower() for table in Table}


def empty_host(fabric: Fabric) -> None:
    fabric.do(put("hv1", host("192.0.2.1")))


def one_port_ipv4(fabric: Fabric) -> None:
    fabric.do(
        put("hv1", host("192.0.2.1")),
        put("blue", network(100)),
        put("web1", port("blue", 1, "10.0.0.1")),
        bind("web1", "hv1"),
    )
    fabric.plug("hv1", web1=1)


def one_port_dual_stack(fabric: Fabric) -> None:
    one_port_ipv4(fabric)
    fabric.do(put("web1", port("blue", 1, "10.0.0.1", "2001:db8::1")))


def two_hosts_one_network(fabric: Fabric) -> None:
    one_port_ipv4(fabric)
    fabric.do(
        put("hv2", host("192.0.2.2")),
        put("db1", port("blue", 2, "10.0.0.2")),
        put("open", port("blue", 3)),
        bind("db1", "hv2"),
        bind("open", "hv2"),
    )
    fabric.plug("hv2", db1=1, open=2)


def options_and_policies(fabric: Fabric) -> None:
    two_hosts_one_network(fabric)
    fabric.do(
        put("context", schema(1)),
        put("trace", schema(2, length=8)),
        put("blue", network(100, "context", "trace", values={"context.zone": 7})),
        rolled_out("blue", "context"),
        rolled_out("blue", "trace"),
        put("web1", port("blue", 1, "10.0.0.1", values={"context.tier": 2})),
        put("tier2-only", policy("blue", {"context.tier": (2, 0xFF)}, to_port="db1")),
        put("no-zone-9", drop_policy("blue", {"context.zone": (9, 0xFFFF)}, priority=200)),
    )


def option_firewall(fabric: Fabric) -> None:
    two_hosts_one_network(fabric)
    fabric.do(
        put("context", schema(1)),
        put("trace", schema(2, length=8)),
        put("blue", network(100, "context")),
        rolled_out("blue", "context"),
        put("red", network(200)),
        put("red1", port("red", 4)),
        bind("red1", "hv2"),
    )


def option_policies(fabric: Fabric) -> None:
    """All that policies match and do, at the sender and at the receiver."""
    two_hosts_one_network(fabric)
    tier, zone, hop = (
        FieldName(*name) for name in (("context", "tier"), ("context", "zone"), ("trace", "hop"))
    )
    web = PacketMatch(protocol=6, destination_ports=(PortRange(80, 82),))
    marked = PacketMatch(source=ip_network("10.0.0.0/24"), dscp=46)
    out = Direction.EGRESS
    fabric.do(
        put("web", group(7)),
        put("context", schema(1)),
        put(
            "trace",
            schema(2, length=8, fields=(OptionField(name="hop", kind=FieldKind.UINT, offset=32, bits=4),)),
        ),
        put("blue", replace(network(100, "identity", "context", "trace"), inner_vlan=InnerVlan.STRIP)),
        put("web1", port("blue", 1, "10.0.0.1", group="web")),
        put("tap", port("blue", 4)),
        bind("tap", "hv1"),
        *(rolled_out("blue", name) for name in ("identity", "context", "trace")),
        put(
            "stamp",
            policy(
                "blue",
                direction=out,
                action=None,
                from_port="web1",
                packet=marked,
                priority=400,
                actions=(Stamp(tier, 5), StampFrom(zone, PacketField.VLAN), Copy(hop, hop), SetDscp(10)),
            ),
        ),
        put(
            "chain",
            policy(
                "blue",
                direction=out,
                action=None,
                from_group="web",
                packet=web,
                priority=300,
                actions=(Steer(("open", "tap"), hop),),
            ),
        ),
        put("to-db", policy("blue", direction=out, from_port="web1", to_port="db1")),
        put(
            "watch",
            policy(
                "blue",
                {"context.tier": (5, 0xFF)},
                to_port="db1",
                action=None,
                from_port="web1",
                actions=(Strip("trace"), SetQueue(3), Mirror("tap")),
            ),
        ),
        put("web-in", policy("blue", to_group="web", from_group="web")),
    )
    fabric.plug("hv1", tap=4)


def options_on_their_way(fabric: Fabric) -> None:
    two_hosts_one_network(fabric)
    fabric.do(
        put("context", schema(1)),
        put("trace", schema(2, length=8)),
        put("blue", network(100, "trace")),
        rolled_out("blue", "trace"),
        put("blue", network(100, "context")),
    )


def ipv6_underlay(fabric: Fabric) -> None:
    fabric.do(
        put("hv1", host("2001:db8:ffff::1")),
        put("hv2", host("2001:db8:ffff::2", "192.0.2.2")),
        put("hv3", host("192.0.2.3")),
        put("blue", network(100)),
        *(put(f"p{number}", port("blue", number)) for number in (1, 2, 3)),
        *(bind(f"p{number}", f"hv{number}") for number in (1, 2, 3)),
    )


def groups_and_policies(fabric: Fabric) -> None:
    fabric.do(
        *(put(f"hv{n}", host(f"192.0.2.{n}")) for n in (1, 2)),
        put("web", group()),
        put("db", group()),
        put("blue", network(100, "identity")),
        put("web1", port("blue", 1, group="web")),
        put("db1", port("blue", 2, group="db")),
        bind("web1", "hv1"),
        bind("db1", "hv2"),
        put(
            "web-db", group_policy("blue", "db", from_group="web", protocol=6, ports=(PortRange(5432, 5433),))
        ),
        put(
            "no-telnet",
            group_policy("blue", "db", protocol=6, ports=(PortRange(23, 23),), allow=False, log=True),
        ),
        put("web-any", group_policy("blue", "db", from_group="web", stateful=True, priority=50)),
        put("ping-web", group_policy("blue", "web", protocol=1, stateful=True)),
    )
    fabric.plug("hv2", db1=1)


def offload(fabric: Fabric) -> None:
    """hv1 looks at no O bit, hv2 at that of everything that arrives."""
    fabric.do(
        put("hv1", host("192.0.2.1", offload=OffloadChoice.ON)),
        put("hv2", host("192.0.2.2", offload=OffloadChoice.OFF)),
        put("context", schema(1)),
    )


SCENARIOS = (
    empty_host,
    one_port_ipv4,
    one_port_dual_stack,
    two_hosts_one_network,
    options_and_policies,
    option_policies,
    option_firewall,
    options_on_their_way,
    ipv6_underlay,
    groups_and_policies,
    offload,
)


class Recorder:
    """Remembers what was encoded, so that it can be shown as text; stands in for `port_flows`, which it checks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.flows: dict[EncodedFlow, Flow] = {}
        self.groups: dict[EncodedGroup, GroupEntry] = {}
        self.buckets: dict[Bucket, EncodedBucket] = {}
        monkeypatch.setattr(parts, "seal_flows", self._seal)
        monkeypatch.setattr(rule_parts, "seal_flows", self._seal)
        monkeypatch.setattr(parts, "seal_group", self._group)
        monkeypatch.setattr(situation, "to_host", self._to_host)
        monkeypatch.setattr(parts, "to_port", self._to_port)
        monkeypatch.setattr(parts, "port_flows", self)

    def answers(self, port: PortView) -> Block:
        block = self._seal(neighbours.flows(port), Feature.NEIGHBOURS, port.key)
        assert block == port_flows.answers(port)
        return block

    def way(self, port: PortView, endpoint: Address) -> Block:
        block = self._seal((tunnel.remote_port_flow(port, endpoint),), Feature.REMOTE, port.key)
        assert block == port_flows.way(port, endpoint)
        return block

    def local(self, port: PortView, ofport: int) -> Block:
        block = self._seal(local_port.flows(port, ofport), Feature.LOCAL, port.key, port.salt)
        assert block == port_flows.local(port, ofport)
        return block

    def _seal(self, flows: Iterable[Flow], *rest) -> Block:
        flows = tuple(flows)
        block = seal_flows(flows, *rest)
        self.flows.update(zip(flows_of(block), flows, strict=True))
        return block

    def _group(self, network_key: int, purpose: GroupPurpose, buckets: Sequence[Bucket]) -> EncodedGroup:
        entry = GroupEntry(
            group_id=group_id(network_key, purpose), kind=GroupKind.ALL, buckets=tuple(buckets)
        )
        encoded = [EncodedBucket(*self.buckets[bucket]) for bucket in buckets]
        sealed = seal_group(network_key, purpose, encoded)
        assert sealed.content == canonical_buckets(entry)
        assert sealed.message == encode_group(GroupCommand.ADD_OR_MODIFY, entry)
        self.groups[sealed] = entry
        return sealed

    def _to_host(self, *arguments) -> Bucket:
        return self._bucket(flood.to_host(*arguments), buckets.to_host(*arguments))

    def _to_port(self, *arguments) -> Bucket:
        return self._bucket(flood.to_port(*arguments), buckets.to_port(*arguments))

    def _bucket(self, bucket: Bucket, encoded: EncodedBucket) -> Bucket:
        self.buckets[bucket] = encoded
        return bucket

    def render(self, fabric: Fabric, name: str) -> Iterable[str]:
        """Yield a host's part of the golden file: what is the same on every host is shown for empty-host only."""
        desired = fabric.compiler.desired(name)
        names = {
            held.key: held.id
            for kind in Kind
            if kind is not Kind.BINDING
            for held in fabric.intent.objects(kind).values()
        }
        for option in sorted(desired.tlv_maps, key=lambda m: m.index):
            shape = f"class={option.option_class:#x},type={option.option_type:#x},len={option.length}"
            yield f"tlv    {{{shape}}}->tun_metadata{option.index}"
        for held in sorted(desired.groups.values()):
            yield f"group  {render_group(self.groups[held], TABLES)}"
        for flow in sorted(
            desired.flows.values(), key=lambda f: (f.key[0], -int.from_bytes(f.key[1:3]), f.key)
        ):
            cookie = parse(flow.cookie)
            if cookie.feature == Feature.PIPELINE and fabric.intent.networks:
                continue
            owner = f"{Feature(cookie.feature).name.lower()} {names.get(cookie.object_key, '')}".strip()
            yield f"flow   {render_flow(self.flows[flow], TABLES)}  # {owner}"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_flows_are_as_reviewed(scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, fabric = Recorder(monkeypatch), Fabric()
    scenario(fabric)
    lines = []
    for name in sorted(fabric.intent.hosts):
        lines += [f"# {name}", *recorder.render(fabric, name), ""]
    text = "\n".join(lines)
    path = GOLDEN / f"{scenario.__name__}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text(), f"{path.name} differs; UPDATE_GOLDEN=1 writes it anew"
