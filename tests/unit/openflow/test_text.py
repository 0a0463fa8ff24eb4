# SPDX-License-Identifier: Apache-2.0
"""Flows in ovs-ofctl's words; OVS's own parser reads them."""

from __future__ import annotations

from random import Random

import pytest
from ovs.flow.ofp import OFPFlow

from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.actions import (
    OFPP_CONTROLLER,
    OFPP_IN_PORT,
    OFPP_LOCAL,
    Action,
    Clone,
    Controller,
    Ct,
    CtClear,
    DecTtl,
    DeleteField,
    FieldBits,
    Group,
    Meter,
    Move,
    Output,
    OutputField,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
    SetQueue,
)
from ovs_geneve.openflow.fields import tun_metadata
from ovs_geneve.openflow.flow import Bucket, Flow, GroupEntry, GroupKind, Match, TermLike
from ovs_geneve.openflow.text import render_actions, render_flow, render_group, render_match
from tests.unit.openflow.cases import random_flow

TLV = tun_metadata(0, 4)


@pytest.mark.parametrize(
    ("terms", "text"),
    [
        ([], ""),
        ([(f.IN_PORT, OFPP_LOCAL)], "in_port=LOCAL"),
        ([(f.ETH_DST, 0x010000000000, 0x010000000000)], "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00"),
        ([(f.ETH_TYPE, 0x0806), (f.ARP_OP, 1)], "arp,arp_op=1"),
        ([(f.ETH_TYPE, 0x88B5)], "dl_type=0x88b5"),
        ([(f.ETH_TYPE, 0x0800), (f.IPV4_SRC, 0x0A000000, 0xFF000000)], "ip,nw_src=10.0.0.0/8"),
        ([(f.ETH_TYPE, 0x0800), (f.IPV4_SRC, 1, 0xFF0000FF)], "ip,nw_src=0.0.0.1/255.0.0.255"),
        ([(f.ETH_TYPE, 0x0800), (f.IP_PROTO, 17), (f.UDP_DST, 67)], "udp,udp_dst=67"),
        ([(f.ETH_TYPE, 0x0800), (f.IP_PROTO, 47)], "ip,nw_proto=47"),
        ([(f.ETH_TYPE, 0x86DD), (f.IPV6_DST, 0xFF02 << 112, 0xFFFF << 112)], "ipv6,ipv6_dst=ff02::/16"),
        ([(f.ETH_TYPE, 0x86DD), (f.IP_PROTO, 58), (f.ICMPV6_TYPE, 135)], "icmp6,icmpv6_type=135"),
        ([(f.ETH_TYPE, 0x0800), (f.IP_FRAG, 3)], "ip,ip_frag=later"),
        ([(f.VLAN_TCI, 0)], "vlan_vid=0x0"),
        (
            [(f.TUN_ID, 5), (f.TUN_FLAGS, 1), (f.TUN_DST, 0x0A000001)],
            "tun_id=0x5,tun_flags=+oam,tun_dst=10.0.0.1",
        ),
        ([(TLV, 5)], "tun_metadata0=0x5"),
        ([(TLV, 5, 7)], "tun_metadata0=0x5/0x7"),
        ([(TLV, 0, 0)], "tun_metadata0"),
        ([(f.REG0, 5), (f.REG1, 2, 3)], "reg0=0x5,reg1=0x2/0x3"),
        ([(f.REG3, 5)], "reg3=0x5"),
        ([(f.CT_STATE, 0x20, 0x21)], "ct_state=-new+trk"),
        ([(f.PACKET_TYPE, 0x10800)], "packet_type=(1,0x800)"),
    ],
)
def test_matches(terms: list[TermLike], text: str) -> None:
    assert render_match(Match.of(*terms)) == text


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (Output(5), "output:5"),
        (Output(OFPP_IN_PORT), "output:IN_PORT"),
        (Output(OFPP_CONTROLLER, 128), "CONTROLLER:128"),
        (OutputField(f.REG7, 0, 16), "output:reg7[0..15]"),
        (Group(4), "group:4"),
        (SetField(f.TUN_DST, 0x0A000001), "set_field:10.0.0.1->tun_dst"),
        (SetField(TLV, 0x50000, 0xF0000), "set_field:0x50000/0xf0000->tun_metadata0"),
        (SetField(f.ETH_SRC, 1), "set_field:00:00:00:00:00:01->dl_src"),
        (Move(f.ARP_SHA, f.ARP_THA, 48), "move:arp_sha[]->arp_tha[]"),
        (Move(f.REG0, f.REG1, 8, 4, 0), "move:reg0[4..11]->reg1[0..7]"),
        (Move(f.REG0, f.REG1, 1, 4, 5), "move:reg0[4]->reg1[5]"),
        (Resubmit(9), "resubmit(,l2)"),
        (Resubmit(8, OFPP_LOCAL), "resubmit(LOCAL,8)"),
        (PopVlan(), "pop_vlan"),
        (PushVlan(), "push_vlan:0x8100"),
        (DecTtl(), "dec_ttl"),
        (Controller(128, b"\1\2", 7, 3), "controller(max_len=128,id=3,userdata=01.02,meter_id=7)"),
        (DeleteField(TLV), "delete_field:tun_metadata0"),
        (Meter(3), "meter:3"),
        (SetQueue(2), "set_queue:2"),
        (SetField(f.TUN_FLAGS, 1), "set_field:oam->tun_flags"),
        (SetField(f.TUN_FLAGS, 0), "set_field:0->tun_flags"),
        (Ct(), "ct()"),
        (Ct(zone=5, table=9), "ct(table=l2,zone=5)"),
        (
            Ct(zone=FieldBits(f.REG6, 0, 16), commit=True, force=True, actions=(SetField(f.CT_MARK, 1, 3),)),
            "ct(commit,force,zone=reg6[0..15],exec(set_field:0x1/0x3->ct_mark))",
        ),
        (CtClear(), "ct_clear"),
        (Clone((Resubmit(9), Output(1))), "clone(resubmit(,l2),output:1)"),
    ],
)
def test_actions(action: Action, text: str) -> None:
    assert render_actions([action], {9: "l2"}) == text


