# SPDX-License-Identifier: Apache-2.0
"""Ranges of ports become masks that hold the same ports, and as few as can be."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller.compiler.port_masks import port_terms
from controller.intent.port_masks import port_masks
from controller.intent.rules import PortRange
from ovs_geneve.openflow.fields import TCP_DST

RANGES = st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)).map(lambda pair: PortRange(*sorted(pair)))


def ports_of(masks) -> list[int]:
    found = []
    for value, mask in masks:
        assert value & ~mask == 0
        found += range(value, value + 0x10000 - mask)
    return found


@given(st.lists(RANGES, min_size=1, max_size=5).map(tuple))
@example((PortRange(0, 0xFFFF),))
@example((PortRange(1, 0xFFFE),))
def test_masks_hold_the_ports_of_the_ranges_each_once(ranges) -> None:
    wanted = sorted({port for first, last in ranges for port in range(first, last + 1)})
    assert ports_of(port_masks(ranges)) == wanted


@given(RANGES)
def test_no_two_prefixes_of_a_range_make_a_shorter_one(ports: PortRange) -> None:
    masks = port_masks((ports,))
    held = set(masks)
    for value, mask in masks:
        size = 0x10000 - mask
        assert (value ^ size, mask) not in held
    assert len(masks) <= 30


@pytest.mark.parametrize(
    ("ranges", "masks"),
    [
        ((), [(0, 0)]),
        (((0, 0xFFFF),), [(0, 0)]),
        (((443, 443),), [(443, 0xFFFF)]),
        (((80, 80), (81, 81)), [(80, 0xFFFE)]),
        (((8000, 8100),), [(8000, 0xFFC0), (8064, 0xFFE0), (8096, 0xFFFC), (8100, 0xFFFF)]),
    ],
)
def test_masks_of_known_ranges(ranges, masks) -> None:
    assert list(port_masks(tuple(PortRange(*one) for one in ranges))) == masks


def test_terms_say_nothing_where_all_ports_are_meant() -> None:
    assert list(port_terms(TCP_DST, ())) == [()]
    assert list(port_terms(TCP_DST, (PortRange(80, 81),))) == [((TCP_DST, 80, 0xFFFE),)]
