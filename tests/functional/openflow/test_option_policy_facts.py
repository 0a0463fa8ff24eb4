# SPDX-License-Identifier: Apache-2.0
"""What option policies take for granted of OVS, asked with ofproto/trace; and that others do not pay for them."""

from __future__ import annotations

import re

from controller.hoststate import HostState
from controller.intent.model import Direction
from controller.intent.rules import PacketMatch, PortRange, SetDscp
from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.actions import Clone, Move, Output, Resubmit, SetField
from ovs_geneve.openflow.fields import tun_metadata
from ovs_geneve.openflow.template import encode_flow_add
from tests.builders import Fabric, bind, delete, host, network, policy, port, put
from tests.functional.openflow.conftest import Switch
from tests.functional.openflow.test_pipeline_facts import actions_of, flow, install, underlay

TLV, LONG = tun_metadata(0, 4), tun_metadata(1, 8)
MAPS = ("{class=0xff00,type=1,len=4}->tun_metadata0", "{class=0xff00,type=2,len=8}->tun_metadata1")
_BAD_SET_ARGUMENT = (2, 15)


def sent(switch: Switch, packet: str) -> str:
    """Return the data of the options that a packet leaves with, as OVS prints them."""
    return ",".join(re.findall(r"type=0x[12],len=\d+,(0x[0-9a-f]+)", actions_of(switch.trace(packet))))


def test_bits_move_into_an_option_counted_from_its_least_significant(switch: Switch) -> None:
    switch.map_options(*MAPS)
    underlay(switch)
    tunnel = (
        SetField(f.TUN_ID, 7),
        SetField(f.TUN_DST, 0xC0000215),
        SetField(TLV, 0x01FFFF04),
        SetField(LONG, 0),
    )
    moves = Move(f.IP_DSCP, TLV, 6, 0, 8), SetField(TLV, 0, 0xC000), Move(TLV, LONG, 16, 8, 40)
    install(switch, flow(0, ((f.IN_PORT, 1), (f.ETH_TYPE, 0x0800)), *tunnel, *moves, Output(10)))
    # 46 is 0x2e, in bits 8 to 13 of the first option; 14 and 15 cleared. Its bits 8 to 23 are 40 to 55 of the other.
    assert sent(switch, "in_port=1,ip,nw_tos=184") == "0x1ff2e04,0xff2e0000000000"


def test_where_a_packet_came_from_can_be_forgotten_for_a_copy_alone(switch: Switch) -> None:
    back = Clone((Move(f.REG15, f.IN_PORT, 32), Resubmit(9)))
    install(
        switch,
        flow(0, ((f.IN_PORT, 1),), Output(1), back, Output(2)),
        flow(9, (), Output(1)),
    )
    assert actions_of(switch.trace("in_port=1")) == "1,2", "once by the copy, not by Output(1)"
    refused = flow(0, ((f.IN_PORT, 2),), SetField(f.IN_PORT, 0), Output(1))
    assert switch.connection.refused(encode_flow_add(refused)) == _BAD_SET_ARGUMENT


def test_a_second_tag_shows_as_an_ethernet_type(switch: Switch) -> None:
    tagged = (f.IN_PORT, 1), (f.VLAN_VID, 0x1000, 0x1000)
    install(
        switch,
        flow(0, tagged, Move(f.VLAN_VID, f.REG3, 12), goto=1),
        flow(1, ((f.REG3, 5), (f.ETH_TYPE, 0x8100)), Output(2)),
    )
    assert actions_of(switch.trace("in_port=1,dl_vlan=5,dl_type=0x8100")) == "2"


def test_a_network_without_policies_sees_no_match_of_them(switch: Switch) -> None:
    """The megaflow of its packets is the same whatever other networks of its host have policies on."""
    fabric = Fabric()
    fabric.do(
        put("hv1", host("192.0.2.1")),
        put("blue", network(100)),
        put("red", network(200)),
        put("b1", port("blue", 1)),
        put("r1", port("red", 1, "10.0.0.1")),
        put("r2", port("red", 2, "10.0.0.2")),
        *(bind(name, "hv1") for name in ("b1", "r1", "r2")),
    )
    fabric.plug("hv1", r1=1, r2=2, b1=3)
    packet = (
        "in_port=1,tcp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=10.0.0.1,nw_dst=10.0.0.2,"
        "nw_tos=184,nw_ttl=64,tcp_src=1000,tcp_dst=80"
    )
    before = megaflow(switch, fabric.compiler.desired("hv1"), packet)
    web = PacketMatch(protocol=6, destination_ports=(PortRange(80, 90),), dscp=46)
    for direction in Direction:
        name = direction.value
        fabric.do(put(name, policy("blue", direction=direction, packet=web, actions=(SetDscp(1),))))
        fabric.do(
            put(f"{name}-port", policy("blue", direction=direction, to_port="b1", packet=web, action=None))
        )
    assert megaflow(switch, fabric.compiler.desired("hv1"), packet) == before
    assert "tp_dst" not in before
    fabric.do(put("red-web", policy("red", packet=web)))
    assert "tp_dst" in megaflow(switch, fabric.compiler.desired("hv1"), packet), "its own are seen"
    fabric.do(delete("option-policy/red-web"))


def megaflow(switch: Switch, state: HostState, packet: str) -> str:
    """Have a bridge hold this and nothing else; return what it matches of a packet."""
    switch.ofctl("del-flows")
    switch.connection.install(*(group.message for group in state.groups.values()))
    switch.connection.install(*(held.message for held in state.flows.values()))
    trace = switch.trace(packet)
    assert actions_of(trace) == "2" or "tp_dst" in trace
    return re.findall(r"^Megaflow: (.*)$", trace, re.MULTILINE)[-1]
