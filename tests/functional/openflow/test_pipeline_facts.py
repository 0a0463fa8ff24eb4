# SPDX-License-Identifier: Apache-2.0
"""What the pipeline's design takes for granted of OVS, asked with ofproto/trace."""

from __future__ import annotations

import re

import pytest

from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.actions import (
    OFPP_IN_PORT,
    OFPP_LOCAL,
    Action,
    DeleteField,
    Group,
    Move,
    Output,
    Resubmit,
    SetField,
)
from ovs_geneve.openflow.fields import tun_metadata
from ovs_geneve.openflow.flow import Bucket, Flow, GroupEntry, GroupKind, Match, TermLike
from ovs_geneve.openflow.template import GroupCommand, encode_flow_add, encode_group
from tests.functional.openflow.conftest import Switch

TLV = tun_metadata(0, 4)
LONG = tun_metadata(1, 8)
ROUTER = 0x020000000099

MATCH_INCONSISTENT = (2, 10)


@pytest.fixture
def mapped(switch: Switch) -> Switch:
    switch.map_options(
        "{class=0xff00,type=1,len=4}->tun_metadata0", "{class=0xff00,type=2,len=8}->tun_metadata1"
    )
    return switch


def flow(
    table: int, match: tuple[TermLike, ...], *actions: Action, goto: int | None = None, priority: int = 9
) -> Flow:
    return Flow(table=table, priority=priority, match=Match.of(*match), actions=actions, goto=goto)


def install(switch: Switch, *flows: Flow) -> None:
    switch.connection.install(*(encode_flow_add(each) for each in flows))


def install_group(switch: Switch, number: int, *buckets: tuple[Action, ...]) -> None:
    entry = GroupEntry(
        group_id=number, kind=GroupKind.ALL, buckets=tuple(Bucket(actions=each) for each in buckets)
    )
    switch.connection.install(encode_group(GroupCommand.ADD, entry))


def actions_of(trace: str) -> str:
    """Return the datapath actions at the end of a trace."""
    return re.findall(r"^Datapath actions: (.*)$", trace, re.MULTILINE)[-1]


def test_an_option_set_in_the_pipeline_can_be_matched_later(mapped: Switch) -> None:
    install(
        mapped,
        flow(0, ((f.IN_PORT, 1),), SetField(TLV, 0x01020304), goto=1),
        flow(1, ((TLV, 0x01020000, 0xFFFF0000),), Output(2)),
        flow(1, (), priority=0),
    )
    assert actions_of(mapped.trace("in_port=1")) == "2"


@pytest.mark.parametrize("term", [(TLV, 0), (TLV, 0, 0xFF), (TLV, 0, 0)])
def test_an_absent_option_matches_nothing_and_one_set_to_zero_is_present(
    mapped: Switch, term: TermLike
) -> None:
    install(
        mapped,
        flow(0, ((f.IN_PORT, 1),), goto=1),
        flow(0, ((f.IN_PORT, 2),), SetField(TLV, 0), goto=1),
        flow(1, (term,), Output(OFPP_LOCAL)),
        flow(1, (), priority=0),
    )
    assert actions_of(mapped.trace("in_port=1")) == "drop"
    assert actions_of(mapped.trace("in_port=2")) != "drop"


def test_bits_of_an_option_are_set_with_a_mask(mapped: Switch) -> None:
    install(
        mapped,
        flow(0, ((f.IN_PORT, 1),), SetField(TLV, 0x01020304), SetField(TLV, 0xFF0000, 0xFF0000), goto=1),
        flow(0, ((f.IN_PORT, 2),), SetField(TLV, 0xFF0000, 0xFF0000), goto=1),
        flow(1, ((TLV, 0x01FF0304),), Output(2)),
        flow(1, ((TLV, 0x00FF0000),), Output(1)),
    )
    assert actions_of(mapped.trace("in_port=1")) == "2"
    assert actions_of(mapped.trace("in_port=2")) == "1", "the option becomes present, its other bits zero"


def test_an_option_can_be_taken_away(mapped: Switch) -> None:
    install(
        mapped,
        flow(0, ((f.IN_PORT, 1),), SetField(TLV, 5), DeleteField(TLV), goto=1),
        flow(1, ((TLV, 0, 0),), Output(1)),
        flow(1, (), Output(2), priority=0),
    )
    assert actions_of(mapped.trace("in_port=1")) == "2"


def test_the_buckets_of_a_group_change_only_their_own_copy(mapped: Switch) -> None:
    underlay(mapped)
    first = SetField(f.TUN_ID, 7), SetField(TLV, 0x11), SetField(f.TUN_DST, 0xC0000215), Output(10)
    second = SetField(f.TUN_DST, 0xC0000216), Output(10)
    install_group(mapped, 1, first, second)
    install_group(mapped, 2, (Resubmit(9),))
    stamped = SetField(f.TUN_ID, 5), SetField(TLV, 0x99), SetField(LONG, 0)
    install(
        mapped,
        flow(0, ((f.IN_PORT, 1),), *stamped, Group(1), Group(2)),
        flow(9, ((f.TUN_ID, 5), (TLV, 0x99), (f.TUN_DST, 0)), Output(2)),
    )
    outer = re.findall(
        r"dst=(192[^,]*),.*?vni=(0x\w+).*?(\{class=.*\})", mapped.trace("in_port=1").replace("tnl_push", "\n")
    )
    assert [(dst, vni) for dst, vni, _ in outer] == [("192.0.2.21", "0x7"), ("192.0.2.22", "0x5")]
    assert "0x11" in outer[0][2]
    assert "0x99" in outer[1][2]
    assert actions_of(mapped.trace("in_port=1")).endswith(",2")


