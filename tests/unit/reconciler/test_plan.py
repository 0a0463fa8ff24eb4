# SPDX-License-Identifier: Apache-2.0
"""Applying a plan to a bridge reaches what is desired, in an order that OVS takes; planning again is empty."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.compiler.cookies import Feature
from controller.compiler.meters import FIRST_METER
from controller.hoststate import EncodedGroup, Held, HostDelta, HostState, Observed, difference
from controller.reconciler.foreign import find_taken, leaving_out
from controller.reconciler.plan import excluding, plan
from ovs_geneve.openflow.actions import Controller, Group, Meter, Output, SetField
from ovs_geneve.openflow.events import Bundle, MapTlv, SetMeters, UnmapTlv
from ovs_geneve.openflow.fields import REG0, tun_metadata
from ovs_geneve.openflow.flow import Bucket, Flow, GroupEntry, GroupKind, Match
from ovs_geneve.openflow.meters import MeterEntry
from ovs_geneve.openflow.stats import canonical_buckets
from ovs_geneve.openflow.template import GroupCommand, encode_group
from ovs_geneve.openflow.tlv_table import TlvMap
from tests.builders import seal_flow
from tests.fakes.switch import FakeBridge

OURS = 0x6E << 24


def mapping(index: int, option_type: int, length: int = 4) -> TlvMap:
    return TlvMap(0xFF00, option_type, length, index)


def using(*maps: TlvMap, number: int = 1, value: int = 0, group: int | None = None):
    """Return a flow that sets the options, salted with what its slots stand for, as the compiler does."""
    actions = [SetField(tun_metadata(m.index, m.length), value) for m in maps]
    actions.append(Output(1) if group is None else Group(OURS | group))
    flow = Flow(table=1, priority=1, match=Match.of((REG0, number)), actions=tuple(actions))
    return seal_flow(flow, Feature.LOCAL, number, repr(sorted(maps)).encode())


def matching(mapped: TlvMap, value: int = 1):
    flow = Flow(table=2, priority=1, match=Match.of((tun_metadata(mapped.index, mapped.length), value, 1)))
    return seal_flow(flow, Feature.POLICY, 1, repr(mapped).encode())


def group(number: int, *ports: int):
    buckets = tuple(Bucket(actions=(Output(p),)) for p in ports)
    entry = GroupEntry(group_id=OURS | number, kind=GroupKind.ALL, buckets=buckets)
    message = encode_group(GroupCommand.ADD_OR_MODIFY, entry)
    return EncodedGroup(entry.group_id, canonical_buckets(entry), message)


def limited(number: int, *meters: MeterEntry, hard: bool = False):
    """Return a flow that sends packets up within meters, or drops what is above them."""
    ids = [meter.meter_id for meter in meters]
    actions = tuple(Meter(meter_id) if hard else Controller(meter_id=meter_id) for meter_id in ids)
    flow = Flow(table=3, priority=1, match=Match.of((REG0, number)), actions=(*actions, Output(1)))
    return seal_flow(flow, Feature.PIPELINE, 0)


def meter(number: int, rate: int = 20) -> MeterEntry:
    return MeterEntry(meter_id=FIRST_METER + number, rate=rate, burst=rate)


def state(*flows, groups=(), maps=(), released=(), meters=()) -> HostState:
    return HostState(
        meters=frozenset(meters),
        tlv_maps=frozenset(maps),
        flows={flow.key: flow for flow in flows},
        groups={entry.group_id: entry for entry in groups},
        released=frozenset(released),
    )


def observed(bridge: FakeBridge) -> Observed:
    event = bridge.observed()
    return Observed(
        tlv_maps=frozenset(event.tlv_maps),
        flows=event.flows,
        groups={number: raw for number, (_, raw) in event.groups.items()},
        meters=event.meters,
    )


def bring(bridge: FakeBridge, desired: HostState) -> list:
    steps = plan(difference(desired, observed(bridge)), Held(bridge.tlv_maps, dict(bridge.meters)))
    for step in steps:
        assert bridge.carry_out(step) == (), step
    return list(steps)


def test_new_option_is_mapped_before_flows_use_it() -> None:
    bridge, option = FakeBridge(), mapping(0, 1)
    steps = bring(bridge, state(using(option), maps=[option]))
    assert [type(step) for step in steps] == [MapTlv, Bundle]


def test_old_option_is_unmapped_after_its_flows_are_gone() -> None:
    bridge, option = FakeBridge(), mapping(0, 1)
    bring(bridge, state(using(option), maps=[option]))
    steps = bring(bridge, state(released=[option]))
    assert [type(step) for step in steps] == [Bundle, UnmapTlv]
    assert bridge.equals(state())


def test_slot_for_another_option_is_emptied_first() -> None:
    bridge, old, new = FakeBridge(), mapping(0, 1), mapping(0, 2)
    bring(bridge, state(using(old), matching(old), maps=[old]))
    desired = state(using(new), matching(new), maps=[new], released=[old])
    assert [type(step) for step in bring(bridge, desired)] == [Bundle, UnmapTlv, MapTlv, Bundle]
    assert bridge.equals(desired)


def test_what_somebody_else_mapped_stays() -> None:
    foreign, old, new = mapping(7, 9), mapping(0, 1), mapping(1, 2)
    bridge = FakeBridge(tlv_maps=frozenset({foreign}))
    bring(bridge, state(using(old), maps=[old]))
    bring(bridge, state(using(new), maps=[new], released=[old]))
    assert bridge.tlv_maps == {foreign, new}
    bring(bridge, state(released=[old, new]))
    assert bridge.tlv_maps == {foreign}


def test_option_that_moves_to_another_slot() -> None:
    bridge, old, new = FakeBridge(), mapping(0, 1), mapping(5, 1)
    bring(bridge, state(using(old), maps=[old]))
    desired = state(using(new), maps=[new], released=[old])
    bring(bridge, desired)
    assert bridge.equals(desired)


def test_groups_come_before_the_flows_that_use_them_and_go_after() -> None:
    bridge = FakeBridge()
    desired = state(using(number=1, group=7), groups=[group(7, 1)])
    bring(bridge, desired)
    assert bridge.equals(desired)
    # OVS deletes the flows of a group that goes: the flow's new actions must be there by then.
    later = state(using(number=1))
    bring(bridge, later)
    assert bridge.equals(later)


def test_meters_come_before_the_flows_that_use_them_and_go_after() -> None:
    bridge, first = FakeBridge(), meter(0)
    desired = state(limited(1, first, hard=True), limited(2, first), meters=[first])
    steps = bring(bridge, desired)
    assert [type(step) for step in steps] == [SetMeters, Bundle]
    assert bridge.equals(desired)
    steps = bring(bridge, state(limited(1), limited(2)))
    assert [type(step) for step in steps] == [Bundle, SetMeters]
    assert bridge.equals(state(limited(1), limited(2)))


def test_a_meter_that_differs_is_changed_and_its_flows_stay() -> None:
    bridge = FakeBridge()
    bring(bridge, state(limited(1, meter(0)), meters=[meter(0), meter(1)]))
    steps = bring(bridge, state(limited(1, meter(0)), meters=[meter(0, rate=50), meter(1)]))
    assert steps == [SetMeters(change=(meter(0, rate=50),))]


def test_a_meter_that_was_lost_brings_the_flows_that_it_limits() -> None:
    bridge = FakeBridge()
    desired = state(limited(1, meter(0)), limited(2, meter(1)), meters=[meter(0), meter(1)])
    bring(bridge, desired)
    bridge.carry_out(SetMeters(delete=(meter(0).meter_id,)))
    assert not bridge.equals(desired)
    steps = bring(bridge, desired)
    assert steps[0] == SetMeters(add=(meter(0),))
    assert isinstance(steps[1], Bundle)
    assert list(steps[1].messages) == [limited(1, meter(0)).message]
    assert bridge.equals(desired)


def test_nothing_to_do_is_no_step() -> None:
    option = mapping(0, 1)
    assert plan(HostDelta(), Held()) == ()
    assert plan(HostDelta(tlv_maps=frozenset({option})), Held(frozenset({option}))) == ()


def test_flow_of_somebody_else_in_the_place_of_ours_is_not_deleted() -> None:
    bridge = FakeBridge()
    ours = using(number=1)
    bring(bridge, state(ours))
    foreign = bytearray(ours.message)
    foreign[8] = 0x11
    assert bridge.carry_out(Bundle([bytes(foreign)])) == ()
    assert bridge.carry_out(plan(HostDelta(flows={ours.key: None}), Held())[0]) == ()
    assert ours.key in bridge.flows


def test_refused_messages_are_left_out_until_they_change() -> None:
    flow, changed, entry = using(number=1), using(number=1, group=7), group(7, 1)
    delta = HostDelta(flows={flow.key: flow}, groups={entry.group_id: entry})
    left = excluding(delta, {flow.key: flow.message}, {entry.group_id: entry.message})
    assert not left
    again = HostDelta(flows={flow.key: changed})
    assert excluding(again, {flow.key: flow.message}, {}).flows == {flow.key: changed}


_SLOTS = st.integers(0, 3)
_MAPS = st.dictionaries(_SLOTS, st.tuples(st.integers(0, 4), st.sampled_from((4, 8))), max_size=4).map(
    lambda slots: {t: mapping(index, t, length) for index, (t, length) in slots.items()}.values()
)


@st.composite
def states(draw) -> HostState:
    maps = sorted(draw(_MAPS))
    numbers = draw(st.sets(st.integers(0, 3)))
    groups = [group(number, *draw(st.lists(st.integers(1, 3), max_size=2))) for number in numbers]
    flows = []
    for number in draw(st.sets(st.integers(1, 6))):
        used = draw(st.lists(st.sampled_from(maps), unique=True, max_size=2)) if maps else []
        to = draw(st.sampled_from(sorted(numbers))) if numbers and draw(st.booleans()) else None
        flows.append(using(*used, number=number, value=draw(st.integers(0, 1)), group=to))
    if maps and draw(st.booleans()):
        flows.append(matching(draw(st.sampled_from(maps))))
    meters = [meter(number, draw(st.integers(1, 2))) for number in draw(st.sets(st.integers(0, 2)))]
    for number in draw(st.sets(st.integers(1, 3))) if meters else ():
        used = draw(st.lists(st.sampled_from(meters), unique=True, max_size=2))
        flows.append(limited(number, *used, hard=draw(st.booleans())))
    return state(*flows, groups=groups, maps=maps, meters=meters)


@settings(max_examples=300, deadline=None)
@given(st.lists(states(), min_size=1, max_size=4), _MAPS)
def test_whatever_others_mapped_stays_and_no_flow_of_ours_speaks_of_it(
    wanted: list[HostState], foreign: Collection[TlvMap]
) -> None:
    theirs = frozenset(mapping(one.index, one.option_type + 3, one.length) for one in foreign)
    bridge, before = FakeBridge(tlv_maps=theirs), frozenset[TlvMap]()
    for desired in wanted:
        released = before - desired.tlv_maps - theirs
        before |= desired.tlv_maps
        delta = difference(replace(desired, released=released), observed(bridge))
        taken = find_taken(bridge.tlv_maps, desired.tlv_maps, released)
        kept, left_out = leaving_out(delta, taken)
        for step in plan(kept, Held(bridge.tlv_maps, bridge.meters)):
            assert bridge.carry_out(step) == (), step
        lost = {one.ours for one in taken}
        assert bridge.tlv_maps == theirs | desired.tlv_maps - lost
        assert all(
            slot in {one.index for one in desired.tlv_maps - lost}
            for flow in bridge.flows.values()
            for slot, _ in flow.slots
        )
        assert bridge.flows.keys() == desired.flows.keys() - left_out.keys()


@settings(max_examples=300, deadline=None)
@given(st.lists(states(), min_size=1, max_size=4))
def test_any_plan_reaches_what_is_desired(wanted: list[HostState]) -> None:
    bridge = FakeBridge()
    before = frozenset[TlvMap]()
    for state_wanted in wanted:
        desired = replace(state_wanted, released=before - state_wanted.tlv_maps)
        before |= desired.tlv_maps
        bring(bridge, desired)
        assert bridge.equals(desired)
        assert not difference(desired, observed(bridge))
