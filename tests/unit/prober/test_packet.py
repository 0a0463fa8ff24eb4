# SPDX-License-Identifier: Apache-2.0
"""A shot as a packet-out, and a packet-in as a sighting."""

from dataclasses import replace
from ipaddress import ip_address
from types import MappingProxyType

import pytest

from controller.prober.bridges import FleetBridges
from controller.prober.model import Shot
from controller.prober.packet import actions, frame, sighting_of
from controller.prober.patterns import data_of
from ovs_geneve.geneve.probe import Pattern, Probe, decode
from ovs_geneve.openflow.actions import Output, SetField
from ovs_geneve.openflow.fields import (
    TUN_DST,
    TUN_FLAGS,
    TUN_ID,
    TUN_IPV6_DST,
    TUN_IPV6_SRC,
    TUN_SRC,
    tun_metadata,
)
from ovs_geneve.openflow.packet_in import PacketIn
from ovs_geneve.openflow.packet_out import PacketOut
from tests.unit.prober.network import CONTEXT, TRAIL, leg


@pytest.mark.parametrize("pattern", [Pattern.VALUE, Pattern.COMPLEMENT])
def test_a_shot_has_vni_o_bit_and_every_option_at_its_length(pattern):
    assert actions(leg(), pattern) == (
        SetField(TUN_ID, 100),
        SetField(TUN_FLAGS, 1),
        SetField(tun_metadata(0, 4), int.from_bytes(data_of(CONTEXT, pattern))),
        SetField(tun_metadata(3, 12), int.from_bytes(data_of(TRAIL, pattern))),
        SetField(TUN_DST, int(ip_address("192.0.2.2"))),
        Output(6081),
    )


def test_a_bare_shot_has_no_option():
    fields = [action.field for action in actions(leg(), Pattern.BARE) if isinstance(action, SetField)]
    assert fields == [TUN_ID, TUN_FLAGS, TUN_DST]


def test_the_way_over_ipv6():
    towards = ip_address("2001:db8::2")
    assert SetField(TUN_IPV6_DST, int(towards)) in actions(replace(leg(), towards=towards), Pattern.VALUE)


def test_both_patterns_together_set_every_bit():
    for carried in (CONTEXT, TRAIL):
        one, other = (int.from_bytes(data_of(carried, p)) for p in (Pattern.VALUE, Pattern.COMPLEMENT))
        assert one ^ other == one | other == (1 << 8 * carried.layout.length) - 1
    assert data_of(CONTEXT, Pattern.VALUE) != data_of(TRAIL, Pattern.VALUE)[:4]


def test_the_frame_says_which_shot_it_is():
    shot = Shot(leg=leg(), sequence=7, pattern=Pattern.VALUE, size=1440)
    assert decode(frame(shot, 99)) == Probe(run=99, sequence=7, pattern=Pattern.VALUE, size=1440)


def packet_in(fields, data=b"frame"):
    return PacketIn(
        reason=1, table_id=60, cookie=0, userdata=b"\1", fields=MappingProxyType(fields), data=data, length=5
    )


@pytest.mark.parametrize(
    ("field", "address"), [(TUN_SRC, "192.0.2.1"), (TUN_IPV6_SRC, "2001:db8::1"), (None, None)]
)
def test_what_a_bridge_reports(field, address):
    source = None if address is None else ip_address(address)
    fields = {TUN_ID: 100, tun_metadata(0, 4): 0, tun_metadata(3, 8): 5}
    if field is not None:
        fields[field] = int(source)
    sighting = sighting_of(packet_in(fields))
    assert (sighting.frame, sighting.vni, sighting.source) == (b"frame", 100, source)
    # Present and zero is not absent; the length is what the bridge maps.
    assert sighting.options == {0: bytes(4), 3: bytes(7) + b"\5"}


class Fleet:
    """One bridge, hv1's, which takes a packet at a time."""

    def __init__(self):
        self.sent = []

    def connected_hosts(self):
        return frozenset({"hv1"})

    def channel(self, host):
        return self if host == "hv1" else None

    def host_of(self, dpid):
        return "hv1" if dpid == 0xA else None

    def send_packet(self, packet):
        self.sent.append(packet)
        return len(self.sent) == 1


def test_packets_go_to_the_host_s_bridge_and_come_with_its_name():
    fleet, seen = Fleet(), []
    bridges = FleetBridges(fleet)
    packet = PacketOut(data=b"frame", actions=())
    assert bridges.send("hv1", packet)
    assert not bridges.send("hv1", packet)
    assert not bridges.send("hv2", packet)
    assert len(fleet.sent) == 2
    bridges.take_packet(0xA, packet_in({TUN_ID: 1}))
    bridges.sighted = lambda host, sighting: seen.append((host, sighting.vni))
    bridges.take_packet(0xA, packet_in({TUN_ID: 1}))
    bridges.take_packet(0xB, packet_in({TUN_ID: 2}))
    assert seen == [("hv1", 1)]