def test_a_group_in_a_bucket_and_a_resubmit_in_a_bucket(mapped: Switch) -> None:
    install_group(mapped, 2, (Output(2),), (SetField(f.REG3, 5), Resubmit(9)))
    install_group(mapped, 3, (Group(2),), (Resubmit(9),))
    install(
        mapped,
        flow(0, ((f.IN_PORT, 1),), Group(3)),
        flow(9, ((f.REG3, 5),), Output(2)),
        flow(9, ((f.REG3, 0),), Output(OFPP_IN_PORT)),
    )
    assert actions_of(mapped.trace("in_port=1")) == "2,2,1"


def test_options_in_groups_are_not_checked_against_the_map(mapped: Switch) -> None:
    install_group(mapped, 1, (SetField(tun_metadata(30, 4), 5), Output(1)))
    install_group(mapped, 2, (SetField(TLV, 5), Output(1)))
    mapped.ofctl("del-tlv-map", "{class=0xff00,type=1,len=4}->tun_metadata0")
    assert "tun_metadata0" not in mapped.ofctl("dump-tlv-map")


def test_an_arp_request_is_answered_in_one_flow(mapped: Switch) -> None:
    request = (f.IN_PORT, 1), (f.ETH_TYPE, 0x0806), (f.ARP_OP, 1), (f.ARP_TPA, 0x0A000002)
    answer = (
        Move(f.ETH_SRC, f.ETH_DST, 48),
        SetField(f.ETH_SRC, ROUTER),
        SetField(f.ARP_OP, 2),
        Move(f.ARP_SHA, f.ARP_THA, 48),
        Move(f.ARP_SPA, f.ARP_TPA, 32),
        SetField(f.ARP_SHA, ROUTER),
        SetField(f.ARP_SPA, 0x0A000002),
        Output(OFPP_IN_PORT),
    )
    install(mapped, flow(0, request, *answer))
    trace = mapped.trace(
        "in_port=1,arp,dl_src=02:00:00:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff,arp_op=1,"
        "arp_spa=10.0.0.1,arp_tpa=10.0.0.2,arp_sha=02:00:00:00:00:01"
    )
    assert "arp(sip=10.0.0.2,tip=10.0.0.1,op=2,sha=02:00:00:00:00:99,tha=02:00:00:00:00:01)" in trace
    assert actions_of(trace).endswith(",1")


SOLICITATION = (f.ETH_TYPE, 0x86DD), (f.IP_PROTO, 58), (f.ICMPV6_TYPE, 135), (f.ICMPV6_CODE, 0)
ADVERTISEMENT = (f.ETH_TYPE, 0x86DD), (f.IP_PROTO, 58), (f.ICMPV6_TYPE, 136), (f.ICMPV6_CODE, 0)


def test_a_solicitation_is_answered_in_two_tables(mapped: Switch) -> None:
    target = 0x20010DB8000000000000000000000002
    become_answer = (
        Move(f.ETH_SRC, f.ETH_DST, 48),
        SetField(f.ETH_SRC, ROUTER),
        Move(f.IPV6_SRC, f.IPV6_DST, 128),
        SetField(f.IPV6_SRC, target),
        SetField(f.ICMPV6_TYPE, 136),
        SetField(f.ND_OPTIONS_TYPE, 2),
        SetField(f.ND_RESERVED, 0x60000000),
        SetField(f.IP_TTL, 255),
    )
    tail = SetField(f.ND_TLL, ROUTER), Output(OFPP_IN_PORT)
    match = (f.IN_PORT, 1), *SOLICITATION, (f.ND_TARGET, target)
    in_one = encode_flow_add(flow(0, match, *become_answer, *tail))
    assert mapped.connection.refused(in_one) == MATCH_INCONSISTENT, "nd_tll needs a match on type 136"
    install(mapped, flow(0, match, *become_answer, goto=1), flow(1, ADVERTISEMENT, *tail))
    trace = mapped.trace(
        "in_port=1,icmp6,dl_src=02:00:00:00:00:01,dl_dst=33:33:00:00:00:02,ipv6_src=2001:db8::1,"
        "ipv6_dst=ff02::1:ff00:2,icmpv6_type=135,icmpv6_code=0,nd_target=2001:db8::2,nd_sll=02:00:00:00:00:01"
    )
    done = actions_of(trace)
    assert "ipv6(src=2001:db8::2,dst=2001:db8::1,hlimit=255)" in done
    assert "nd_ext(nd_reserved=0x60000000,nd_options_type=2)" in done
    assert "nd(tll=02:00:00:00:00:99)" in done
    assert "icmpv6(type=136" in done


def underlay(switch: Switch) -> None:
    """Give the bridge's own port an address, so that the tunnels of this userspace datapath have a route."""
    switch.vswitchd.appctl("netdev-dummy/ip4addr", switch.name, "192.0.2.11/24")
    switch.vswitchd.appctl("ovs/route/add", "192.0.2.0/24", switch.name)
    for last in (21, 22):
        switch.vswitchd.appctl("tnl/arp/set", switch.name, f"192.0.2.{last}", f"02:aa:00:00:00:{last}")
    install(switch, flow(0, ((f.IN_PORT, OFPP_LOCAL),), Output(1), priority=99))
