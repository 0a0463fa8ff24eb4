# SPDX-License-Identifier: Apache-2.0
"""Option policies of the destination decide on Linux hosts as their documentation has it, while options come and go."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_network
from random import Random

import pytest

from controller.compiler.views import network_view
from controller.errors import IntentError
from controller.intent.commands import Record
from controller.intent.companions import rollout_name
from controller.intent.model import (
    Direction,
    HostKind,
    OptionPolicySpec,
    PolicyAction,
    RolloutSpec,
    RolloutStage,
)
from controller.intent.rules import PacketMatch, PortRange, SetDscp
from tests.builders import bind, group, group_policy, host, network, policy, port, put, rolled_out, schema
from tests.unit.linux.builders import LinuxFabric, linux
from tests.unit.linux.kernel_model import Option, Packet, Tunnel
from tests.unit.linux.test_traffic import between, places, world_of

ENDPOINTS = {"lx1": "192.0.2.1", "lx2": "192.0.2.2", "hv1": "192.0.2.3"}
GROUPS = (None, "web", "db")
OPTIONS = ("context", "trace", "identity")
Data = dict[str, int]
"Of the options that a packet carries, by schema."


def fabric_of(random: Random, under_way: int = 0) -> LinuxFabric:
    """Return three hosts with ports; so many options are on their way into the network."""
    done = set(OPTIONS) - set(random.sample(OPTIONS, under_way))
    fabric = LinuxFabric()
    fabric.do(
        put("lx1", linux("192.0.2.1")),
        put("lx2", linux("192.0.2.2")),
        put("hv1", host("192.0.2.3")),
        put("web", group()),
        put("db", group()),
        put("context", schema(1)),
        put("trace", schema(2, length=12)),
        put("blue", network(100)),
        put("elsewhere", port("blue", 255)),
        put("blue", network(100, *OPTIONS)),
        *(
            put(
                f"{where}-{who or 'any'}",
                port(
                    "blue",
                    16 * i + j,
                    f"10.0.{i}.{j}",
                    values={"context.tier": random.randrange(3), "trace.zone": random.randrange(2)},
                    group=who,
                ),
            )
            for i, where in enumerate(ENDPOINTS, 1)
            for j, who in enumerate(GROUPS, 1)
        ),
        *(bind(f"{where}-{who or 'any'}", where) for where in ENDPOINTS for who in GROUPS),
        *(rolled_out("blue", one) for one in done),
    )
    for one in set(OPTIONS) - done:
        # As a rollout that is under way has it.
        spec = RolloutSpec(network="blue", schema=one, stage=random.choice(list(RolloutStage)))
        fabric.do(Record(name=rollout_name("blue", one), spec=spec))
    for name in ("lx1", "lx2"):
        fabric.plug(name, **{one: f"if-{one}" for one in fabric.intent.ports if one.startswith(name)})
    for number in range(random.randrange(1, 7)):
        with suppress(IntentError):
            fabric.do(put(f"rule{number}", random_policy(random)))
    if random.random() < 0.4:
        fabric.do(put("in", group_policy("blue", "db", from_group=random.choice(("web", None)))))
    return fabric


def random_policy(random: Random) -> OptionPolicySpec:
    matches = random.choice(({}, {"context.tier": (random.randrange(3), 0xFF)}, {"trace.zone": (1, 1)}))
    if random.random() < 0.2:
        matches = {**matches, "trace.tier": (0, 0xFF)}
    who = random.choice(({}, {"from_port": f"{random.choice(list(ENDPOINTS))}-web"}, {"from_group": "web"}))
    to = random.choice(({}, {"to_port": f"{random.choice(('lx1', 'lx2'))}-db"}, {"to_group": "db"}))
    packet = random.choice(
        (
            PacketMatch(),
            PacketMatch(protocol=17),
            PacketMatch(protocol=17, destination_ports=(PortRange(80, 90), PortRange(53, 53))),
            PacketMatch(source=ip_network("10.0.1.0/24")),
        )
    )
    return policy(
        "blue",
        matches,
        direction=Direction.INGRESS,
        packet=packet,
        action=random.choice((PolicyAction.ALLOW, PolicyAction.DROP)),
        priority=random.choice((100, 200)),
        **who,
        **to,
    )


def data_of(fabric: LinuxFabric, name: str) -> Data:
    """What options a port's packets carry once all are rolled out."""
    spec = fabric.intent.ports[name].spec
    data = {"context": 0, "trace": 0, "identity": 0}
    for one in spec.values:
        layout = fabric.intent.option_schemas[one.schema].spec.layout
        data[one.schema] |= layout.match_bits(one.field, one.value)[0]
    if spec.group is not None:
        data["identity"] = fabric.intent.groups[spec.group].spec.identity or 0
    return data


def wire(fabric: LinuxFabric, data: Data) -> tuple[Option, ...]:
    schemas = sorted(
        (fabric.intent.option_schemas[name] for name in data), key=lambda one: one.spec.slot or 0
    )
    return tuple(
        (
            one.spec.layout.option_class,
            one.spec.layout.option_type,
            data[one.name].to_bytes(one.spec.layout.length).hex(),
        )
        for one in schemas
    )


