# SPDX-License-Identifier: Apache-2.0
"""Deltas fold and replace without loss."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.hoststate import EncodedFlow, EncodedGroup, HostDelta, HostState, Observed, difference
from ovs_geneve.openflow.tlv_table import TlvMap

OPTION = TlvMap(0xFF00, 1, 4, 0)


def flow(number: int, content: int = 0) -> EncodedFlow:
    return EncodedFlow(b"key%d" % number, content, b"flow%d/%d" % (number, content))


def group(number: int, content: int = 0) -> EncodedGroup:
    return EncodedGroup(number, b"%d" % content, b"group%d/%d" % (number, content))


FLOWS = st.builds(flow, st.integers(0, 4), st.integers(0, 1))
GROUPS = st.builds(group, st.integers(0, 4), st.integers(0, 1))
CHANGES = st.builds(
    HostDelta,
    flows=st.lists(FLOWS).flatmap(
        lambda flows: st.fixed_dictionaries({f.key: st.sampled_from((f, None)) for f in flows})
    ),
    groups=st.lists(GROUPS).flatmap(
        lambda groups: st.fixed_dictionaries({g.group_id: st.sampled_from((g, None)) for g in groups})
    ),
    tlv_maps=st.sampled_from((None, frozenset(), frozenset({OPTION}))),
)


def applied(delta: HostDelta, flows: dict, groups: dict, maps: frozenset) -> tuple[dict, dict, frozenset]:
    flows = {key: new for key, new in {**flows, **delta.flows}.items() if new is not None}
    groups = {key: new for key, new in {**groups, **delta.groups}.items() if new is not None}
    return flows, groups, maps if delta.tlv_maps is None else delta.tlv_maps


@given(CHANGES, CHANGES, st.lists(FLOWS), st.lists(GROUPS))
def test_folded_is_one_after_the_other(first, second, flows, groups) -> None:
    start = {f.key: f for f in flows}, {g.group_id: g for g in groups}, frozenset()
    one_by_one = applied(second, *applied(first, *start))
    first.fold(second)
    assert applied(first, *start) == one_by_one


@given(st.lists(FLOWS), st.lists(FLOWS), st.lists(GROUPS), st.lists(GROUPS))
def test_replacing_leaves_what_is_new_and_touches_nothing_else(old, new, old_groups, new_groups) -> None:
    delta = HostDelta()
    old, new = ({f.key: f for f in flows} for flows in (old, new))
    old_groups, new_groups = ({g.group_id: g for g in groups} for groups in (old_groups, new_groups))
    delta.replace_flows(old.values(), new.values())
    delta.replace_groups(old_groups.values(), new_groups.values())
    flows, groups, _ = applied(delta, old, old_groups, frozenset())
    assert (flows, groups) == (new, new_groups)
    assert all(delta.flows[key] != old.get(key) for key in delta.flows)
    assert all(delta.groups[key] != old_groups.get(key) for key in delta.groups)


def test_difference_is_by_cookie_and_content() -> None:
    desired = HostState(
        tlv_maps=frozenset({OPTION}),
        flows={f.key: f for f in (flow(1, 1), flow(2, 2), flow(3, 3))},
        groups={1: group(1, 1), 2: group(2, 2)},
    )
    seen = Observed(flows={b"key1": 1, b"key2": 9, b"key4": 4}, groups={1: b"1", 2: b"9", 3: b""})
    delta = difference(desired, seen)
    assert delta.flows == {b"key2": flow(2, 2), b"key3": flow(3, 3), b"key4": None}
    assert delta.groups == {2: group(2, 2), 3: None}
    assert delta.tlv_maps == {OPTION}


def test_nothing_is_no_change_and_an_empty_map_is_one() -> None:
    assert not HostDelta()
    assert HostDelta(tlv_maps=frozenset())
    assert not difference(HostState(tlv_maps=frozenset(), flows={}, groups={}), Observed())
