# SPDX-License-Identifier: Apache-2.0
"""Cookies and group numbers lead back to the object that caused them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.compiler import cookies, groups
from controller.compiler.cookies import OWNER, OWNER_COOKIE, OWNER_MASK, Feature, cookie, is_ours, parse
from controller.compiler.groups import GroupPurpose, group_id, network_key_of
from controller.compiler.pipeline import TUNNEL_OFPORT, Priority, Table
from controller.intent.checks.policies import MAX_PRIORITY as MAX_POLICY_PRIORITY
from controller.intent.model import MAX_KEY
from ovs_geneve.openflow.actions import Output
from ovs_geneve.openflow.flow import MAX_GROUP, MAX_PRIORITY, Flow, Match
from ovs_geneve.openflow.template import message_key
from tests.builders import seal_flow

KEYS = st.integers(0, MAX_KEY)


@given(st.sampled_from(Feature), KEYS, st.binary())
def test_round_trip(feature: Feature, key: int, content: bytes) -> None:
    value = cookie(feature, key, content)
    assert value < 1 << 64
    assert is_ours(value)
    assert value & OWNER_MASK == OWNER_COOKIE
    assert parse(value)[:3] == (OWNER, feature, key)
    assert cookie(feature, key, content) == value
    assert parse(cookie(feature, key, content + b"!")).content != parse(value).content


def test_cookies_of_others_are_not_ours() -> None:
    assert not is_ours(0)
    assert not is_ours(OWNER_COOKIE << 1 & (1 << 64) - 1)


@given(KEYS, st.sampled_from(GroupPurpose))
def test_group_numbers(key: int, purpose: GroupPurpose) -> None:
    number = group_id(key, purpose)
    assert number <= MAX_GROUP
    assert groups.is_ours(number)
    assert network_key_of(number) == key
    assert number & 1 == purpose


@pytest.mark.parametrize("number", [0, 1, 0xFFFFFF, 0x6D << 24, 0x6F << 24])
def test_groups_of_others_are_not_ours(number: int) -> None:
    assert not groups.is_ours(number)


def test_what_a_flow_does_shows_in_its_cookie_alone() -> None:
    def sealed(port: int, salt: bytes = b""):
        flow = Flow(table=1, priority=2, match=Match.of(), actions=(Output(port),))
        return seal_flow(flow, Feature.LOCAL, 7, salt)

    one, other, salted = sealed(1), sealed(2), sealed(1, b"slot 0 is another option now")
    assert one.key == other.key == salted.key == message_key(one.message)
    assert len({one.cookie, other.cookie, salted.cookie}) == 3
    assert int.from_bytes(one.message[8:16]) == one.cookie
    assert one.message[:8] + one.message[16:] == salted.message[:8] + salted.message[16:]


def test_feature_numbers_fit_and_never_change() -> None:
    assert {feature.name: feature.value for feature in Feature} == {
        "PIPELINE": 1,
        "TUNNEL": 2,
        "PEER": 3,
        "FLOOD": 4,
        "NEIGHBOURS": 5,
        "REMOTE": 6,
        "LOCAL": 7,
        "POLICY": 8,
        "POLICY_DEFAULT": 9,
        "DIRECT": 16,
        "SERVICE": 17,
        "TARGET": 19,
        "FIREWALL": 20,
        "GROUP_POLICY": 21,
        "PORT_GROUP": 22,
        "ARRIVAL": 24,
    }
    assert max(Feature) < 1 << 6
    assert cookies.OWNER < 1 << 8


def test_priorities_leave_room_for_policies() -> None:
    assert Priority.POLICY + 2 * MAX_POLICY_PRIORITY + 1 < Priority.CHAIN <= MAX_PRIORITY
    assert Priority.POLICY > Priority.POLICY_DEFAULT > Priority.MISS
    assert list(Table) == sorted(Table)
    assert TUNNEL_OFPORT < 0xFF00