def said(fabric: LinuxFabric, source: str, receiver: str, packet: Packet, data: Data) -> bool:
    """What the policies say of a packet with these options, as OptionPolicySpec and PolicySpec document it."""
    intent = fabric.intent
    arriving = {one.name for one in network_view(intent, intent.networks["blue"]).arriving}
    read = dict.fromkeys(arriving, 0) | data
    group_name = intent.ports[receiver].spec.group
    about = [
        held.spec
        for held in intent.option_policies.values()
        if held.spec.to_port in (None, receiver) and held.spec.to_group in (None, group_name)
    ]
    found = [one for one in about if _speaks(fabric, one, source, packet, read)]
    top = max((one.priority for one in found), default=0)
    verdicts = {one.action for one in found if one.priority == top}
    if PolicyAction.DROP in verdicts:
        return False
    if not verdicts and any(one.action is PolicyAction.ALLOW for one in about):
        return False
    return _groups_say(fabric, group_name, intent.ports[source].spec.group, data)


def _groups_say(fabric: LinuxFabric, receiver: str | None, sender: str | None, data: Data) -> bool:
    towards = [held.spec for held in fabric.intent.policies.values() if held.spec.to_group == receiver]
    known = sender if data.get("identity") else None
    return not towards or any(one.from_group in (None, known) for one in towards)


def _speaks(fabric: LinuxFabric, spec: OptionPolicySpec, source: str, packet: Packet, read: Data) -> bool:
    intent = fabric.intent
    wanted = []
    for one in spec.match:
        layout = intent.option_schemas[one.schema].spec.layout
        wanted.append((one.schema, *layout.match_bits(one.field, one.value, one.mask)))
    if spec.from_group is not None:
        wanted.append(("identity", intent.groups[spec.from_group].spec.identity or 0, 0xFFFF))
    return (
        spec.from_port in (None, source)
        and all(name in read and read[name] & mask == value for name, value, mask in wanted)
        and spec.packet.protocol in (None, packet.ip_proto)
        and (spec.packet.source is None or ip_network(f"{packet.src_ip}/32").subnet_of(spec.packet.source))
        and (not spec.packet.destination_ports or _within(packet.dst_port, spec.packet.destination_ports))
    )


def _within(number: int, ranges: Iterable[PortRange]) -> bool:
    return any(first <= number <= last for first, last in ranges)


@pytest.mark.parametrize("seed", range(60))
def test_filters_decide_as_option_policies_say(seed: int) -> None:
    random = Random(seed)
    fabric = fabric_of(random, under_way=seed % 4)
    world = world_of(fabric)
    view = network_view(fabric.intent, fabric.intent.networks["blue"])
    for _ in range(80):
        source, receiver = (
            f"{random.choice(w)}-{random.choice(GROUPS) or 'any'}" for w in (list(ENDPOINTS), ["lx1", "lx2"])
        )
        if source == receiver:
            continue
        at, where = source[:3], receiver[:3]
        packet = between(
            fabric, source, receiver, ip_proto=random.choice((6, 17)), dst_port=random.choice((22, 53, 85))
        )
        data = {one.name: data_of(fabric, source)[one.name] for one in view.stamped}
        if at == "hv1":
            # It may not know the last stage yet, or know a later one.
            for one in view.options:
                if one not in view.stamped or one in view.arriving:
                    data.pop(one.name, None)
                    if random.random() < 0.5:
                        data[one.name] = data_of(fabric, source)[one.name]
            tunnel = Tunnel(vni=100, src="192.0.2.3", dst=ENDPOINTS[where], options=wire(fabric, data))
            received = world.arrive(replace(packet, tunnel=tunnel))
        else:
            received = world.send(at, f"if-{source}", packet)
        wanted = said(fabric, source, receiver, packet, data)
        assert places(received) == ([(where, f"if-{receiver}")] if wanted else []), (
            source,
            receiver,
            packet,
            data,
        )


def test_what_filters_can_not_do_keeps_ports_out() -> None:
    fabric = fabric_of(Random(1))
    before = {one.name for one in fabric.all_of("lx1").state.attachments}
    assert before == {"if-lx1-any", "if-lx1-web", "if-lx1-db"}
    linux_hosts = [fabric.intent.hosts[name] for name in ("lx1", "lx2")]
    for held in linux_hosts:
        fabric.swap(replace(held, spec=replace(held.spec, kind=HostKind.OVS)))
    fabric.do(put("more", policy("blue", actions=(SetDscp(10),), action=None, priority=7, to_group="db")))
    for held in linux_hosts:
        fabric.swap(held)
    part = fabric.all_of("lx1")
    assert {one.name for one in part.state.attachments} == before - {"if-lx1-db"}
    (problem,) = part.problems
    assert problem.subject == "port/lx1-db"
    assert "option-policy/more" in problem.reason
