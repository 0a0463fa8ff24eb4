# SPDX-License-Identifier: Apache-2.0
"""A port speaks only as itself. Every lie is told to everybody and to one, on this host and on another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from tests.system.overlay import Endpoint, Overlay
from tests.system.packets import BROADCAST, Wires, marked, token

pytestmark = pytest.mark.system

NOBODY = "10.0.0.99"
NOBODY6 = "2001:db8::99"
FALSE_MAC = "02:66:00:00:00:66"
ALL_NODES = "ff02::1"

ME = Endpoint("blue1", "02:00:00:00:00:01", ("10.0.0.1", "2001:db8::1"))
NEAR = Endpoint("blue2", "02:00:00:00:00:02", ("10.0.0.2", "2001:db8::2"))
FAR = Endpoint("blue3", "02:00:00:00:00:03", ("10.0.0.3", "2001:db8::3"))

OWN = Ether(src=ME.mac, dst=BROADCAST)
FALSE = Ether(src=FALSE_MAC, dst=BROADCAST)
LIAR = Ether(src=FAR.mac, dst=BROADCAST)
V4 = IP(src=ME.ipv4, dst="10.0.0.255") / UDP(sport=5, dport=9)
V6 = IPv6(src=ME.ipv6, dst=ALL_NODES) / UDP(sport=5, dport=9)
SLL = ICMPv6NDOptSrcLLAddr
TLL = ICMPv6NDOptDstLLAddr
ND = IPv6(src=ME.ipv6, dst=ALL_NODES, hlim=255)
NA = {"R": 0, "S": 0, "O": 1}


def discover(mac: str) -> Packet:
    return (
        IP(src="0.0.0.0", dst="255.255.255.255")
        / UDP(sport=68, dport=67)
        / BOOTP(chaddr=bytes.fromhex(mac.replace(":", "")))
        / DHCP(options=[("message-type", "discover"), "end"])
    )


HONEST = {
    "IPv4": OWN / V4,
    "IPv6": OWN / V6,
    "link-local IPv6": OWN / IPv6(src="fe80::ff:fe00:1", dst=ALL_NODES) / UDP(dport=9),
    "ARP request": OWN / ARP(op=1, hwsrc=ME.mac, psrc=ME.ipv4, pdst=NOBODY),
    "ARP announcement": OWN / ARP(op=1, hwsrc=ME.mac, psrc=ME.ipv4, pdst=ME.ipv4),
    "ARP reply": OWN / ARP(op=2, hwsrc=ME.mac, psrc=ME.ipv4, hwdst=FAR.mac, pdst=FAR.ipv4),
    "ARP probe": OWN / ARP(op=1, hwsrc=ME.mac, psrc="0.0.0.0", pdst=ME.ipv4),
    "NS": OWN / ND / ICMPv6ND_NS(tgt=NOBODY6) / SLL(lladdr=ME.mac),
    "NS without address": OWN / ND / ICMPv6ND_NS(tgt=NOBODY6),
    "duplicate detection": OWN / IPv6(src="::", dst="ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(tgt=ME.ipv6),
    "NA": OWN / ND / ICMPv6ND_NA(tgt=ME.ipv6, **NA) / TLL(lladdr=ME.mac),
    "DHCP": OWN / discover(ME.mac),
    "echo 6": OWN / IPv6(src=ME.ipv6, dst=ALL_NODES) / ICMPv6EchoRequest(),
    "own ethertype": Ether(src=ME.mac, dst=BROADCAST, type=0x88B5) / Raw(b"x" * 30),
    "first fragment": OWN
    / IP(src=ME.ipv4, dst="10.0.0.255", flags="MF", proto=6)
    / Raw(bytes(TCP()) + b"x" * 4),
    "first fragment, IPv6": OWN
    / IPv6(src=ME.ipv6, dst=FAR.ipv6)
    / IPv6ExtHdrFragment(m=1, nh=6)
    / Raw(bytes(TCP(dport=0)) + b"x" * 4),
    "later fragment": OWN / IP(src=ME.ipv4, dst="10.0.0.255", frag=1, proto=6) / Raw(b"x" * 12),
}

LIES = {
    "false MAC, IPv4": FALSE / V4,
    "false MAC, IPv6": FALSE / V6,
    "false MAC, ARP": FALSE / ARP(op=1, hwsrc=ME.mac, psrc=ME.ipv4, pdst=NOBODY),
    "false MAC, own ethertype": Ether(src=FALSE_MAC, dst=BROADCAST, type=0x88B5) / Raw(b"x" * 30),
    "another's MAC": LIAR / V4,
    "false IPv4": OWN / IP(src=NOBODY, dst="10.0.0.255") / UDP(dport=9),
    "another's IPv4": OWN / IP(src=FAR.ipv4, dst="10.0.0.255") / UDP(dport=9),
    "another's IPv4, ICMP": OWN / IP(src=FAR.ipv4, dst="224.0.0.1", proto=1) / Raw(b"\x08\0\xf7\xff\0\0\0\0"),
    "no IPv4": OWN / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(dport=9),
    "DHCP from another's MAC": LIAR / discover(FAR.mac),
    "false IPv4, fragment": OWN
    / IP(src=NOBODY, dst="10.0.0.255", flags="MF", frag=9, proto=17)
    / Raw(b"x" * 8),
    "false IPv6": OWN / IPv6(src=NOBODY6, dst=ALL_NODES) / UDP(dport=9),
    "another's IPv6": OWN / IPv6(src=FAR.ipv6, dst=ALL_NODES) / UDP(dport=9),
    "another's link-local IPv6": OWN / IPv6(src="fe80::ff:fe00:3", dst=ALL_NODES) / UDP(dport=9),
    "no IPv6": OWN / IPv6(src="::", dst=ALL_NODES) / UDP(dport=9),
    "ARP request, another's IPv4": OWN / ARP(op=1, hwsrc=ME.mac, psrc=FAR.ipv4, pdst=NOBODY),
    "ARP request, false MAC inside": OWN / ARP(op=1, hwsrc=FALSE_MAC, psrc=ME.ipv4, pdst=NOBODY),
    "ARP reply, another's IPv4": OWN / ARP(op=2, hwsrc=ME.mac, psrc=FAR.ipv4, hwdst=NEAR.mac, pdst=NEAR.ipv4),
    "ARP reply, false MAC inside": OWN / ARP(op=2, hwsrc=FALSE_MAC, psrc=ME.ipv4, pdst=NEAR.ipv4),
    "ARP announcement of another": OWN / ARP(op=1, hwsrc=ME.mac, psrc=FAR.ipv4, pdst=FAR.ipv4),
    "ARP reply, no IPv4": OWN / ARP(op=2, hwsrc=ME.mac, psrc="0.0.0.0", pdst=NEAR.ipv4),
    "tiny first fragment": OWN
    / IP(src=ME.ipv4, dst="10.0.0.255", flags="MF", proto=6)
    / Raw(bytes(TCP(dport=23))[:8]),
    "tiny first fragment, IPv6": OWN
    / IPv6(src=ME.ipv6, dst=FAR.ipv6)
    / IPv6ExtHdrFragment(m=1, nh=6)
    / Raw(bytes(TCP(dport=23))[:16]),
    "tiny first fragment, SCTP": OWN
    / IP(src=ME.ipv4, dst="10.0.0.255", flags="MF", proto=132)
    / Raw(b"\x80\0\x80\1\0\0\0\0"),
    "RARP": Ether(src=ME.mac, dst=BROADCAST, type=0x8035) / ARP(op=3, hwsrc=FAR.mac, hwdst=FAR.mac),
    "NA for another": OWN / ND / ICMPv6ND_NA(tgt=FAR.ipv6, **NA) / TLL(lladdr=ME.mac),
    "NA for another, no address": OWN / ND / ICMPv6ND_NA(tgt=FAR.ipv6, **NA),
    "NA, false MAC inside": OWN / ND / ICMPv6ND_NA(tgt=ME.ipv6, **NA) / TLL(lladdr=FALSE_MAC),
    "NA from another's IPv6": OWN
    / IPv6(src=FAR.ipv6, dst=ALL_NODES, hlim=255)
    / ICMPv6ND_NA(tgt=FAR.ipv6, **NA)
    / TLL(lladdr=ME.mac),
    "NA for another behind an extension header": OWN
    / ND
    / IPv6ExtHdrHopByHop()
    / ICMPv6ND_NA(tgt=FAR.ipv6, **NA)
    / TLL(lladdr=ME.mac),
    "NS, false MAC inside": OWN / ND / ICMPv6ND_NS(tgt=NOBODY6) / SLL(lladdr=FALSE_MAC),
    "RA": OWN / ND / ICMPv6ND_RA() / SLL(lladdr=ME.mac),
    "RA, link-local": OWN / IPv6(src="fe80::ff:fe00:1", dst=ALL_NODES, hlim=255) / ICMPv6ND_RA(),
    "redirect": OWN / ND / ICMPv6ND_Redirect(tgt=ME.ipv6, dst=FAR.ipv6),
    "VLAN-tagged": OWN / Dot1Q(vlan=7) / V4,
    "priority-tagged": OWN / Dot1Q(vlan=0, prio=5) / V4,
    "VLAN-tagged, another's IPv4": OWN / Dot1Q(vlan=7) / IP(src=FAR.ipv4, dst="10.0.0.255") / UDP(dport=9),
    "doubly tagged": OWN / Dot1AD(vlan=7) / Dot1Q(vlan=8) / V4,
}


@pytest.fixture(scope="module")
def shared(make_overlay: Callable[..., Overlay]) -> Overlay:
    return make_overlay(hosts=2)


@pytest.fixture(scope="module")
def wires(shared: Overlay) -> Iterator[Wires]:
    shared.network("blue")
    for wanted, host in ((ME, "hv1"), (NEAR, "hv1"), (FAR, "hv2")):
        assert shared.port("blue", host, int(wanted.name[-1])) == wanted
    with Wires(shared.lab, (ME.name, NEAR.name, FAR.name)) as wires:
        yield wires


def heard(wires: Wires, frame: Packet) -> dict[str, int]:
    """Send a frame, and an honest one after it; return who heard the first by the time the second is everywhere."""
    first, second = token(), token()
    wires[ME.name].send(marked(frame, first))
    wires[ME.name].send(marked(HONEST["IPv4"], second))
    everybody = {NEAR.name: 1, FAR.name: 1}
    assert wires.counts_after(second, everybody, grace=0.05) == everybody
    return wires.counts(first)


def to_one(frame: Packet, target: Endpoint) -> Packet:
    aimed = frame.copy()
    aimed[Ether].dst = target.mac
    return aimed


@pytest.mark.parametrize("what", HONEST)
def test_the_truth_passes(wires: Wires, what: str) -> None:
    assert heard(wires, HONEST[what]) == {NEAR.name: 1, FAR.name: 1}
    for target in (NEAR, FAR):
        assert heard(wires, to_one(HONEST[what], target)) == {target.name: 1}


@pytest.mark.parametrize("what", LIES)
def test_a_lie_reaches_nobody(wires: Wires, what: str) -> None:
    for frame in (LIES[what], to_one(LIES[what], NEAR), to_one(LIES[what], FAR)):
        assert heard(wires, frame) == {}


def test_a_false_question_gets_no_answer(wires: Wires) -> None:
    """A switch that answers ARP before it has checked who asks would tell the port's neighbours anything."""
    before = len(wires[ME.name].heard())
    lies = (
        OWN / ARP(op=1, hwsrc=ME.mac, psrc=NOBODY, pdst=FAR.ipv4),
        FALSE / ARP(op=1, hwsrc=FALSE_MAC, psrc=ME.ipv4, pdst=FAR.ipv4),
    )
    for lie in lies:
        heard(wires, lie)
    answers = [Ether(frame) for frame in wires[ME.name].heard()[before:]]
    assert not [frame for frame in answers if ARP in frame and frame[ARP].psrc == FAR.ipv4]


def test_a_port_without_addresses_is_bound_to_its_mac_alone(shared: Overlay, wires: Wires) -> None:
    port = shared.port("blue", "hv1", 9, bare=True)
    with Wires(shared.lab, (port.name,)) as own:
        for source, expected in ((port.mac, {NEAR.name: 1, FAR.name: 1, ME.name: 1}), (FALSE_MAC, {})):
            mark = token()
            frame = Ether(src=source, dst=BROADCAST) / IP(src=NOBODY, dst="10.0.0.255") / UDP(dport=9)
            own[port.name].send(marked(frame, mark))
            assert wires.counts_after(mark, expected) == expected
