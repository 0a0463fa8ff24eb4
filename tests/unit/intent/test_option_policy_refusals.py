# SPDX-License-Identifier: Apache-2.0
"""Every rule about option policies from its wrong side: the code, where it points, who is in the way."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from controller.errors import Conflict, IntentError, Invalid
from controller.intent.checks.option_policies import MAX_FLOWS_OF_NETWORK, MAX_FLOWS_OF_POLICY
from controller.intent.commands import Put, evaluate
from controller.intent.conditions import flows_of_policy
from controller.intent.model import Direction, InnerVlan, OptionDirection, PolicyAction
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
from tests.unit.intent.builders import after, delete, fabric, group, network, policy, port, put, schema

TIER, ZONE = FieldName("context", "tier"), FieldName("context", "zone")
EGRESS = Direction.EGRESS
WORLD = after(
    fabric(),
    put("web", group(1)),
    put("inbound", schema(3, direction=OptionDirection.RECEIVE)),
    put("outbound", schema(4, direction=OptionDirection.SEND)),
    put("green", network(300, "identity", "context", "inbound", "outbound")),
    put("g1", port("green", 1, group="web")),
    put("g2", port("green", 2)),
    put("fw", port("green", 3)),
    put("chained", policy("green", direction=EGRESS, actions=(Steer(("fw",)),), action=None, from_port="g1")),
)


def green(*actions, **rest) -> Put:
    return put("new", policy("green", actions=actions, **{"action": None, **rest}))


def packet(**said) -> Put:
    return green(packet=PacketMatch(**said))


RANGES = (PortRange(80, 81), PortRange(90, 90))
INVALID = [
    # who
    (green(from_port="g1", from_group="web"), "selector-invalid", "/from"),
    (green(from_port="nobody"), "port-unknown", "/from/port"),
    (green(to_port="web1"), "port-elsewhere", "/to/port"),
    (green(from_group="nobody"), "group-unknown", "/from/group"),
    (put("new", policy("blue", from_group="web")), "identity-not-on-network", "/from/group"),
    (green(direction=EGRESS, to_group="web"), "to-group-unknown", "/to/group"),
    (green(from_port="g1", packet=PacketMatch(source_mac=1)), "match-duplicate", "/match/source_mac"),
    (
        green(direction=EGRESS, to_port="g1", packet=PacketMatch(destination_mac=1)),
        "match-duplicate",
        "/match/destination_mac",
    ),
    (
        put("new", policy("green", {"identity.group": (1, 0xFFFF)}, from_group="web")),
        "match-duplicate",
        "/match/option/identity.group",
    ),
    # which packets
    (packet(ethertype=0x10000), "match-out-of-range", "/match/ethertype"),
    (packet(protocol=256), "match-out-of-range", "/match/protocol"),
    (packet(dscp=64), "match-out-of-range", "/match/dscp"),
    (packet(source_mac=1 << 48), "match-out-of-range", "/match/source_mac"),
    (packet(destination_mac=-1), "match-out-of-range", "/match/destination_mac"),
    (packet(ethertype=0x0806, protocol=6), "match-contradicts", "/match/protocol"),
    (packet(ethertype=0x86DD, source=ip_network("10.0.0.0/8")), "match-contradicts", "/match/source"),
    (
        packet(source=ip_network("10.0.0.0/8"), destination=ip_network("::/0")),
        "match-contradicts",
        "/match/destination",
    ),
    (packet(destination_ports=RANGES), "ports-without-protocol", "/match/destination_ports"),
    (packet(protocol=6, source_ports=(PortRange(5, 4),)), "port-out-of-range", "/match/source_ports/0"),
    (packet(protocol=6, source_ports=(*RANGES, PortRange(81, 82))), "ports-overlap", "/match/source_ports/2"),
    (
        put("new", policy("green", {"outbound.tier": (1, 1)})),
        "option-send-only",
        "/match/option/outbound.tier",
    ),
    (
        put("new", policy("green", {"inbound.tier": (1, 1)}, direction=EGRESS)),
        "option-receive-only",
        "/match/option/inbound.tier",
    ),
    # what is done
    (green(Stamp(TIER, 256)), "value-out-of-range", "/actions/0/stamp"),
    (green(Stamp(FieldName("spare", "tier"), 1)), "option-not-on-network", "/actions/0/stamp"),
    (green(Stamp(FieldName("context", "x"), 1)), "field-unknown", "/actions/0/stamp"),
    (green(SetQueue(1), Stamp(FieldName("identity", "group"), 1)), "option-reserved", "/actions/1/stamp"),
    (
        green(Stamp(FieldName("inbound", "tier"), 1), direction=EGRESS),
        "option-receive-only",
        "/actions/0/stamp",
    ),
    (green(Copy(TIER, ZONE)), "field-too-narrow", "/actions/0/copy"),
    (green(Strip("spare")), "option-not-on-network", "/actions/0/strip"),
    (green(Strip("identity")), "option-reserved", "/actions/0/strip"),
    (green(StampFrom(ZONE, PacketField.SOURCE_PORT_KEY)), "stamp-from-unknown", "/actions/0/stamp_from"),
    (green(StampFrom(ZONE, PacketField.VLAN), direction=EGRESS), "vlan-forbidden", "/actions/0/stamp_from"),
    (
        green(StampFrom(ZONE, PacketField.SOURCE_PORT_KEY), direction=EGRESS),
        "field-too-narrow",
        "/actions/0/stamp_from",
    ),
    (green(Mirror("nobody")), "port-unknown", "/actions/0/mirror"),
    (green(Mirror("web1")), "port-elsewhere", "/actions/0/mirror"),
    (green(SetQueue(-1)), "queue-out-of-range", "/actions/0/queue"),
    (green(SetDscp(64)), "dscp-out-of-range", "/actions/0/dscp"),
    (green(SetDscp(1), packet=PacketMatch(ethertype=0x0806)), "actions-contradict", "/match/ethertype"),
    # chains
    (green(Steer(("g2",))), "steer-ingress-unsupported", "/direction"),
    (green(Steer(()), direction=EGRESS), "chain-invalid", "/actions/0/steer/ports"),
    (green(Steer(("g1", "g1"), TIER), direction=EGRESS), "chain-invalid", "/actions/0/steer/ports/1"),
    (green(Steer(("g1", "g2")), direction=EGRESS), "chain-without-position", "/actions/0/steer/position"),
    (green(Steer(("g2",)), Steer(("g1",)), direction=EGRESS), "actions-contradict", "/actions"),
    (
        green(Steer(("g2",)), direction=EGRESS, action=PolicyAction.DROP),
        "actions-contradict",
        "/action",
    ),
    (
        green(Steer(("g2",)), direction=EGRESS, packet=PacketMatch(destination_mac=(1 << 48) - 1)),
        "actions-contradict",
        "/match/destination_mac",
    ),
]


@pytest.mark.parametrize(("command", "code", "pointer"), INVALID)
def test_document_is_wrong(command: Put, code: str, pointer: str) -> None:
    with pytest.raises(Invalid) as caught:
        evaluate(WORLD, command)
    assert (caught.value.code, caught.value.pointer) == (code, pointer)


WEB = PacketMatch(protocol=6, destination_ports=(PortRange(80, 83), PortRange(443, 443)))
HELD = after(WORLD, put("held", policy("green", packet=WEB)))
SOME = PacketMatch(protocol=6, destination_ports=(PortRange(80, 83),))
CONFLICTS = [
    (green(Steer(("fw",)), direction=EGRESS), "chain-port-taken", "/actions", "option-policy/chained"),
    (put("new", policy("green", packet=WEB)), "policy-duplicate", "", "option-policy/held"),
    (
        put("new", policy("green", packet=WEB, action=PolicyAction.DROP)),
        "policy-contradicts",
        "/action",
        "option-policy/held",
    ),
    # Spelled otherwise, or in part only, it comes to flows that the other one has.
    (put("new", policy("green", packet=SOME)), "policy-contradicts", "/priority", "option-policy/held"),
    (
        put("new", policy("green", packet=replace(SOME, ethertype=0x86DD), action=None)),
        "policy-contradicts",
        "/priority",
        "option-policy/held",
    ),
    (delete("port/fw"), "in-use", "", "option-policy/chained"),
    (delete("group/web"), "in-use", "", "port/g1"),
]


@pytest.mark.parametrize(("command", "code", "pointer", "holder"), CONFLICTS)
def test_another_object_is_in_the_way(command, code: str, pointer: str, holder: str) -> None:
    with pytest.raises(Conflict) as caught:
        evaluate(HELD, command)
    assert (caught.value.code, caught.value.pointer, caught.value.holder) == (code, pointer, holder)


ACCEPTED = [
    put("new", policy("green", packet=SOME, action=PolicyAction.DROP)),
    put("new", policy("green", packet=SOME, priority=1)),
    put("new", policy("green", packet=SOME, direction=EGRESS)),
    put("new", policy("green", packet=SOME, from_port="g1")),
    put("new", policy("green", {"identity.group": (0, 0xFFFF)})),
    green(Stamp(FieldName("inbound", "tier"), 1)),
    green(Steer(("g1", "g2"), TIER), direction=EGRESS),
    green(),
    put("chained", policy("green", direction=EGRESS, actions=(Steer(("fw", "g2"), TIER),), action=None)),
]


@pytest.mark.parametrize("command", ACCEPTED)
def test_accepted(command: Put) -> None:
    assert evaluate(HELD, command).changes


def test_a_network_keeps_what_policies_read() -> None:
    intent = after(WORLD, put("g1", port("green", 1)), put("of-web", policy("green", from_group="web")))
    with pytest.raises(Conflict, match="option-policy/of-web"):
        evaluate(intent, put("green", network(300, "context", "inbound", "outbound")))


def wide(number: int) -> PacketMatch:
    """Return a match of 64 flows: two families, two source ports of its own, 16 blocks of destinations."""
    sources = (PortRange(4 * number, 4 * number), PortRange(4 * number + 3, 4 * number + 3))
    return PacketMatch(protocol=6, source_ports=sources, destination_ports=(PortRange(1, 0xFFFF),))


def test_the_largest_policy_and_one_flow_more() -> None:
    sources = tuple(PortRange(2 * number, 2 * number) for number in range(MAX_FLOWS_OF_POLICY))
    fits = PacketMatch(protocol=6, ethertype=0x0800, source_ports=sources)
    assert evaluate(WORLD, put("new", policy("green", packet=fits))).changes
    over = replace(fits, source_ports=(*sources, PortRange(0xFFFF, 0xFFFF)))
    with pytest.raises(Conflict, match=str(MAX_FLOWS_OF_POLICY + 1)) as caught:
        evaluate(WORLD, put("new", policy("green", packet=over)))
    assert (caught.value.code, caught.value.pointer) == ("policy-too-large", "/match")


def test_what_one_table_holds() -> None:
    intent, flows, number = WORLD, 0, 0
    while True:
        spec = policy("green", packet=wide(number))
        flows += flows_of_policy(spec)
        if flows > MAX_FLOWS_OF_NETWORK:
            break
        intent = after(intent, put(f"p{number}", spec))
        number += 1
    with pytest.raises(IntentError) as caught:
        evaluate(intent, put("over", spec))
    assert (caught.value.code, caught.value.holder) == ("policy-too-large", "network/green")
    assert str(flows) in str(caught.value)
    assert evaluate(intent, put("other", replace(spec, direction=EGRESS))).changes, "the other table has room"
    assert evaluate(intent, put("p0", spec)).changes, "in the place of one as large"
    assert intent.networks["green"].spec.inner_vlan is InnerVlan.FORBID
