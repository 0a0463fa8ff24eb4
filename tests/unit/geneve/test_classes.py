# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import pairwise

import pytest

from ovs_geneve.errors import EncodeError
from ovs_geneve.geneve.classes import is_assigned, is_experimental, owner, registry
from ovs_geneve.values import OptionClass


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (0x0000, "IETF, unassigned"),
        (0x00FF, "IETF, unassigned"),
        (0x0100, "Linux"),
        (0x0102, "OVN"),
        (0x0107, "Oracle"),
        (0x0108, "Amazon"),
        (0x0110, "Amazon"),
        (0x0111, "IBM"),
        (0x0129, "Oxide"),
        (0x012A, "unassigned"),
        (0x014B, "Cilium"),
        (0x0164, "cPacket"),
        (0xFEFF, "unassigned"),
        (0xFF00, "experimental"),
        (0xFFFF, "experimental"),
    ],
)
def test_owners(number, name):
    assert owner(OptionClass(number)) == name


@pytest.mark.parametrize("function", [owner, is_experimental, is_assigned])
@pytest.mark.parametrize("number", [-1, 0x10000])
def test_a_class_has_16_bits(function, number):
    with pytest.raises(EncodeError, match="option class"):
        function(OptionClass(number))


def test_experimental_begins_at_ff00():
    assert not is_experimental(OptionClass(0xFEFF))
    assert is_experimental(OptionClass(0xFF00))
    assert is_assigned(OptionClass(0x0102))
    assert not is_assigned(OptionClass(0xFF00))


def test_the_table_is_sound():
    ranges = registry()
    assert all(0x0100 <= entry.first <= entry.last < 0xFF00 and entry.owner.strip() for entry in ranges)
    assert all(left.last < right.first for left, right in pairwise(ranges))
