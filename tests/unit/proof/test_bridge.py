# SPDX-License-Identifier: Apache-2.0
"""What becomes of single packets is among what becomes of the sets that hold them, merged or not."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest

from controller.compiler.pipeline import TUNNEL_OFPORT
from controller.proof.bridge import Bridge, Emission, Walk
from controller.proof.packets import MAX_DEPTH, Packets, from_port
from controller.proof.prove import prover_of
from controller.proof.prover import Prover
from controller.proof.sources import Sources, complement
from controller.proof.space import Cube, Layout, Unprovable
from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.actions import (
    OFPP_IN_PORT,
    Action,
    Clone,
    DeleteField,
    Group,
    Move,
    Output,
    PopVlan,
    Resubmit,
    SetField,
)
from ovs_geneve.openflow.fields import tun_metadata
from ovs_geneve.openflow.flow import Bucket, Flow, GroupEntry, GroupKind, Match, TermLike
from tests.unit.proof.estate import PORTS, Estate, estate
from tests.unit.proof.frames import Frames

PACKETS = 400
TLV = tun_metadata(0, 4)
LAYOUT = Layout({0: 4})


@pytest.fixture(scope="module")
def prover() -> Prover:
    sound = Estate.of(estate())
    return prover_of(sound.facts, sound.hosts, sound.lengths)


@pytest.mark.parametrize("host", PORTS)
def test_sets_come_out_where_their_packets_do(prover: Prover, host: str) -> None:
    bridge, facts = prover.bridges[host], prover.facts.hosts[host]
    merged, apart = {}, {}
    for ofport, port in facts.ports.items():
        everything = from_port(prover.layout, ofport)
        merged[ofport] = Walk(bridge, Sources(prover.layout, port).check).run(everything).emissions
        apart[ofport] = Walk(bridge).run(everything).emissions
    frames, came_out = Frames(Random(host), prover, facts), 0
    for _ in range(PACKETS):
        packet = frames.draw()
        in_port = packet.value_of(prover.layout, f.IN_PORT)
        if in_port is None or in_port == TUNNEL_OFPORT:
            continue
        for one in Walk(bridge).run(packet).emissions:
            came_out += 1
            assert any(is_among(one, other) for other in merged[in_port])
            assert any(is_among(one, other) for other in apart[in_port])
    assert came_out > PACKETS // 10


def is_among(one: Emission, some: Emission) -> bool:
    """Tell whether a single packet that left is one of a set that left."""
    gone = any(one.packets.cube.within(cube) for cube in some.packets.without)
    said = all(not a & ~b for a, b in zip(one.packets.said, some.packets.said, strict=True))
    same = (one.port, one.back) == (some.port, some.back)
    return same and said and not gone and one.packets.cube.within(some.packets.cube)


@pytest.mark.parametrize(("count", "seed"), list(product((0, 1, 2, 5), range(5))))
def test_a_complement_is_all_others(count: int, seed: int) -> None:
    values = frozenset(Random(seed).sample(range(64), count))
    cubes = list(complement(values, 6))
    held = [number for number in range(64) for value, mask in cubes if not (number ^ value) & mask]
    assert sorted(held) == sorted(set(range(64)) - values), "each once"


def flow(
    table: int, match: tuple[TermLike, ...], *actions: Action, goto: int | None = None, priority: int = 9
) -> Flow:
    return Flow(table=table, priority=priority, match=Match.of(*match), actions=actions, goto=goto)


def ports_of(*flows: Flow, groups: tuple[GroupEntry, ...] = (), packets: Packets | None = None) -> list[int]:
    """Return where everything that comes in by port 1 leaves."""
    bridge = Bridge("hv1", LAYOUT, flows, groups, 0)
    came = Walk(bridge).run(packets or from_port(LAYOUT, 1))
    return [OFPP_IN_PORT if one.back else one.port for one in came.emissions]


def test_flows_of_a_higher_priority_take_what_they_match() -> None:
    above = flow(0, ((f.ETH_TYPE, 0x0800),), Output(2), priority=10)
    assert ports_of(above, flow(0, ((f.ETH_TYPE, 0x0800), (f.IP_PROTO, 6)), Output(3))) == [2]
    assert ports_of(above, flow(0, (), Output(3))) == [2, 3]


def test_of_flows_with_one_priority_any_may_be_the_one() -> None:
    flows = flow(0, ((f.ETH_SRC, 1),), Output(2)), flow(0, ((f.ETH_DST, 1),), Output(3))
    assert sorted(ports_of(*flows)) == [2, 3]


def test_what_is_out_of_a_port_does_not_go_back_unless_it_is_told_to() -> None:
    assert ports_of(flow(0, (), Output(1), Output(OFPP_IN_PORT))) == [OFPP_IN_PORT]
    forgotten = Move(f.REG15, f.IN_PORT, 32)
    assert ports_of(flow(0, (), forgotten, Output(1))) == [1]


def test_an_option_is_there_when_it_is_set_and_matched_by_presence() -> None:
    there = flow(1, ((TLV, 0, 0),), Output(2))
    assert ports_of(flow(0, (), goto=1), there) == []
    assert ports_of(flow(0, (), SetField(TLV, 0), goto=1), there) == [2]
    assert ports_of(flow(0, (), SetField(TLV, 0), DeleteField(TLV), goto=1), there) == []
    zero = flow(1, ((TLV, 0, 0xFF),), Output(2))
    assert ports_of(flow(0, (), goto=1), zero) == [], "what is not there is not 0"
    assert ports_of(flow(0, (), Move(f.ETH_SRC, TLV, 8), goto=1), there) == [2]


def test_copies_change_nothing_but_themselves_and_resubmits_do() -> None:
    asked = flow(9, ((f.REG3, 5),), Output(3))
    assert ports_of(flow(0, (), Clone((SetField(f.REG3, 5), Output(2))), Resubmit(9)), asked) == [2]
    bucket = Bucket(actions=(SetField(f.REG3, 5), Output(2)))
    group = GroupEntry(group_id=7, kind=GroupKind.ALL, buckets=(bucket, bucket))
    assert ports_of(flow(0, (), Group(7), Resubmit(9)), asked, groups=(group,)) == [2, 2]
    changed = flow(8, (), SetField(f.REG3, 5))
    assert ports_of(flow(0, (), Resubmit(8), Resubmit(9)), asked, changed) == [3]
    assert ports_of(flow(0, (), Resubmit(7), Output(4))) == [4], "a table without flows does nothing"


def test_registers_are_halves_and_quarters_of_wider_ones() -> None:
    wide = flow(1, ((f.XXREG0, 7, 0xFFFFFFFF),), Output(2))
    assert ports_of(flow(0, (), SetField(f.REG3, 7), goto=1), wide) == [2]
    assert ports_of(flow(0, (), SetField(f.REG0, 7), goto=1), wide) == []
    half = flow(1, ((f.XREG0, 7 << 32, 0xFFFFFFFF << 32),), Output(2))
    assert ports_of(flow(0, (), SetField(f.REG0, 7), goto=1), half) == [2]


def test_a_tag_is_gone_when_it_is_taken_off() -> None:
    tagged = (f.VLAN_VID, 0x1000, 0x1000)
    assert ports_of(flow(0, (tagged,), PopVlan(), goto=1), flow(1, ((f.VLAN_VID, 0),), Output(2))) == [2]


def test_a_loop_ends() -> None:
    assert len(ports_of(flow(0, (), Output(2), Resubmit(0)))) == MAX_DEPTH + 1


def test_what_open_vswitch_would_refuse_is_not_proved() -> None:
    with pytest.raises(Unprovable, match="mapped"):
        ports_of(flow(0, ((tun_metadata(3, 4), 1),), Output(2)))
    with pytest.raises(Unprovable, match="mapped"):
        ports_of(flow(0, (), SetField(tun_metadata(0, 8), 1)))


def test_a_set_knows_whose_its_bits_are() -> None:
    bridge = Bridge(
        "hv1", LAYOUT, [flow(0, (), Move(f.ETH_SRC, f.REG5, 8), SetField(f.REG6, 1), Output(2))], (), 0
    )
    (left,) = Walk(bridge).run(from_port(LAYOUT, 1)).emissions
    assert left.packets.said.others >> LAYOUT.at(f.REG5).offset & f.REG5.ones == 0xFF
    assert not left.packets.said.others & LAYOUT.at(f.REG6).mask
    assert left.packets.said.dscp == LAYOUT.at(f.IP_DSCP).mask
    assert Cube(0, 0).meets(left.packets.cube)
