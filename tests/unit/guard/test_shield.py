# SPDX-License-Identifier: Apache-2.0
"""The megaflow that takes the place of a drop; tests/system/test_guard.py has Open vSwitch take and keep it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.guard.judge import Fault, Rules, judge
from controller.guard.shield import is_shield, shield_of, ufid_of, verdict_of
from ovs_geneve.openflow.tlv_table import TlvMap
from tests.unit.guard.test_judge import MAPS, RULES
from tests.unit.guard.vectors import megaflow, megaflows


def test_it_matches_on_class_type_and_length_of_each_option() -> None:
    shield = shield_of(megaflow("wrong-length"), RULES)
    assert shield is not None
    assert "geneve({class=0xff00,type=0x1,len=8,0x0/0x0})" in shield
    assert "tos=0x0/0xff,ttl=64/0" in shield, "or the revalidators take it out"
    before = megaflow("wrong-length")
    assert (
        shield.partition("geneve(")[2].partition("),")[2]
        == before.key.partition("geneve(")[2].partition("),")[2]
    )


def test_a_tos_that_is_printed_stays() -> None:
    poison = megaflow("wrong-length")
    marked = replace(poison, key=poison.key.replace("ttl=", "tos=0x28,ttl=", 1))
    shield = shield_of(marked, RULES)
    assert shield is not None
    assert shield.count("tos=") == 2, "the outer one and the inner one"


def test_what_is_malformed_is_known_by_its_length() -> None:
    shield = shield_of(megaflow("malformed"), RULES)
    assert shield is not None
    assert shield.count("len=0/0}") == 5
    assert "class=0xffff/0x0" in shield


def test_none_where_good_packets_are_as_long() -> None:
    poison = replace(megaflow("malformed"), malformed=8)
    assert shield_of(poison, RULES) is None
    assert shield_of(poison, Rules.of(MAPS, {1000: frozenset()})) is not None
    known = Rules.of([*MAPS, TlvMap(0xFFFF, 0xFF, 0, 2)], {})
    assert shield_of(megaflow("malformed"), known) is None, "the revalidators would let it in"


@pytest.mark.parametrize("name", ["wrong-length", "malformed"])
def test_ours_are_known_again(name: str) -> None:
    poison = megaflow(name)
    assert is_shield(ufid_of(poison))
    assert not is_shield(poison.ufid)
    assert ufid_of(poison) in {flow.ufid for flow in megaflows("shields")}
    moved = replace(poison, tun_id=1, key=poison.key.replace("0x3e8", "0x1"))
    assert ufid_of(moved) != ufid_of(poison)


def test_what_a_shield_of_another_controller_is_against() -> None:
    told = {
        (verdict_of(flow) or judge(flow, RULES)).fault
        for flow in megaflows("shields")
        if is_shield(flow.ufid)
    }
    assert told == {Fault.UNKNOWN_CRITICAL, Fault.WRONG_LENGTH, Fault.MALFORMED}
