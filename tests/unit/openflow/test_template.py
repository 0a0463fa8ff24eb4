# SPDX-License-Identifier: Apache-2.0
"""Our bytes are those of os-ken, wherever os-ken can write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.ofproto import ofproto_v1_5 as ofp
from os_ken.ofproto import ofproto_v1_5_parser as osken
from os_ken.ofproto.nicira_ext import ofs_nbits
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from ovs_geneve.errors import EncodeError
from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.action_codec import encode_actions
from ovs_geneve.openflow.actions import (
    OFPP_IN_PORT,
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
from ovs_geneve.openflow.flow import Bucket, Flow, GroupEntry, GroupKind, Match
from ovs_geneve.openflow.template import (
    FlowTemplate,
    GroupCommand,
    Hole,
    encode_flow_add,
    encode_flow_delete,
    encode_group,
    message_key,
    with_xid,
)

DATAPATH = ProtocolDesc(version=6)
TLV = tun_metadata(0, 4)
MAC = "02:00:00:00:00:07"
FLOW = Flow(
    table=20,
    priority=100,
    cookie=0xAB00000000000001,
    match=Match.of((f.IN_PORT, 3), (f.ETH_DST, 0x020000000007), (f.TUN_ID, 5000)),
    actions=(SetField(f.TUN_DST, 0x0A000001), SetField(f.REG0, 5), Output(10)),
    goto=21,
    idle_timeout=30,
    hard_timeout=300,
)


def osken_bytes(message: osken.MsgBase) -> bytes:
    message.set_xid(9)
    message.serialize()
    return bytes(message.buf)


def osken_flow_mod(**arguments: object) -> osken.OFPFlowMod:
    match = osken.OFPMatch(in_port=3, eth_dst=MAC, tunnel_id=5000)
    anything = {"out_port": ofp.OFPP_ANY, "out_group": ofp.OFPG_ANY}
    return osken.OFPFlowMod(DATAPATH, table_id=20, priority=100, match=match, **anything, **arguments)


def test_a_flow_is_that_of_osken() -> None:
    actions = [
        osken.OFPActionSetField(tun_ipv4_dst="10.0.0.1"),
        osken.OFPActionSetField(reg0=5),
        osken.OFPActionOutput(10, max_len=0),
    ]
    instructions = [
        osken.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, actions),
        osken.OFPInstructionGotoTable(21),
    ]
    theirs = osken_flow_mod(cookie=FLOW.cookie, idle_timeout=30, hard_timeout=300, instructions=instructions)
    assert encode_flow_add(FLOW, xid=9) == osken_bytes(theirs)


def test_a_deletion_is_that_of_osken() -> None:
    theirs = osken_flow_mod(
        command=ofp.OFPFC_DELETE_STRICT,
        cookie=0xAB << 56,
        cookie_mask=0xFF << 56,
    )
    ours = encode_flow_delete(FLOW.key, cookie=0xAB << 56, cookie_mask=0xFF << 56, xid=9)
    assert ours == osken_bytes(theirs)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Output(7), osken.OFPActionOutput(7, max_len=0)),
        (Output(OFPP_IN_PORT), osken.OFPActionOutput(ofp.OFPP_IN_PORT, max_len=0)),
        (Group(4), osken.OFPActionGroup(4)),
        (PopVlan(), osken.OFPActionPopVlan()),
        (PushVlan(), osken.OFPActionPushVlan(0x8100)),
        (DecTtl(), osken.OFPActionDecNwTtl()),
        (Meter(3), osken.OFPActionMeter(3)),
        (SetField(f.ETH_SRC, 0x020000000007), osken.OFPActionSetField(eth_src=MAC)),
        (SetField(f.METADATA, 5), osken.OFPActionSetField(metadata=5)),
        (SetField(f.ARP_OP, 2), osken.OFPActionSetField(arp_op=2)),
        (SetField(f.IPV6_DST, 1), osken.OFPActionSetField(ipv6_dst="::1")),
        (SetField(f.TUN_IPV6_DST, 1), osken.OFPActionSetField(tun_ipv6_dst="::1")),
        (SetField(f.CT_MARK, 5), osken.OFPActionSetField(ct_mark=5)),
        (SetQueue(7), osken.OFPActionSetQueue(7)),
        (Ct(), osken.NXActionCT(0, "", 0, 255, 0, [])),
        (Ct(zone=5, table=9), osken.NXActionCT(0, "", 5, 9, 0, [])),
        (
            Ct(zone=FieldBits(f.REG6, 16, 16), commit=True, force=True),
            osken.NXActionCT(3, "reg6", ofs_nbits(16, 31), 255, 0, []),
        ),
        (
            Ct(commit=True, actions=(SetField(f.CT_MARK, 1), SetField(f.CT_LABEL, 2))),
            osken.NXActionCT(
                1, "", 0, 255, 0, [osken.OFPActionSetField(ct_mark=1), osken.OFPActionSetField(ct_label=2)]
            ),
        ),
        (CtClear(), osken.NXActionCTClear()),
        (Resubmit(9), osken.NXActionResubmitTable(table_id=9)),
        (Resubmit(9, in_port=2), osken.NXActionResubmitTable(in_port=2, table_id=9)),
        (OutputField(f.REG3, 0, 16), osken.NXActionOutputReg(ofs_nbits(0, 15), "reg3", 0)),
        (OutputField(f.REG3, 4, 16), osken.NXActionOutputReg(ofs_nbits(4, 19), "reg3", 0)),
        (Controller(userdata=b"12345678"), osken.NXActionController2(userdata=b"12345678")),
        (
            Controller(max_len=128, controller_id=2, userdata=b"123", meter_id=None),
            osken.NXActionController2(max_len=128, controller_id=2, userdata=b"123"),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_actions_are_those_of_osken(ours: Action, theirs: osken.OFPAction) -> None:
    buffer = bytearray()
    theirs.serialize(buffer, 0)
    assert encode_actions([ours]).hex() == buffer.hex()


@pytest.mark.parametrize(
    ("action", "wire"),
    [
        (SetField(TLV, 5), "0019001000015004 00000005 00000000"),
        (SetField(TLV, 5, 0xFF), "0019001000015108 00000005 000000ff"),
        (Move(f.ETH_SRC, f.ETH_DST, 48), "001c0018 0030 0000 0000 0000 80000806 80000606 00000000"),
        (Move(f.REG1, f.TUN_ID, 12, 4, 8), "001c0018 000c 0004 0008 0000 00010204 80004c08 00000000"),
        (SetField(f.TUN_FLAGS, 1), "0019 0010 0001d002 0001 000000000000"),
        (DeleteField(TLV), "ffff0018 00002320 0032 00015004" + "00" * 10),
        (Clone((Group(1),)), "ffff0018 00002320 002a 000000000000 00160008 00000001"),
        (Controller(meter_id=7), "ffff0018 00002320 0025 000000000000 00050008 00000007"),
    ],
)
def test_actions_that_osken_cannot_write(action: Action, wire: str) -> None:
    assert encode_actions([action]).hex() == wire.replace(" ", "")


def test_a_group_is_that_of_osken() -> None:
    entry = GroupEntry(
        group_id=5,
        kind=GroupKind.SELECT,
        buckets=(
            Bucket(actions=(SetField(f.TUN_DST, 0x0A000001), Output(10)), weight=3),
            Bucket(actions=(Group(2),)),
        ),
    )
    weights = [osken.OFPGroupBucketPropWeight(weight=weight, length=8, type_=0) for weight in (3, 1)]
    first = [osken.OFPActionSetField(tun_ipv4_dst="10.0.0.1"), osken.OFPActionOutput(10, max_len=0)]
    buckets = [
        osken.OFPBucket(bucket_id=0, actions=first, properties=[weights[0]]),
        osken.OFPBucket(bucket_id=1, actions=[osken.OFPActionGroup(2)], properties=[weights[1]]),
    ]
    theirs = osken.OFPGroupMod(
        DATAPATH,
        command=ofp.OFPGC_ADD,
        type_=ofp.OFPGT_SELECT,
        group_id=5,
        command_bucket_id=ofp.OFPG_BUCKET_ALL,
        buckets=buckets,
    )
    assert encode_group(GroupCommand.ADD, entry, xid=9) == osken_bytes(theirs)


def test_deleting_a_group_needs_no_buckets() -> None:
    entry = GroupEntry(group_id=5, kind=GroupKind.ALL, buckets=(Bucket(actions=(Output(1),)),))
    theirs = osken.OFPGroupMod(
        DATAPATH, command=ofp.OFPGC_DELETE, group_id=5, command_bucket_id=ofp.OFPG_BUCKET_ALL
    )
    assert encode_group(GroupCommand.DELETE, entry, xid=9) == osken_bytes(theirs)


def test_the_key_is_in_the_message() -> None:
    message = encode_flow_add(FLOW)
    assert message_key(message) == FLOW.key
    assert with_xid(message, 77) == encode_flow_add(FLOW, xid=77)


@given(
    cookie=st.integers(0, 2**64 - 1),
    mac=st.integers(0, 2**48 - 1),
    option=st.integers(0, 2**128 - 1),
    port=st.integers(0, 2**32 - 1),
    register=st.integers(0, 2**32 - 1),
)
def test_a_template_writes_what_the_encoder_writes(
    cookie: int, mac: int, option: int, port: int, register: int
) -> None:
    def flow(cookie: int, mac: int, option: int, port: int, register: int) -> Flow:
        match = Match.of((f.ETH_DST, mac), (f.TUN_ID, 9, 0xFF), (f.REG3, register), (f.REG2, 6, 7))
        actions = SetField(tun_metadata(7, 16), option), Group(port), Output(2)
        return Flow(table=1, priority=2, match=match, actions=actions, cookie=cookie, goto=5)

    template = FlowTemplate.of(flow(0, 0, 0, 0, 0), "cookie", f.ETH_DST, 0, 1, f.REG3)
    written = template.pack(cookie, mac, option, port, register)
    assert written == encode_flow_add(flow(cookie, mac, option, port, register))


def test_a_template_without_holes_and_with_all_of_a_match() -> None:
    assert FlowTemplate.of(FLOW).pack() == encode_flow_add(FLOW)
    template = FlowTemplate.of(FLOW, f.TUN_ID, f.IN_PORT)
    match = Match.of((f.IN_PORT, 8), (f.ETH_DST, 0x020000000007), (f.TUN_ID, 6))
    assert message_key(template.pack(6, 8)) == Flow(table=20, priority=100, match=match).key


def test_a_template_wants_as_many_numbers_as_it_has_holes() -> None:
    template = FlowTemplate.of(FLOW, f.TUN_ID)
    for numbers in ((), (1, 2)):
        with pytest.raises(TypeError):
            template.pack(*numbers)


@pytest.mark.parametrize("holes", [(f.ETH_SRC,), (f.REG0,), ("cookie", "cookie"), (3,)])
def test_a_hole_that_is_not_there(holes: tuple[Hole, ...]) -> None:
    with pytest.raises(EncodeError):
        FlowTemplate.of(FLOW, *holes)


def test_a_masked_term_and_a_move_have_no_hole() -> None:
    masked = Flow(table=1, priority=1, match=Match.of((f.TUN_ID, 1, 3), (f.REG0, 1, 3)), actions=(PopVlan(),))
    for hole in (f.TUN_ID, f.REG0, f.REG1, 0):
        with pytest.raises(EncodeError):
            FlowTemplate.of(masked, hole)


def test_a_message_has_at_most_64_kib() -> None:
    actions = tuple(Output(1) for _ in range(4090))
    encode_flow_add(Flow(table=1, priority=1, match=Match.of(), actions=actions))
    with pytest.raises(EncodeError):
        encode_flow_add(Flow(table=1, priority=1, match=Match.of(), actions=actions + actions[:10]))
    buckets = tuple(Bucket(actions=(Output(1),)) for _ in range(3000))
    with pytest.raises(EncodeError):
        encode_group(GroupCommand.ADD, GroupEntry(group_id=1, kind=GroupKind.ALL, buckets=buckets))
