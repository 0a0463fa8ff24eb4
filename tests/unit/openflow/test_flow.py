# SPDX-License-Identifier: Apache-2.0
"""A match is canonical, whatever way it is written, and what cannot be matched is refused."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovs_geneve.errors import EncodeError
from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.actions import Ct, FieldBits, Move, Output, OutputField, SetField
from ovs_geneve.openflow.fields import tun_metadata
from ovs_geneve.openflow.flow import Bucket, Flow, GroupEntry, GroupKind, Match, TermLike
from tests.unit.openflow.cases import random_match

TLV = tun_metadata(0, 4)


def test_no_terms_match_everything() -> None:
    assert Match.of().raw == b""


def test_terms_are_in_the_order_of_a_dump() -> None:
    match = Match.of((TLV, 5, 7), (f.TUN_ID, 5000), (f.ETH_DST, 0x020000000001), (f.IN_PORT, 3))
    assert match.raw.hex() == (
        "80000004000000038000060602000000000180004c080000000000001388000151080000000500000007"
    )


@given(st.integers(0, 2**32))
def test_the_way_a_match_is_written_does_not_matter(seed: int) -> None:
    random = Random(seed)
    match = random_match(random)
    terms = list(match.terms)
    random.shuffle(terms)
    again = Match.of(*terms)
    assert again == match
    assert hash(again) == hash(match)
    assert again.terms == match.terms


@pytest.mark.parametrize(
    ("written", "dumped"),
    [
        ([(f.REG0, 5)], [(f.XREG0, 5 << 32, 0xFFFFFFFF << 32)]),
        ([(f.REG1, 5)], [(f.XREG0, 5, 0xFFFFFFFF)]),
        ([(f.REG2, 5), (f.REG3, 6)], [(f.XREG1, 5 << 32 | 6)]),
        ([(f.REG14, 4, 6), (f.REG15, 1, 1)], [(f.XREG7, 4 << 32 | 1, 6 << 32 | 1)]),
        ([(f.XXREG1, 1 << 64 | 2)], [(f.XREG2, 1), (f.XREG3, 2)]),
        ([(f.XXREG0, 1, 1)], [(f.XREG1, 1, 1)]),
        ([(f.XREG0, 1, 1), (f.REG0, 1)], [(f.XREG0, 1 << 32 | 1, 0xFFFFFFFF << 32 | 1)]),
        ([(f.VLAN_TCI, 0)], [(f.VLAN_VID, 0)]),
        ([(f.VLAN_TCI, 0, 0x1FFF)], [(f.VLAN_VID, 0)]),
        ([(f.VLAN_TCI, 0x1000, 0x1000)], [(f.VLAN_VID, 0x1000, 0x1000)]),
        ([(f.VLAN_TCI, 0xB064)], [(f.VLAN_VID, 0x1064), (f.VLAN_PCP, 5)]),
        ([(f.ETH_DST, 5, 2**48 - 1)], [(f.ETH_DST, 5)]),
        ([(f.TUN_FLAGS, 1)], [(f.TUN_FLAGS, 1, 1)]),
        ([(TLV, 5, 0xFFFFFFFF)], [(TLV, 5)]),
    ],
)
def test_one_match_has_one_form(written: list[TermLike], dumped: list[TermLike]) -> None:
    assert Match.of(*written) == Match.of(*dumped)


def test_an_exact_match_of_flags_is_dumped_with_the_bits_that_ovs_knows() -> None:
    assert Match.of((f.TUN_FLAGS, 1)).raw.hex() == "0001d10400010001"
    assert Match.of((f.CT_STATE, 0x21)).raw.hex() == "0001d30800000021000000ff"


def test_presence_of_an_option() -> None:
    assert Match.of((TLV, 0, 0)).raw.hex() == "000151080000000000000000"
    assert Match.of((tun_metadata(0, 0), 0)).raw.hex() == "00015100"


@pytest.mark.parametrize(
    "terms",
    [
        [(f.IN_PORT, 1 << 32)],
        [(f.IN_PORT, -1)],
        [(f.IN_PORT, 1, 1)],
        [(f.ETH_DST, 3, 1)],
        [(f.ETH_DST, 0, 0)],
        [(f.ETH_DST, 0, 1 << 48)],
        [(f.VLAN_VID, 0x2000)],
        [(f.TUN_ID, 1), (f.TUN_ID, 1)],
        [(f.TUN_ID, 1, 1), (f.TUN_ID, 2, 2)],
        [(f.REG0, 1), (f.XREG0, 1)],
        [(f.XXREG0, 1), (f.XREG1, 1)],
        [(f.VLAN_TCI, 0x1000, 0x1000), (f.VLAN_VID, 0x1001)],
        [(f.VLAN_TCI, 0x2000, 0xE000)],
        [(f.VLAN_TCI, 0x3000, 0x3000)],
        [(TLV, 1 << 32)],
        [(TLV, 1, 0)],
        [(TLV, 1), (tun_metadata(0, 8), 1)],
    ],
)
def test_what_cannot_be_matched_is_refused(terms: list[TermLike]) -> None:
    with pytest.raises(EncodeError):
        Match.of(*terms)


def test_the_key_of_a_flow() -> None:
    flow = Flow(table=20, priority=100, match=Match.of((f.IN_PORT, 1)), actions=(Output(2),), cookie=7)
    assert flow.key.hex() == "140064" + "8000000400000001"
    assert flow.key == Flow(table=20, priority=100, match=flow.match).key


@pytest.mark.parametrize(
    "wrong", [{"table": 255}, {"table": -1}, {"priority": 65536}, {"goto": 3}, {"goto": 2}, {"goto": 255}]
)
def test_a_flow_that_cannot_be(wrong: dict[str, int]) -> None:
    with pytest.raises(EncodeError):
        Flow(**({"table": 3, "priority": 1, "match": Match.of()} | wrong))


def test_groups_that_cannot_be() -> None:
    with pytest.raises(EncodeError):
        GroupEntry(group_id=0xFFFFFF01, kind=GroupKind.ALL)
    with pytest.raises(EncodeError):
        GroupEntry(group_id=1, kind=GroupKind.INDIRECT)
    with pytest.raises(EncodeError):
        GroupEntry(group_id=1, kind=GroupKind.FAST_FAILOVER, buckets=(Bucket(actions=()),))


def test_actions_that_cannot_be() -> None:
    for make in (
        lambda: SetField(f.ETH_TYPE, 1),
        lambda: SetField(TLV, 1 << 32),
        lambda: SetField(TLV, 3, 1),
        lambda: SetField(TLV, 0, 0),
        lambda: Move(f.ETH_SRC, f.CT_ZONE, 16),
        lambda: Move(f.ETH_SRC, f.REG0, 33),
        lambda: Move(f.REG0, f.REG1, 16, 17),
        lambda: OutputField(f.REG0, 16, 17),
        lambda: Ct(zone=0x10000),
        lambda: Ct(zone=-1),
        lambda: Ct(zone=FieldBits(f.REG0, 0, 15)),
        lambda: Ct(zone=FieldBits(f.REG0, 17, 16)),
        lambda: Ct(table=255),
        lambda: Ct(force=True),
        lambda: Ct(actions=(SetField(f.CT_MARK, 1),)),
        lambda: Ct(commit=True, actions=(SetField(f.REG0, 1),)),
    ):
        with pytest.raises(EncodeError):
            make()
