# SPDX-License-Identifier: Apache-2.0
"""A real vswitchd as the target of a gateway load balancer; scapy is the gateway.

br-int ─ geneve vport ~~ br-phy ─ p0: what scapy builds is received there, what goes back is recorded there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet as Scapy

from controller.compiler.features import gwlb, option_firewall, pipeline_base, tunnel
from controller.compiler.pipeline import TUNNEL_OFPORT, Table
from ovs_geneve.errors import EncodeError
from ovs_geneve.geneve.capture import read_capture
from ovs_geneve.openflow.fields import tun_metadata
from ovs_geneve.openflow.template import encode_flow_add
from ovs_geneve.values import Vni
from tests.functional.openflow.conftest import Connection, Vswitchd

VNI = 0
"What AWS sends."

GATEWAYS = {4: "192.0.2.11", 6: "2001:db8::11"}
OTHERS = {4: "192.0.2.13", 6: "2001:db8::13"}
OWN = {4: "192.0.2.12", 6: "2001:db8::12"}
OWN_MAC = "aa:55:aa:55:00:00"
GATEWAY_MAC = "02:00:00:00:00:11"

SLOTS = gwlb.GwlbSlots(endpoint=3, attachment=5, cookie=6)
MAPS = (
    "{class=0x108,type=1,len=8}->tun_metadata3,{class=0x108,type=2,len=8}->tun_metadata5,"
    "{class=0x108,type=3,len=4}->tun_metadata6,{class=0xff00,type=1,len=4}->tun_metadata0"
)

ENDPOINT = (0x0108, 1, bytes.fromhex("00e7c1a4b5d6e7f8"))
ATTACHMENT = (0x0108, 2, bytes(8))
COOKIE = (0x0108, 3, bytes.fromhex("fedcba98"))
FOREIGN = (0xFF00, 1, bytes(4))
"Declared, but for other networks."

ALL = (ENDPOINT, ATTACHMENT, COOKIE)

INNER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="10.0.0.1", dst="10.0.0.2") / TCP()

Option = tuple[int, int, bytes]


def geneve(*options: Option, vni: int = VNI, inner: Scapy = INNER, **fields: int) -> bytes:
    made = [
        GeneveOptions(classid=number, type=kind, length=len(data) // 4, data=data)
        for number, kind, data in options
    ]
    return bytes(GENEVE(vni=vni, proto=0x6558, options=made, **fields)) + bytes(inner)


def packet(payload: bytes, family: int, source: str | None = None) -> bytes:
    network = IP if family == 4 else IPv6
    outer = network(src=source or GATEWAYS[family], dst=OWN[family])
    return bytes(Ether(src=GATEWAY_MAC, dst=OWN_MAC) / outer / UDP(sport=60001, dport=6081) / payload)


@dataclass
class Target:
    """The switch under test, and how far its recording was read."""

    vswitchd: Vswitchd
    seen: int = 0

    def send(self, frame: bytes) -> list[Scapy]:
        """Let a frame arrive; return what has left since. The dummy port has sent before the command returns."""
        self.vswitchd.appctl("netdev-dummy/receive", "p0", frame.hex())
        self.vswitchd.appctl("revalidator/wait")
        with (self.vswitchd.folder / "p0.pcap").open("rb") as stream:
            frames = [Ether(each.data) for each in read_capture(stream)]
        new = [frame for frame in frames[self.seen :] if UDP in frame]
        self.seen = len(frames)
        return new

    def counts(self, *parts: str) -> int:
        """Return the packets of the one flow whose line in a dump has all of `parts`."""
        dump = self.vswitchd.ofctl("dump-flows", f"unix:{self.vswitchd.folder}/br-int.mgmt")
        [line] = [line for line in dump.splitlines() if all(part in line for part in parts)]
        return int(line.partition("n_packets=")[2].partition(",")[0])


def start(folder: Path, *vport: str) -> Target:
    vswitchd = Vswitchd.start(folder)
    recorded = folder / "p0.pcap"
    vswitchd.vsctl("add-br", "br-phy", "--", "set", "bridge", "br-phy", f"other-config:hwaddr={OWN_MAC}")
    vswitchd.vsctl(
        "add-port", "br-phy", "p0", "--", "set", "int", "p0", "type=dummy", f"options:tx_pcap={recorded}"
    )
    vswitchd.appctl("netdev-dummy/ip4addr", "br-phy", "192.0.2.12/24")
    vswitchd.appctl("netdev-dummy/ip6addr", "br-phy", "2001:db8::12/64")
    vswitchd.appctl("ovs/route/add", "192.0.2.0/24", "br-phy")
    vswitchd.appctl("ovs/route/add", "2001:db8::/64", "br-phy")
    for address in (*GATEWAYS.values(), *OTHERS.values()):
        vswitchd.appctl("tnl/arp/set", "br-phy", address, GATEWAY_MAC)
    vswitchd.vsctl("add-br", "br-int", "--", "set", "bridge", "br-int", "fail_mode=secure")
    vswitchd.vsctl(
        *("add-port", "br-int", "tun", "--", "set", "int", "tun", "type=geneve"),
        *("options:remote_ip=flow", "options:key=flow", f"ofport_request={TUNNEL_OFPORT}", *vport),
    )
    vswitchd.ofctl("add-flow", f"unix:{folder}/br-phy.mgmt", "actions=normal")
    vswitchd.ofctl("add-tlv-map", f"unix:{folder}/br-int.mgmt", MAPS)
    connection = Connection.open(folder / "br-int.mgmt")
    own = [ip_address(address) for address in OWN.values()]
    gateways = [ip_address(address) for address in GATEWAYS.values()]
    others = [ip_address(address) for address in OTHERS.values()]
    all_flows = (
        *pipeline_base.flows(),
        *pipeline_base.oam_flows(),
        *tunnel.own_endpoint_flows(own),
        *tunnel.peer_flows(others),
        *option_firewall.flows(VNI, [tun_metadata(0, 4)]),
        *gwlb.flows(Vni(VNI), SLOTS, gateways),
    )
    connection.install(*(encode_flow_add(flow) for flow in all_flows))
    connection.link.close()
    return Target(vswitchd)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    started = start(tmp_path)
    try:
        yield started
    finally:
        started.vswitchd.stop()


def network_of(frame: Scapy, family: int) -> Scapy:
    return frame[IP] if family == 4 else frame[IPv6]


def check_returned(frames: list[Scapy], wanted: bytes, family: int) -> None:
    """Everything behind the UDP header is, byte for byte, what is wanted; addresses are swapped."""
    [back] = frames
    outer = network_of(back, family)
    assert (outer.src, outer.dst) == (OWN[family], GATEWAYS[family])
    assert (back.src, back.dst) == (OWN_MAC, GATEWAY_MAC)
    assert back[UDP].dport == 6081
    assert bytes(back[UDP].payload) == wanted


@pytest.mark.parametrize("family", [4, 6])
def test_a_packet_goes_back_as_it_came(target, family):
    sent = geneve(*ALL)
    check_returned(target.send(packet(sent, family)), sent, family)
    others = (ENDPOINT, (0x0108, 2, b"\xff" * 8), (0x0108, 3, bytes(4)))
    large = geneve(*others, inner=INNER / (b"x" * 900))
    check_returned(target.send(packet(large, family)), large, family)
    assert target.counts("IN_PORT", "tun_src=" if family == 4 else "tun_ipv6_src=") == 2
    assert target.counts(*DROPS) == 0


def test_the_source_is_what_the_flow_says_where_the_vport_leaves_it_to_flows(tmp_path):
    # Over IPv4 the lookup of a route from a given source wants a local route, which the dummy datapath cannot have.
    target = start(tmp_path, "options:local_ip=flow")
    try:
        check_returned(target.send(packet(geneve(*ALL), 6)), geneve(*ALL), 6)
    finally:
        target.vswitchd.stop()


DROPS = (f"table={Table.RECEIVE}, ", "priority=150,tun_id=0 actions=drop")

NOT_WHOLE = {
    "no options": (),
    "no endpoint": (ATTACHMENT, COOKIE),
    "no attachment": (ENDPOINT, COOKIE),
    "no cookie": (ENDPOINT, ATTACHMENT),
    "an option of others instead": (ENDPOINT, ATTACHMENT, FOREIGN),
    "an option of others besides": (*ALL, FOREIGN),
}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("name", NOT_WHOLE)
def test_what_is_not_whole_is_dropped_and_counted(target, name, family):
    whole, part = geneve(*ALL), packet(geneve(*NOT_WHOLE[name]), family)
    firewall = f"table={Table.RECEIVE}, ", "priority=300,tun_id=0,tun_metadata0 "
    drops = firewall if FOREIGN in NOT_WHOLE[name] else DROPS
    assert target.send(part) == []
    assert target.counts(*drops) == 1
    # Neither may be taken for the other from the datapath's cache.
    check_returned(target.send(packet(whole, family)), whole, family)
    assert target.send(part) == []
    assert target.counts(*drops) == 2


@pytest.mark.parametrize("family", [4, 6])
def test_only_a_gateway_is_answered_and_on_that_vni_only(target, family):
    assert target.send(packet(geneve(*ALL), family, OTHERS[family])) == []
    assert target.counts(*DROPS) == 1
    stranger = {4: "192.0.2.99", 6: "2001:db8::99"}[family]
    assert target.send(packet(geneve(*ALL), family, stranger)) == []
    assert target.send(packet(geneve(*ALL, vni=7), family)) == []
    assert target.counts(f"table={Table.PEERS}, ", "priority=0 ") == 2
    assert target.send(packet(geneve(*ALL, oam=1), family)) == []
    assert target.counts("tun_flags=+oam,in_port=6081 actions=drop") == 1
    assert target.counts(*DROPS) == 1


def test_another_length_is_not_returned(target):
    assert target.send(packet(geneve((0x0108, 1, bytes(4)), ATTACHMENT, COOKIE), 4)) == []


def test_what_ovs_cannot_give_back(target):
    """Facts that docs/gwlb.md tells its readers."""
    unknown = (0x0108, 9, bytes(4))
    check_returned(target.send(packet(geneve(*ALL, unknown), 4)), geneve(*ALL), 4)
    check_returned(target.send(packet(geneve(COOKIE, ATTACHMENT, ENDPOINT), 4)), geneve(*ALL), 4)
    [back] = target.send(packet(geneve(*ALL), 4))
    assert back[UDP].sport != 60001
    options = geneve(*ALL)[8 : -len(bytes(INNER))]
    ip_inside = bytes([len(options) // 4, 0, 0x08, 0, 0, 0, 0, 0]) + options + bytes(INNER[IP])
    assert target.send(packet(ip_inside, 4)) == []


def test_slots_ascend():
    with pytest.raises(EncodeError, match="endpoint 3, attachment 1, cookie 6: want them to ascend"):
        gwlb.GwlbSlots(endpoint=3, attachment=1, cookie=6)
