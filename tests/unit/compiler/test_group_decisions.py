# SPDX-License-Identifier: Apache-2.0
"""The flows decide what the policies say: each packet is judged by both, for random policies and packets."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import NamedTuple

import pytest

from controller.compiler.features import groups, pipeline_base
from controller.compiler.group_views import group_policy_view, group_view
from controller.compiler.pipeline import Table
from controller.compiler.registers import DESTINATION_GROUP
from controller.compiler.views import network_view
from controller.errors import IntentError
from controller.intent.intent import Intent
from controller.intent.rules import PortRange
from controller.intent.shadows import shadow_of
from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.actions import Action, Controller, Ct, Resubmit
from ovs_geneve.openflow.fields import Field, tun_metadata
from ovs_geneve.openflow.flow import Flow
from tests.builders import after, delete, group, group_policy, network, put

GROUPS = (None, "web", "db", "ops")
PROTOCOLS = (6, 17, 1, 58, 47)
PORTS = (22, 80, 81, 443, 5432, 40_000)
TRACKED, ESTABLISHED, REPLY = 0x20, 0x02, 0x08


class Packet(NamedTuple):
    """One to a port of this host; `known` is what conntrack thinks of it."""

    sender: str | None
    receiver: str | None
    version: int
    protocol: int
    source: int
    destination: int
    known: int = 0


def random_intent(random: Random) -> Intent:
    intent = after(
        Intent(), *(put(name, group()) for name in GROUPS if name), put("blue", network(100, "identity"))
    )
    for number in range(random.randrange(1, 12)):
        protocol = random.choice((None, *PROTOCOLS))
        some = tuple(
            PortRange(p, p + random.choice((0, 1, 7))) for p in random.sample(PORTS, random.randrange(3))
        )
        allow = random.random() < 0.6
        spec = group_policy(
            "blue",
            random.choice(GROUPS[1:]),
            from_group=random.choice(GROUPS),
            priority=random.choice((100, 100, 150, 10_000, 0)),
            protocol=protocol,
            ports=some if protocol in (6, 17) else (),
            allow=allow,
            stateful=allow and random.random() < 0.5,
            log=random.random() < 0.5,
        )
        try:
            intent = after(intent, put(f"r{number}", spec))
        except IntentError:
            continue
    return intent


def random_packet(random: Random) -> Packet:
    version = random.choice((4, 6))
    protocol = random.choice([p for p in PROTOCOLS if p != (58 if version == 4 else 1)])
    known = random.choice((0, 0, TRACKED | ESTABLISHED | REPLY))
    return Packet(
        random.choice(GROUPS),
        random.choice(GROUPS),
        version,
        protocol,
        random.choice(PORTS),
        random.choice(PORTS),
        known,
    )


def said(intent: Intent, packet: Packet) -> bool:
    """What the policies say, read as their documentation has it."""
    towards = [p.spec for p in intent.policies.values() if p.spec.to_group == packet.receiver]
    if not towards:
        return True
    if packet.known and any(_answers(one.spec, packet) for one in intent.policies.values()):
        return True
    found = [one for one in towards if _speaks(one, packet.sender, packet.protocol, packet.destination)]
    if not found:
        return False
    top = max(one.priority for one in found)
    return all(one.allow for one in found if one.priority == top)


def _answers(spec, packet: Packet) -> bool:
    """Tell whether the packet may answer what a stateful policy allows."""
    asked = spec.stateful and spec.to_group == packet.sender
    return asked and _speaks(spec, packet.receiver, packet.protocol, packet.source)


def _speaks(spec, sender: str | None, protocol: int, port: int) -> bool:
    return (
        spec.from_group in (None, sender)
        and spec.protocol in (None, protocol)
        and (not spec.ports or any(first <= port <= last for first, last in spec.ports))
    )


def all_flows(intent: Intent) -> list[Flow]:
    view = network_view(intent, intent.networks["blue"])
    views = (group_view(intent, "blue", name, view) for name in GROUPS)
    return [
        *pipeline_base.flows(),
        *(flow for one in views if one is not None for flow in groups.group_flows(one)),
        *(
            flow
            for held in intent.policies.values()
            for flow in groups.policy_flows(group_policy_view(intent, held, view))
        ),
    ]


def decided(intent: Intent, flows: list[Flow], packet: Packet) -> bool:
    """What the flows do: judge the packet in GROUPS, and in GROUPS_STATE where it is shown to conntrack."""

    def identity(name: str | None) -> int:
        return 0 if name is None else intent.groups[name].spec.identity

    ports = {6: (f.TCP_SRC, f.TCP_DST), 17: (f.UDP_SRC, f.UDP_DST)}.get(packet.protocol)
    state: dict[Field, int] = {
        f.TUN_ID: 100,
        DESTINATION_GROUP: identity(packet.receiver),
        tun_metadata(0, 4): 0xABCD0000 | identity(packet.sender),
        f.ETH_TYPE: 0x0800 if packet.version == 4 else 0x86DD,
        f.IP_PROTO: packet.protocol,
        f.CT_STATE: 0,
        f.CT_MARK: 0,
        # An echo request, of which conntrack may know as of anything else.
        (f.ICMPV4_TYPE if packet.version == 4 else f.ICMPV6_TYPE): 8 if packet.version == 4 else 128,
    }
    if ports is not None:
        state |= dict(zip(ports, (packet.source, packet.destination), strict=True))
    table: int | None = Table.GROUPS
    for _ in range(5):
        flow = best(flows, table, state)
        table = flow.goto
        for action in flow.actions:
            match action:
                case Ct(table=back) if back is not None:
                    table = back
                    state[f.CT_STATE] = packet.known or TRACKED | 1
                    state[f.CT_MARK] = intent.networks["blue"].key if packet.known else 0
                case Resubmit(table=back):
                    table = back
                case _:
                    pass
        if table in (None, Table.DELIVER):
            return table == Table.DELIVER
    raise AssertionError("the packet goes round and round")


def best(flows: Iterable[Flow], table: int | None, state: dict[Field, int]) -> Flow:
    found = [flow for flow in flows if flow.table == table and matches(flow, state)]
    top = max(flow.priority for flow in found)
    alike = [flow for flow in found if flow.priority == top]
    # OVS may take any of several at one priority: they must do the same, but for who tells of a refusal.
    assert len({(_quiet(flow), flow.goto) for flow in alike}) == 1, alike
    return alike[0]


def _quiet(flow: Flow) -> tuple[Action, ...]:
    return tuple(action for action in flow.actions if not isinstance(action, Controller))


def matches(flow: Flow, state: dict[Field, int]) -> bool:
    registers = {f.XREG1: state[DESTINATION_GROUP] << 32}
    for field, value, mask in flow.match.terms:
        held = registers.get(field, state.get(field))
        if held is None or held & (field.ones if mask is None else mask) != value:
            return False
    return True


@pytest.mark.parametrize("seed", range(60))
def test_flows_decide_as_the_policies_say(seed: int) -> None:
    random = Random(seed)
    intent = random_intent(random)
    flows = all_flows(intent)
    for _ in range(200):
        packet = random_packet(random)
        assert decided(intent, flows, packet) is said(intent, packet), (
            packet,
            list(intent.policies.values()),
        )


@pytest.mark.parametrize("seed", range(60))
def test_a_shadowed_policy_makes_no_difference(seed: int) -> None:
    random = Random(1000 + seed)
    intent = random_intent(random)
    shadowed = [name for name in intent.policies if shadow_of(intent, name) is not None]
    packets = [random_packet(random) for _ in range(200)]
    for name in shadowed:
        without = after(intent, delete(f"policy/{name}"))
        assert without.policies_to_group("blue", intent.policies[name].spec.to_group)
        for packet in packets:
            if not packet.known:
                assert said(intent, packet) is said(without, packet), (name, packet)
