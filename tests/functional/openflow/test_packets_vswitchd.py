# SPDX-License-Identifier: Apache-2.0
"""Packets up from and down to a real vswitchd, over our transport beside another os-ken app."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from ovs_geneve.geneve.header import Header
from ovs_geneve.geneve.option import Option
from ovs_geneve.geneve.packet import Packet, encode
from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.actions import (
    OFPP_CONTROLLER,
    OFPP_LOCAL,
    Controller,
    Group,
    Output,
    Resubmit,
    SetField,
)
from ovs_geneve.openflow.fields import tun_metadata
from ovs_geneve.openflow.osken_transport import LoopDatapath
from ovs_geneve.openflow.packet_in import PacketIn, PacketInReason
from ovs_geneve.openflow.packet_out import OFPP_TABLE, PacketOut
from ovs_geneve.values import OptionClass, OptionType, Vni
from tests.functional.openflow.conftest import Switch
from tests.functional.openflow.controller import Controller as OpenFlowController
from tests.functional.openflow.test_pipeline_facts import flow, install, underlay
from tests.unit.geneve.builders import ethernet, ipv4, udp

TLV, LONG, FLAG = tun_metadata(0, 4), tun_metadata(1, 8), tun_metadata(2, 0)
MAPS = (
    "{class=0xff00,type=1,len=4}->tun_metadata0",
    "{class=0xff00,type=2,len=8}->tun_metadata1",
    "{class=0xff00,type=3,len=0}->tun_metadata2",
)
FRAME = ethernet(0x0800, ipv4(udp(b"hello", port=7777)))
PEER, OWN = 0xC0000215, 0xC000020B


class Ready:
    """A bridge connected to our transport, the packets that come up from it, and what os-ken's app sees."""

    def __init__(self, switch: Switch, datapath: LoopDatapath, controller: OpenFlowController) -> None:
        self.switch = switch
        self.datapath = datapath
        self.controller = controller
        self.packets: asyncio.Queue[PacketIn] = asyncio.Queue()
        datapath.switch.packet_ins.listener = self.packets.put_nowait

    def inject(self, port: str, frame: bytes) -> None:
        self.switch.vswitchd.appctl("netdev-dummy/receive", f"{self.switch.name}{port}", frame.hex())

    async def packet(self) -> PacketIn:
        return await asyncio.wait_for(self.packets.get(), 10)


@pytest.fixture
async def ready(switch: Switch, tmp_path: Path):
    switch.map_options(*MAPS)
    async with OpenFlowController(tmp_path) as controller:
        # The management socket of the bridge: there OVS sends nothing up until it is told to.
        controller.server.dial_unix(switch.vswitchd.folder / f"{switch.name}.mgmt")
        yield Ready(switch, await controller.ready(), controller)


def from_peer(switch: Switch, *options: Option, oam: bool = False) -> bytes:
    """Return a packet of the peer to the bridge's own address, as it is on the wire."""
    own = switch.vswitchd.vsctl("get", "interface", switch.name, "mac_in_use").strip().strip('"')
    geneve = encode(Packet(header=Header(vni=Vni(100), oam=oam), options=options, payload=FRAME))
    outer = Ether(src="02:aa:00:00:00:21", dst=own) / IP(src="192.0.2.21", dst="192.0.2.11")
    return bytes(outer / UDP(sport=49152, dport=6081) / Raw(geneve))


def option(number: int, data: bytes) -> Option:
    return Option(option_class=OptionClass(0xFF00), option_type=OptionType(number), data=data)


async def test_what_a_peer_sent_comes_up_with_its_options(ready: Ready) -> None:
    switch = ready.switch
    underlay(switch)
    install(
        switch,
        flow(0, ((f.IN_PORT, 1),), Output(OFPP_LOCAL)),
        flow(0, ((f.IN_PORT, 10),), SetField(f.REG3, 4), goto=7),
        flow(7, (), Controller(userdata=b"\1xyz")),
    )
    options = option(1, bytes.fromhex("00000005")), option(2, bytes(8)), option(3, b"")
    ready.inject("p1", from_peer(switch, *options, oam=True))
    packet = await ready.packet()
    assert (packet.reason, packet.table_id, packet.cookie) == (PacketInReason.APPLY_ACTION, 7, 0)
    assert (packet.userdata, packet.data, packet.length) == (b"\1xyz", FRAME, len(FRAME))
    assert packet.fields == {
        f.IN_PORT: 10,
        f.TUN_ID: 100,
        f.TUN_FLAGS: 1,
        f.TUN_SRC: PEER,
        f.TUN_DST: OWN,
        TLV: 5,
        LONG: 0,
        FLAG: 0,
        f.REG3: 4,
    }
    assert packet.options == {0: bytes.fromhex("00000005"), 1: bytes(8), 2: b""}