def test_a_flow() -> None:
    flow = Flow(
        table=3,
        priority=100,
        match=Match.of((f.IN_PORT, 1)),
        actions=(SetField(f.REG0, 1),),
        goto=9,
        cookie=0xAB,
        idle_timeout=5,
        hard_timeout=6,
    )
    tables = {3: "classify", 9: "l2"}
    assert render_flow(flow, tables) == (
        "cookie=0xab, table=classify, idle_timeout=5, hard_timeout=6, priority=100,in_port=1 "
        "actions=set_field:0x1->reg0,goto_table:l2"
    )
    assert render_flow(Flow(table=3, priority=0, match=Match.of())) == "table=3, priority=0 actions=drop"


def test_a_group() -> None:
    entry = GroupEntry(
        group_id=7,
        kind=GroupKind.FAST_FAILOVER,
        buckets=(Bucket(actions=(Output(1),), watch_port=1), Bucket(actions=(), watch_port=2, bucket_id=9)),
    )
    assert render_group(entry) == (
        "group_id=7,type=ff,bucket=bucket_id:0,watch_port:1,actions=output:1,"
        "bucket=bucket_id:9,watch_port:2,actions=drop"
    )
    select = GroupEntry(group_id=7, kind=GroupKind.SELECT, buckets=(Bucket(actions=(), weight=5),))
    assert render_group(select) == "group_id=7,type=select,bucket=bucket_id:0,weight:5,actions=drop"


def test_the_parser_of_ovs_reads_our_flows() -> None:
    random = Random(1)
    flows = [random_flow(random) for _ in range(300)]
    # OFPFlow wants a value behind every tun_metadata: it cannot read a match on presence.
    read = [flow for flow in flows if not any(term.mask == 0 for term in flow.match.terms)]
    assert len(read) > 100
    for flow in read:
        parsed = OFPFlow(render_flow(flow))
        assert parsed.info["table"] == flow.table
        assert parsed.match["priority"] == flow.priority
        count = len(flow.actions) + (flow.goto is not None)
        assert len(parsed.actions) == max(count, 1)
