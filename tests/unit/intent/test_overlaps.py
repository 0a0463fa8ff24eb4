# SPDX-License-Identifier: Apache-2.0
"""What shadows what, and what meets: asked of every packet of a small world."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import product
from typing import NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from controller.errors import IntentError
from controller.intent.intent import Intent
from controller.intent.model import Direction, OptionPolicySpec, PolicyAction
from controller.intent.overlaps import Finding, Overlaps, Trouble, covers, extent_of, meet, rank
from controller.intent.rules import Mirror, PacketMatch, PortRange, Steer
from tests.unit.intent.builders import after, fabric, group, network, policy, port, put

WORLD = after(
    fabric(),
    put("web", group(1)),
    put("db", group(2)),
    put("green", network(300, "identity", "context")),
    put("g1", port("green", 1, group="web")),
    put("g2", port("green", 2, group="db")),
)
EVERYBODY = "everybody"
GROUP_OF = {"g1": "web", "g2": "db", EVERYBODY: None}
_IPV4, _IPV6, _ARP = 0x0800, 0x86DD, 0x0806


class Seen(NamedTuple):
    """A packet, as the tables see it."""

    sender: str
    receiver: str
    ethertype: int
    source: str | None
    protocol: int | None
    port: int | None
    tier: int


PACKETS = [
    Seen(sender, receiver, ethertype, source, protocol, port, tier)
    for sender, receiver, tier in product(("g1", "g2"), ("g1", "g2", EVERYBODY), range(4))
    for ethertype, source, protocol, port in (
        (_ARP, None, None, None),
        *product([_IPV4], ["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.9"], [6, 17, 47], [0, 1, 2, 9]),
        *product([_IPV6], ["2001:db8::1"], [6, 17, 47], [0, 1, 2, 9]),
    )
]


def matches(spec: OptionPolicySpec, seen: Seen) -> bool:
    """Say it as the documents do, packet by packet."""
    packet = spec.packet
    return (
        spec.from_port in (None, seen.sender)
        and spec.from_group in (None, GROUP_OF[seen.sender])
        and spec.to_port in (None, seen.receiver)
        and spec.to_group in (None, GROUP_OF[seen.receiver])
        and all(seen.tier & one.mask == one.value for one in spec.match)
        and packet.ethertype in (None, seen.ethertype)
        and packet.protocol in (None, seen.protocol)
        and (
            packet.source is None
            or (
                seen.source is not None
                and ip_address(seen.source).version == packet.source.version
                and ip_address(seen.source) in packet.source
            )
        )
        and (
            not packet.destination_ports
            or any(a <= seen.port <= b for a, b in packet.destination_ports if seen.port is not None)
        )
        and not (any(isinstance(one, Steer) for one in spec.actions) and seen.receiver == EVERYBODY)
    )


TIERS = st.sampled_from(
    [{}, *({"context.tier": (value & mask, mask)} for value in range(4) for mask in (1, 2, 3))]
)
RANGES = st.sampled_from(
    [
        (),
        (PortRange(0, 1),),
        (PortRange(1, 2),),
        (PortRange(0, 0), PortRange(2, 2)),
        (PortRange(0, 0), PortRange(1, 2)),
    ]
)


@st.composite
def specs(draw: st.DrawFn, direction: Direction) -> OptionPolicySpec:
    protocol = draw(st.sampled_from([None, 6, 17]))
    packet = PacketMatch(
        ethertype=draw(st.sampled_from([None, None, _IPV4, _IPV6]))
        if protocol
        else draw(st.sampled_from([None, _ARP, _IPV4])),
        protocol=protocol,
        destination_ports=draw(RANGES) if protocol else (),
    )
    if packet.ethertype in (None, _IPV4):
        prefix = draw(st.sampled_from([None, None, "10.0.0.0/31", "10.0.0.0/30", "10.0.0.1/32", "0.0.0.0/0"]))
        packet = replace(packet, source=prefix and ip_network(prefix))
    spec = policy(
        "green",
        draw(TIERS),
        direction=direction,
        packet=packet,
        priority=draw(st.sampled_from([1, 2])),
        action=draw(st.sampled_from([PolicyAction.ALLOW, PolicyAction.DROP, None])),
        actions=draw(st.sampled_from([(), (Mirror("g1"),)])),
    )
    side = draw(st.sampled_from([{}, {"from_port": "g1"}, {"from_group": "db"}, {"from_group": "web"}]))
    spec = replace(spec, **side)
    if direction is Direction.INGRESS:
        return replace(spec, **draw(st.sampled_from([{}, {"to_port": "g1"}, {"to_group": "db"}])))
    spec = replace(spec, **draw(st.sampled_from([{}, {"to_port": "g2"}])))
    steers = spec.action is not PolicyAction.DROP and draw(st.booleans())
    return replace(spec, actions=(Steer(("g1",)),)) if steers else spec


PAIRS = st.sampled_from(Direction).flatmap(lambda direction: st.tuples(specs(direction), specs(direction)))


@given(pair=PAIRS)
def test_extents_are_what_packets_say(pair: tuple[OptionPolicySpec, OptionPolicySpec]) -> None:
    outer, inner = pair
    # A sender's group is read from its packets: to the functions it is not known that g1 is in web.
    assume(
        (outer.from_port is None) == (inner.from_port is None) or outer.from_group is inner.from_group is None
    )
    assume((outer.to_port is None) == (inner.to_port is None) or outer.to_group is inner.to_group is None)
    outside, inside = ([matches(spec, seen) for seen in PACKETS] for spec in (outer, inner))
    assert any(inside)
    everything = all(a or not b for a, b in zip(outside, inside, strict=True))
    assert covers(extent_of(WORLD, outer), extent_of(WORLD, inner)) == everything
    together = any(a and b for a, b in zip(outside, inside, strict=True))
    assert meet(extent_of(WORLD, outer), extent_of(WORLD, inner)) == together


@given(stored=st.sampled_from(Direction).flatmap(lambda direction: st.lists(specs(direction), max_size=8)))
def test_what_is_found_is_what_pair_by_pair_says(stored: list[OptionPolicySpec]) -> None:
    intent = WORLD
    for number, spec in enumerate(stored):
        with suppress(IntentError):
            intent = after(intent, put(f"p{number}", spec))
    policies = {name: intent.option_policies[name].spec for name in intent.policies_of("green")}
    extents = {name: extent_of(intent, spec) for name, spec in policies.items()}
    for name, spec in policies.items():
        shadows = [
            other
            for other, above in policies.items()
            if rank(above) > rank(spec)
            and (above.action is not None or spec.action is None)
            and covers(extents[other], extents[name])
        ]
        peers = [
            other
            for other, peer in policies.items()
            if rank(peer) == rank(spec)
            and (peer.action, peer.actions) != (spec.action, spec.actions)
            and meet(extents[other], extents[name])
        ]
        trouble, others = (Trouble.SHADOWED, shadows) if shadows else (Trouble.CONFLICT, peers)
        expected = Finding(trouble, f"option-policy/{min(others)}") if others else None
        assert finding_of(intent, name) == expected


def finding_of(intent: Intent, name: str) -> Finding | None:
    spec = intent.option_policies[name].spec
    return Overlaps(intent, spec.network, spec.direction).finding(name)


def told(*commands) -> dict[str, Finding]:
    return {
        name: finding
        for direction in Direction
        for name, finding in Overlaps(after(WORLD, *commands), "green", direction).findings().items()
    }


def shadowed(by: str) -> Finding:
    return Finding(Trouble.SHADOWED, f"option-policy/{by}")


TCP = PacketMatch(protocol=6)
WEB = PacketMatch(protocol=6, destination_ports=(PortRange(80, 80),))


def test_what_stands_above_shadows() -> None:
    wide = put("wide", policy("green", packet=TCP, priority=200))
    narrow = put("narrow", policy("green", packet=WEB, action=PolicyAction.DROP))
    assert told(wide, narrow) == {"narrow": shadowed("wide")}
    assert told(put("wide", policy("green", packet=TCP, priority=50)), narrow) == {}
    assert told(wide, put("narrow", replace(narrow.spec, direction=Direction.EGRESS))) == {}
    assert told(
        put("wide", policy("green", packet=TCP, action=PolicyAction.DROP)),
        put("narrow", policy("green", packet=WEB)),
    ) == {"narrow": shadowed("wide")}, "at one priority drop wins"


def test_one_without_a_verdict_shadows_only_its_like() -> None:
    acts = put("acts", policy("green", packet=TCP, priority=200, action=None))
    assert told(acts, put("narrow", policy("green", packet=WEB))) == {}
    assert told(acts, put("narrow", policy("green", packet=WEB, action=None))) == {"narrow": shadowed("acts")}


def test_a_port_is_its_mac() -> None:
    by_mac = put("mac", policy("green", packet=PacketMatch(source_mac=0x020000000001), priority=200))
    by_port = put("port", policy("green", from_port="g1", to_port="g2"))
    assert told(by_mac, by_port) == {"port": shadowed("mac")}


def test_pairs_that_meet_at_one_priority() -> None:
    one = put("one", policy("green", packet=TCP, actions=(Mirror("g1"),)))
    other = put("other", policy("green", {"context.tier": (1, 1)}))
    conflict = {
        name: Finding(Trouble.CONFLICT, f"option-policy/{peer}")
        for name, peer in (("one", "other"), ("other", "one"))
    }
    assert told(one, other) == conflict
    assert told(one, put("other", replace(other.spec, actions=one.spec.actions))) == {}
    assert told(one, put("other", replace(other.spec, priority=1))) == {}
    assert told(one, put("other", replace(other.spec, action=PolicyAction.DROP))) == {}


def test_an_intent_without_findings() -> None:
    intent: Intent = fabric()
    assert finding_of(intent, "tier2-only") is None
    with pytest.raises(KeyError):
        finding_of(intent, "nobody")
