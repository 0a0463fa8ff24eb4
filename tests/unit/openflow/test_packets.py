# SPDX-License-Identifier: Apache-2.0
"""Packets up and down: what OVS sent is read as it was meant, and what we send is what os-ken sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.ofproto import ofproto_v1_5 as ofp
from os_ken.ofproto import ofproto_v1_5_parser as osken
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.actions import OFPP_CONTROLLER, OFPP_IN_PORT, OFPP_LOCAL, Output, SetField
from ovs_geneve.openflow.fields import tun_metadata
from ovs_geneve.openflow.messages import MessageType, encode_message
from ovs_geneve.openflow.packet_in import (
    UNKNOWN_COOKIE,
    PacketIn,
    PacketInReason,
    as_standard,
    decode_packet_in,
    encode_packet_in_setup,
    has_userdata,
    is_packet_in,
)
from ovs_geneve.openflow.packet_inbox import PER_TURN, PacketInbox
from ovs_geneve.openflow.packet_out import OFPP_NONE, OFPP_TABLE, PacketOut, encode_packet_out

FRAME = bytes.fromhex("0200000002020000000001 88b5".replace(" ", "")) + b"\1" + b"hello"

# Sent by Open vSwitch 3.1.0: tun_metadata0 to 2 are mapped at 4, 8 and 4 bytes, the third is set to zero, reg1 is 4.
BY_OVS = bytes.fromhex(
    "060400c8000000000000232000000 01e0000001202000000000202000000000188b5000000000000"
    "0003000500000000 00040010000000000000000000000000 0005000501000000"
    "00060078 8000000400000001 80004c080000000000000007 0001d10400010001 00014004c0000202"
    "0001da1000000000000000000000000000000005 0001500400000005 000152080000000000000009 0001540400000000"
    "800101100000000000000004 00000000ffffffff 800004080000000000000006 0007000761626300".replace(" ", "")
)
DATAPATH = ProtocolDesc(version=6)


def packet_in(*properties: tuple[int, bytes]) -> bytes:
    body = bytes.fromhex("000023200000001e")
    for kind, value in properties:
        length = 4 + len(value)
        body += kind.to_bytes(2) + length.to_bytes(2) + value + bytes(-length % 8)
    return encode_message(MessageType.EXPERIMENTER, body)


def test_what_ovs_sends() -> None:
    assert is_packet_in(BY_OVS)
    assert has_userdata(BY_OVS)
    packet = decode_packet_in(BY_OVS)
    assert packet == PacketIn(
        reason=PacketInReason.APPLY_ACTION,
        table_id=0,
        cookie=0,
        userdata=b"abc",
        fields={
            f.IN_PORT: 1,
            f.TUN_ID: 7,
            f.TUN_FLAGS: 1,
            f.TUN_DST: 0xC0000202,
            f.TUN_IPV6_SRC: 5,
            tun_metadata(0, 4): 5,
            tun_metadata(1, 8): 9,
            tun_metadata(2, 4): 0,
            f.REG1: 4,
            f.METADATA: 6,
        },
        data=bytes.fromhex("02000000000202000000000188b5"),
        length=14,
    )
    assert packet.options == {0: bytes((0, 0, 0, 5)), 1: bytes(7) + b"\t", 2: bytes(4)}


def test_what_ovs_leaves_out_and_what_is_not_known() -> None:
    unknown, last = bytes.fromhex("fffe0c0401020304"), bytes.fromhex("8000000400000003")
    message = packet_in((0, FRAME), (1, (1500).to_bytes(4)), (6, unknown + last), (99, b"newer"))
    packet = decode_packet_in(message)
    assert (packet.cookie, packet.userdata, packet.length) == (UNKNOWN_COOKIE, b"", 1500)
    assert packet.fields == {f.IN_PORT: 3}
    assert not has_userdata(message)


@pytest.mark.parametrize(
    "message",
    [
        encode_message(MessageType.PACKET_IN, bytes(32)),
        packet_in((7, b"no packet")),
        packet_in((0, FRAME))[:-3],
        packet_in((0, FRAME), (6, bytes.fromhex("80000004"))),
        packet_in()[:16] + bytes.fromhex("00000003") + bytes(4),
    ],
)
def test_what_is_no_packet_in(message: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_packet_in(message)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(junk: bytes) -> None:
    message = encode_message(MessageType.EXPERIMENTER, bytes.fromhex("000023200000001e") + junk)
    for take in (decode_packet_in, as_standard, has_userdata):
        try:
            take(message)
        except DecodeError as error:
            assert error.reason  # noqa: PT017  refused on purpose


def test_other_apps_get_openflows_own_message() -> None:
    metadata = bytes.fromhex("8000000400000003 80004c080000000000000007".replace(" ", ""))
    message = packet_in(
        *((0, FRAME), (1, (99).to_bytes(4)), (3, b"\5"), (4, bytes(4) + (0xAB).to_bytes(8)), (5, b"\1")),
        (6, metadata),
    )
    standard = as_standard(message)
    parsed = osken.OFPPacketIn.parser(DATAPATH, 6, ofp.OFPT_PACKET_IN, len(standard), 0, standard)
    assert (parsed.table_id, parsed.reason, parsed.cookie, parsed.total_len) == (5, 1, 0xAB, 99)
    assert parsed.match["in_port"] == 3
    assert parsed.match["tunnel_id"] == 7
    assert parsed.data == FRAME


def test_the_setup_is_what_os_ken_sends() -> None:
    nx_match = 3  # OFPC_FRAG_NX_MATCH, Open vSwitch's own
    config = osken.OFPSetConfig(DATAPATH, nx_match, 128)
    form = osken.OFPExperimenter(DATAPATH, 0x2320, 16, (2).to_bytes(4))
    expected = b""
    for message in (config, form):
        message.set_xid(7)
        message.serialize()
        expected += bytes(message.buf)
    assert encode_packet_in_setup(xid=7) == expected


def test_a_packet_out_is_that_of_osken() -> None:
    match = osken.OFPMatch(in_port=ofp.OFPP_CONTROLLER, tunnel_id=7)
    actions = [osken.OFPActionSetField(eth_src="02:00:00:00:00:07"), osken.OFPActionOutput(10, max_len=0)]
    theirs = osken.OFPPacketOut(DATAPATH, ofp.OFP_NO_BUFFER, match=match, actions=actions, data=FRAME)
    theirs.set_xid(9)
    theirs.serialize()
    ours = PacketOut(
        data=FRAME,
        actions=(SetField(f.ETH_SRC, 0x020000000007), Output(10)),
        fields=((f.TUN_ID, 7),),
    )
    assert encode_packet_out(ours, xid=9) == bytes(theirs.buf)


@pytest.mark.parametrize("port", [1, 0xFEFF, OFPP_LOCAL, OFPP_CONTROLLER, OFPP_NONE])
def test_ports_that_a_packet_may_come_from(port: int) -> None:
    assert encode_packet_out(PacketOut(data=FRAME, actions=(), in_port=port))


def test_packets_that_cannot_be_sent() -> None:
    for port in (0, 0xFF00, OFPP_IN_PORT, OFPP_TABLE):
        with pytest.raises(EncodeError, match="port"):
            PacketOut(data=FRAME, actions=(), in_port=port)
    with pytest.raises(EncodeError, match="empty"):
        PacketOut(data=b"", actions=())
    with pytest.raises(EncodeError, match="65535"):
        encode_packet_out(PacketOut(data=bytes(65535), actions=()))
    with pytest.raises(EncodeError, match="in_port"):
        encode_packet_out(PacketOut(data=FRAME, actions=(), fields=((f.IN_PORT, 1),)))


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  an inbox has no event to wait for
            await asyncio.sleep(0)


async def test_an_inbox_hands_over_some_at_a_time_and_drops_what_is_too_much() -> None:
    inbox, got = PacketInbox(limit=2 * PER_TURN, pace=0.001), []
    inbox.listener = got.append
    for _ in range(2 * PER_TURN + 3):
        inbox.put(BY_OVS)
    assert (got, inbox.dropped) == ([], 3)
    await turns(2)
    assert len(got) == PER_TURN
    await until(lambda: len(got) == inbox.received == 2 * PER_TURN)
    inbox.put(BY_OVS)
    await until(lambda: len(got) == 2 * PER_TURN + 1)


async def test_an_inbox_outlives_bad_packets_and_bad_listeners() -> None:
    inbox, got = PacketInbox(pace=0.0), []

    def listener(packet: PacketIn) -> None:
        got.append(packet)
        if len(got) == 1:
            raise ValueError("a mistake")

    inbox.listener = listener
    for message in (packet_in((7, b"no packet")), BY_OVS, BY_OVS):
        inbox.put(message)
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))
    await until(lambda: len(got) == 2)
    assert (inbox.undecodable, len(errors)) == (1, 1)


async def test_a_closed_inbox_hands_nothing_over() -> None:
    inbox, got = PacketInbox(), []
    inbox.listener = lambda packet: (got.append(packet), inbox.close())
    inbox.put(BY_OVS)
    inbox.put(BY_OVS)
    await turns(3)
    assert len(got) == 1
