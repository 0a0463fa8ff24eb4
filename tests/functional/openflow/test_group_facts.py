# SPDX-License-Identifier: Apache-2.0
"""What policies between groups take for granted of OVS: what is left of a packet that comes back from conntrack."""

from __future__ import annotations

import pytest

from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.actions import Ct, Group, Output, Resubmit, SetField
from ovs_geneve.openflow.fields import tun_metadata
from tests.functional.openflow.conftest import Switch
from tests.functional.openflow.test_pipeline_facts import actions_of, flow, install, install_group
from tests.functional.openflow.test_policy_facts import tracked

TLV = tun_metadata(0, 4)
MAPS = ("{class=0xff00,type=1,len=4}->tun_metadata0",)
TCP = (f.ETH_TYPE, 0x0800), (f.IP_PROTO, 6)
_TRACKED, _ESTABLISHED, _REPLY = 0x20, 0x02, 0x08

STAMPED = SetField(f.TUN_ID, 7), SetField(TLV, 5), SetField(f.REG1, 8), SetField(f.REG2, 9)
KEPT = (f.TUN_ID, 7), (TLV, 5, 0xFFFF), (f.REG1, 8), (f.REG2, 9)
FROM_TUNNEL = "in_port=1,tun_id=7,tun_metadata0=0x70005,tcp"
"With bits that nobody looks at: OVS prints tun_metadata0=0x5/0xffff as tun_metadata0=0x5."


def again(switch: Switch, packet: str, state: str = "trk,new") -> str:
    """Return what becomes of a packet when it comes back from conntrack with this state."""
    return actions_of(tracked(switch, state, packet))


@pytest.mark.parametrize("packet", ["in_port=1,tcp", FROM_TUNNEL])
def test_options_and_registers_survive_conntrack(switch: Switch, packet: str) -> None:
    switch.map_options(*MAPS)
    stamps = STAMPED if packet == "in_port=1,tcp" else STAMPED[2:]
    install(
        switch,
        flow(0, TCP, *stamps, Ct(table=1)),
        flow(1, ((f.CT_STATE, _TRACKED | _ESTABLISHED, _TRACKED | _ESTABLISHED),), priority=10),
        flow(1, KEPT, Output(2)),
        flow(1, (), priority=0),
    )
    assert again(switch, packet) == "2"
    assert again(switch, packet, "trk,est") == "drop"


def test_a_copy_of_a_group_goes_to_conntrack_and_back_into_the_table_it_came_from(switch: Switch) -> None:
    switch.map_options(*MAPS)
    install_group(switch, 1, (*STAMPED[2:], Resubmit(1)))
    install(
        switch,
        flow(0, TCP, *STAMPED[:2], Group(1)),
        flow(1, (*TCP, (f.CT_STATE, 0, _TRACKED)), Ct(zone=1, table=2), priority=10),
        flow(1, KEPT, Output(2)),
        flow(2, (), Resubmit(1), priority=0),
    )
    assert again(switch, "in_port=1,tcp") == "2"


def test_a_packet_that_is_committed_goes_on_untracked(switch: Switch) -> None:
    install(
        switch,
        flow(0, TCP, Ct(zone=1, commit=True, actions=(SetField(f.CT_MARK, 7),)), goto=1),
        flow(1, (*TCP, (f.CT_STATE, 0, _TRACKED)), Output(2)),
    )
    assert actions_of(switch.trace("in_port=1,tcp")) == "ct(commit,zone=1,mark=0x7/0xffffffff),2"
