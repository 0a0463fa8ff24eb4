# SPDX-License-Identifier: Apache-2.0
"""What policies and probes take for granted of OVS, asked with ofproto/trace: conntrack, queues, the O bit."""

from __future__ import annotations

import re

import pytest

from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.actions import (
    Clone,
    Controller,
    Ct,
    CtClear,
    DeleteField,
    FieldBits,
    Output,
    SetField,
    SetQueue,
)
from ovs_geneve.openflow.fields import tun_metadata
from ovs_geneve.openflow.flow import Flow, Match, TermLike
from ovs_geneve.openflow.stats import decode_flow_stats, flow_stats_request
from ovs_geneve.openflow.template import encode_flow_add
from tests.functional.openflow.conftest import Switch
from tests.functional.openflow.test_pipeline_facts import (
    MATCH_INCONSISTENT,
    actions_of,
    flow,
    install,
    underlay,
)

TLV = tun_metadata(0, 4)
MAPS = ("{class=0xff00,type=1,len=4}->tun_metadata0", "{class=0xff00,type=2,len=8}->tun_metadata1")
IP = (f.IN_PORT, 1), (f.ETH_TYPE, 0x0800)
_NEW, _ESTABLISHED, _INVALID, _TRACKED = 0x01, 0x02, 0x10, 0x20


def tracked(switch: Switch, state: str, packet: str = "in_port=1,tcp") -> str:
    """Trace a packet and what comes back of it with this ct_state."""
    return switch.vswitchd.appctl(
        "ofproto/trace", "--names", "--ct-next", state, switch.name, packet
    ).replace(f"{switch.name}p", "")


def test_the_zone_may_be_in_a_register(switch: Switch) -> None:
    zone = FieldBits(f.REG6, 8, 16)
    install(
        switch,
        flow(0, IP, SetField(f.REG6, 0x00123400), Ct(zone=zone, table=1)),
        flow(1, ((f.CT_STATE, _TRACKED | _NEW, _TRACKED | _NEW), (f.CT_ZONE, 0x1234)), Output(2)),
    )
    trace = tracked(switch, "trk,new")
    assert "ct(zone=4660)" in trace
    assert actions_of(trace) == "2"


def test_a_committed_connection_carries_mark_and_label(switch: Switch) -> None:
    marks = SetField(f.CT_MARK, 0x10, 0xF0), SetField(f.CT_LABEL, 1 << 64, 1 << 64)
    install(switch, flow(0, IP, Ct(zone=3, commit=True, force=True, actions=marks), Output(2)))
    assert actions_of(switch.trace("in_port=1,tcp")) == (
        "ct(force_commit,zone=3,mark=0x10/0xf0,label=0x10000000000000000/0x10000000000000000),2"
    )


def test_ct_clear_forgets_the_state(switch: Switch) -> None:
    install(
        switch,
        flow(0, IP, Ct(table=1)),
        flow(1, ((f.ETH_TYPE, 0x0800),), CtClear(), goto=2),
        flow(2, ((f.CT_STATE, 0, _TRACKED),), Output(2)),
    )
    assert actions_of(tracked(switch, "trk,est")).endswith("2")


@pytest.mark.parametrize("match", [((f.IN_PORT, 1),), (*IP, (f.CT_STATE, _INVALID, _INVALID))])
def test_what_ct_refuses(switch: Switch, match: tuple[TermLike, ...]) -> None:
    message = encode_flow_add(Flow(table=0, priority=1, match=Match.of(*match), actions=(Ct(commit=True),)))
    assert switch.connection.refused(message) == MATCH_INCONSISTENT


def test_a_queue_is_chosen_for_what_follows(switch: Switch) -> None:
    install(switch, flow(0, ((f.IN_PORT, 1),), SetQueue(5), Output(2)))
    assert re.fullmatch(r"set\(skb_priority\(0x?[0-9a-f]+\)\),2", actions_of(switch.trace("in_port=1")))


@pytest.mark.parametrize("oam", [0, 1])
def test_the_o_bit_is_that_of_tun_flags(switch: Switch, oam: int) -> None:
    switch.map_options(*MAPS)
    underlay(switch)
    tunnel = SetField(f.TUN_ID, 7), SetField(TLV, 5), SetField(f.TUN_DST, 0xC0000215), Output(10)
    install(switch, flow(0, ((f.IN_PORT, 1),), SetField(f.TUN_FLAGS, oam), *tunnel))
    header = actions_of(switch.trace("in_port=1"))
    assert "geneve(" in header
    assert ("oam" in header) == bool(oam)


def test_an_option_is_present_or_not_and_dumped_so(switch: Switch) -> None:
    switch.map_options(*MAPS)
    present = Flow(table=3, priority=5, match=Match.of((TLV, 0, 0)), actions=(Output(2),), cookie=1)
    switch.connection.install(encode_flow_add(present))
    (part,) = switch.connection.multipart(flow_stats_request(xid=1, table=3))
    assert [entry.key for entry in decode_flow_stats(part)] == [present.key]
    assert "priority=5,tun_metadata0 actions" in switch.ofctl("dump-flows")


def test_an_option_taken_away_is_not_on_the_wire(switch: Switch) -> None:
    switch.map_options(*MAPS)
    underlay(switch)
    tunnel = SetField(f.TUN_ID, 7), SetField(f.TUN_DST, 0xC0000215)
    first, second = SetField(TLV, 5), SetField(tun_metadata(1, 8), 9)
    copy = Clone((DeleteField(TLV), Output(10)))
    install(switch, flow(0, ((f.IN_PORT, 1),), *tunnel, first, second, copy, Output(10)))
    stripped, whole = actions_of(switch.trace("in_port=1")).split("tnl_push")[1:]
    assert [("type=0x1," in text, "type=0x2," in text) for text in (stripped, whole)] == [
        (False, True),
        (True, True),
    ]


def test_a_packet_goes_to_the_controller_with_userdata(switch: Switch) -> None:
    install(switch, flow(0, ((f.IN_PORT, 1),), Controller(userdata=b"\1\2\3"), Output(2)))
    assert "userdata=01.02.03" in switch.trace("in_port=1")