async def test_an_option_that_is_not_there_is_not_in_the_packet(ready: Ready) -> None:
    underlay(ready.switch)
    install(
        ready.switch,
        flow(0, ((f.IN_PORT, 1),), Output(OFPP_LOCAL)),
        flow(0, ((f.IN_PORT, 10),), Controller(max_len=20, userdata=b"\1")),
    )
    ready.inject("p1", from_peer(ready.switch, option(2, b"whatever")))
    packet = await ready.packet()
    assert packet.options == {1: b"whatever"}
    assert (packet.data, packet.length) == (FRAME, len(FRAME)), "max_len is for packets that are buffered"


async def test_the_last_flow_of_a_table_says_that_none_matched(ready: Ready) -> None:
    install(ready.switch, flow(0, (), Controller(userdata=b"\1"), priority=0))
    ready.inject("p1", FRAME)
    assert (await ready.packet()).reason == PacketInReason.TABLE_MISS


async def test_a_packet_sent_down_runs_through_the_tables_with_its_fields(ready: Ready) -> None:
    install(
        ready.switch,
        flow(0, ((f.IN_PORT, OFPP_CONTROLLER), (f.TUN_ID, 100), (TLV, 5), (f.REG1, 3)), goto=9),
        flow(9, (), Controller(userdata=b"\2")),
    )
    fields = (f.TUN_ID, 100), (f.TUN_SRC, PEER), (TLV, 5), (f.REG1, 3)
    assert ready.datapath.switch.send_packet(
        PacketOut(data=FRAME, actions=(Output(OFPP_TABLE),), fields=fields)
    )
    packet = await ready.packet()
    assert packet.table_id == 9
    assert packet.fields == {f.IN_PORT: OFPP_CONTROLLER, f.TUN_ID: 100, f.TUN_SRC: PEER, TLV: 5, f.REG1: 3}


async def test_a_packet_sent_down_may_carry_its_own_actions(ready: Ready) -> None:
    install(ready.switch, flow(30, ((TLV, 6),), Controller(userdata=b"\3")))
    actions = SetField(f.ETH_SRC, 0x0200000000AA), SetField(TLV, 6), Resubmit(30)
    assert ready.datapath.switch.send_packet(PacketOut(data=FRAME, actions=actions, in_port=OFPP_LOCAL))
    packet = await ready.packet()
    assert packet.data == FRAME[:6] + bytes.fromhex("0200000000aa") + FRAME[12:]
    assert packet.fields[f.IN_PORT] == OFPP_LOCAL


async def test_a_refused_packet_disturbs_nothing(ready: Ready) -> None:
    switch = ready.datapath.switch
    assert switch.send_packet(PacketOut(data=FRAME, actions=(Group(99),)))
    observed = await switch.observe()
    assert observed.flows == {}
    assert switch.packets_refused == 1
    assert switch.packet_refusal is not None
    assert switch.packet_refusal.name == "OFPBAC_BAD_OUT_GROUP"


async def test_options_of_a_packet_sent_down_are_not_checked_against_the_map(ready: Ready) -> None:
    switch = ready.datapath.switch
    unmapped = SetField(tun_metadata(40, 4), 1), Controller(userdata=b"\4")
    assert switch.send_packet(PacketOut(data=FRAME, actions=unmapped))
    assert (await ready.packet()).options == {}
    assert switch.packets_refused == 0


async def test_other_apps_get_the_packets_that_are_not_ours(ready: Ready) -> None:
    install(
        ready.switch,
        flow(0, ((f.IN_PORT, 1),), SetField(f.METADATA, 6), Output(OFPP_CONTROLLER, 0xFFFF)),
        flow(0, ((f.IN_PORT, 2),), Controller(userdata=b"\1")),
    )
    ready.inject("p1", FRAME)
    ready.inject("p2", FRAME)
    assert (await ready.packet()).fields[f.IN_PORT] == 2
    await ready.controller.until(lambda: ready.controller.app.messages)
    (message,) = ready.controller.app.messages
    assert (message.data, message.match["in_port"], message.match["metadata"]) == (FRAME, 1, 6)
