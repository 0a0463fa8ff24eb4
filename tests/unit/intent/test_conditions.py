# SPDX-License-Identifier: Apache-2.0
"""Ports as values and masks, and the number of flows that a policy is."""

from __future__ import annotations

import itertools
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.intent.conditions import conditions_of, flows_of_policy, port_bits
from controller.intent.rules import FieldName, PacketField, PacketMatch, PortRange, SetDscp, StampFrom, Steer
from tests.unit.intent.builders import policy

PORTS = st.integers(0, 0xFFFF) | st.integers(0, 40) | st.integers(0xFFE0, 0xFFFF)
RANGES = st.lists(st.tuples(PORTS, PORTS).map(lambda pair: PortRange(*sorted(pair))), max_size=4)


@given(ranges=RANGES)
def test_blocks_hold_the_ports_of_the_ranges_and_no_others(ranges: list[PortRange]) -> None:
    blocks = port_bits(ranges)
    for probe in {edge + step for each in ranges for edge in each for step in (-1, 0, 1)}:
        if 0 <= probe <= 0xFFFF:
            inside = any(first <= probe <= last for first, last in ranges)
            assert [probe & mask == value for value, mask in blocks].count(True) == inside
    sizes = [0x10000 - mask for _, mask in blocks]
    assert sum(sizes) == len({port for first, last in ranges for port in range(first, last + 1)})
    # No two neighbours of one size that one aligned block would hold: there are no fewer.
    for (value, mask), (following, other) in itertools.pairwise(blocks):
        size = 0x10000 - mask
        assert not (mask == other and following == value + size and value % (2 * size) == 0)


@pytest.mark.parametrize(
    ("ranges", "blocks"),
    [
        ([], []),
        ([(0, 0xFFFF)], [(0, 0)]),
        ([(80, 80)], [(80, 0xFFFF)]),
        ([(80, 81), (82, 83)], [(80, 0xFFFC)]),
        (
            [(1, 0xFFFE)],
            [
                *((1 << n, 0xFFFF << n & 0xFFFF) for n in range(15)),
                *((0x10000 - (1 << n + 1), 0xFFFF << n & 0xFFFF) for n in reversed(range(15))),
            ],
        ),
    ],
)
def test_the_fewest_blocks(ranges, blocks) -> None:
    assert sorted(port_bits(PortRange(*each) for each in ranges)) == sorted(blocks)


WEB = (PortRange(80, 81), PortRange(443, 443))


@pytest.mark.parametrize(
    ("packet", "actions", "flows"),
    [
        (PacketMatch(), (), 1),
        (PacketMatch(protocol=6), (), 2),
        (PacketMatch(protocol=1), (), 1),
        (PacketMatch(ethertype=0x0800, protocol=6), (), 1),
        (PacketMatch(source=ip_network("10.0.0.0/8"), protocol=6), (), 1),
        (PacketMatch(dscp=46), (), 2),
        (PacketMatch(protocol=6, source_ports=WEB, destination_ports=(PortRange(1, 6),)), (), 2 * 2 * 4),
        (PacketMatch(protocol=6, destination_ports=(PortRange(0, 0xFFFF),)), (), 2),
        (PacketMatch(), (SetDscp(1),), 2),
        (PacketMatch(ethertype=0x86DD), (StampFrom(FieldName("a", "b"), PacketField.DSCP),), 1),
        (PacketMatch(), (StampFrom(FieldName("a", "b"), PacketField.VLAN),), 1),
        (PacketMatch(protocol=17), (Steer(("p",)),), 4),
    ],
)
def test_how_many_flows(packet, actions, flows: int) -> None:
    spec = policy("blue", packet=packet, actions=actions)
    assert flows_of_policy(spec) == flows
    steers = any(isinstance(action, Steer) for action in actions)
    assert len(set(conditions_of(spec))) == flows // (2 if steers else 1)
