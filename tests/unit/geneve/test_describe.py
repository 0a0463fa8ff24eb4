# SPDX-License-Identifier: Apache-2.0
"""What people read about a packet: inner summaries, named options, one line and many."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.geneve.describe import (
    describe,
    describe_option,
    index_layouts,
    render_fragment,
    render_line,
    render_tree,
)
from ovs_geneve.geneve.fields import FieldKind, OptionField, OptionLayout
from ovs_geneve.geneve.frames import Fragment
from ovs_geneve.geneve.header import Header
from ovs_geneve.geneve.inner import summarise
from ovs_geneve.geneve.option import Option
from ovs_geneve.geneve.outer import LaterFragment, find_geneve
from ovs_geneve.geneve.packet import Packet, decode, encode
from ovs_geneve.values import OptionClass, OptionType, Vni
from tests.unit.geneve.builders import arp, ethernet, ipv4, ipv6, packets, udp

CONTEXT = OptionLayout(
    name="context",
    option_class=OptionClass(0xFF00),
    option_type=OptionType(1),
    length=4,
    fields=(
        OptionField(name="tier", kind=FieldKind.UINT, offset=0, bits=8),
        OptionField(name="zone", kind=FieldKind.UINT, offset=8, bits=16),
    ),
)
LAYOUTS = index_layouts([CONTEXT])
TCP_SYN = bytes.fromhex("04d2 0050 00000000 00000000 5002 0000 0000 0000")


def inner(ethertype: int, payload: bytes):
    summary = summarise(0x6558, ethernet(ethertype, payload))
    assert summary is not None
    assert summary.source_mac == "02:00:00:00:00:01"
    assert summary.destination_mac == "02:00:00:00:00:02"
    return summary


def context(data: str) -> Option:
    return replace(CONTEXT.encode_option({}), data=bytes.fromhex(data))


def test_tcp():
    summary = inner(0x0800, ipv4(TCP_SYN, protocol=6))
    assert (summary.source, summary.destination) == (IPv4Address("192.0.2.11"), IPv4Address("192.0.2.12"))
    assert (summary.source_port, summary.destination_port, summary.detail) == (1234, 80, "TCP SYN")
    assert (summary.ethertype, summary.protocol, summary.problem) == (0x0800, 6, None)


@pytest.mark.parametrize(
    ("ethertype", "payload", "detail"),
    [
        (0x0806, arp(1), "ARP request"),
        (0x0806, arp(2), "ARP reply"),
        (0x0806, arp(9), "ARP operation 9"),
        (0x0800, ipv4(udp(b"")), "UDP"),
        (0x0800, ipv4(b"\x08\0\0\0\0\1\0\2", protocol=1), "ICMP echo request id 1 seq 2"),
        (0x0800, ipv4(b"\x03\x04\0\0\0\0\0\0", protocol=1), "ICMP unreachable code 4"),
        (0x0800, ipv4(b"\x28\0\0\0\0\0\0\0", protocol=1), "ICMP type 40"),
        (0x0800, ipv4(b"", protocol=89), "protocol 89"),
        (0x0800, ipv4(b"rest", flags=8), "UDP fragment at 64"),
        (0x0800, ipv4(udp(b""), flags=0x2000), "UDP first fragment"),
        (0x86DD, ipv6(b"\x81\0\0\0\0\1\0\2", protocol=58), "ICMPv6 echo reply id 1 seq 2"),
        (
            0x86DD,
            ipv6(b"\x87" + bytes(7) + IPv6Address("fe80::2").packed, protocol=58),
            "ICMPv6 neighbour solicitation fe80::2",
        ),
        (0x88CC, b"", ""),
    ],
)
def test_kinds_of_messages(ethertype, payload, detail):
    summary = inner(ethertype, payload)
    assert (summary.detail, summary.problem) == (detail, None)


def test_inner_tags_and_addresses_of_arp():
    summary = summarise(0x6558, ethernet(0x0806, arp(), ((0x8100, 0xE005),)))
    assert (summary.vlans, summary.ethertype) == ((5,), 0x0806)
    assert (summary.source, summary.destination) == (IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"))


def test_payloads_without_ethernet():
    summary = summarise(0x86DD, ipv6(udp(b"", port=53)))
    assert (summary.source_mac, summary.destination_port) == (None, 53)
    assert summarise(0x880B, b"ppp") is None


@pytest.mark.parametrize(
    ("ethertype", "payload", "problem", "source"),
    [
        (0x0800, b"\x45", "IPv4 header: 1 of 20 bytes", None),
        (0x0800, ipv4(TCP_SYN[:19], protocol=6), "TCP header: 19 of 20 bytes", IPv4Address("192.0.2.11")),
        (0x0800, ipv4(b"\0\1\0", protocol=132), "ports: 3 of 4 bytes", IPv4Address("192.0.2.11")),
        (
            0x86DD,
            ipv6(b"\x87" + bytes(22), protocol=58),
            "neighbour discovery target",
            IPv6Address("2001:db8::11"),
        ),
        (0x0806, arp()[:27], "ARP message: 27 of 28 bytes", None),
        (0x0806, b"\0\7" + arp()[2:], "ARP header: 000708000604", None),
    ],
)
def test_a_summary_stops_where_it_must(ethertype, payload, problem, source):
    summary = inner(ethertype, payload)
    assert summary.problem is not None
    assert summary.problem.startswith(problem)
    assert summary.source == source


def test_cut_inner_packets_are_counted():
    assert inner(0x0800, ipv4(udp(bytes(50)))[:-20]).missing == 20
    assert summarise(0x6558, b"short").problem == "Ethernet header: 5 of 14 bytes"


def test_options_are_named_by_their_layout():
    described = describe_option(CONTEXT.encode_option({"tier": 2, "zone": 7}), LAYOUTS)
    assert (described.name, described.owner, described.problem) == ("context", "experimental", None)
    assert [(field.name, field.value, field.text) for field in described.fields] == [
        ("tier", 2, "2"),
        ("zone", 7, "7"),
    ]


def test_options_nobody_declared_are_raw():
    described = describe_option(
        Option(option_class=OptionClass(0x0104), option_type=OptionType(0x80), data=b"\0\1\0\2"), LAYOUTS
    )
    assert (described.name, described.owner, described.fields) == (None, "VMware", ())


def test_options_of_others_are_named_by_their_profile():
    ports = Option(option_class=OptionClass(0x0102), option_type=OptionType(0x80), data=b"\0\1\0\2")
    described = describe_option(ports, LAYOUTS)
    assert (described.name, described.owner, described.problem) == ("ovn:ports", "OVN", None)
    assert [(field.name, field.text) for field in described.fields] == [("ingress", "1"), ("egress", "2")]
    declared = replace(CONTEXT, name="mine", option_class=OptionClass(0x0102), option_type=OptionType(0x80))
    assert describe_option(ports, index_layouts([declared])).name == "mine"
    long = describe_option(replace(ports, data=bytes(8)), LAYOUTS)
    assert (long.name, long.problem) == ("ovn:ports", "8 bytes of data: want 4")
    cilium = replace(ports, option_class=OptionClass(0x014B), option_type=OptionType(0x81))
    assert describe_option(cilium, LAYOUTS).problem == "4 bytes of data: want 8 or 20"
    service = describe_option(replace(cilium, data=bytes.fromhex("0a000001 1f90 0000")), LAYOUTS)
    assert [(field.name, field.text) for field in service.fields] == [
        ("address", "10.0.0.1"),
        ("port", "8080"),
    ]


def test_options_of_another_length_are_reported():
    described = describe_option(context("0000000000000001"), LAYOUTS)
    assert (described.name, described.problem) == ("context", "8 bytes of data: want 4")
    assert described.fields == ()


def test_two_layouts_of_one_option_are_refused():
    with pytest.raises(EncodeError, match="option other: has class and type of context"):
        index_layouts([CONTEXT, replace(CONTEXT, name="other")])
    assert index_layouts([CONTEXT, CONTEXT]) == {(0xFF00, 1): CONTEXT}


def tunnelled(*options: Option, oam: bool = False, payload: bytes = b"") -> bytes:
    packet = Packet(header=Header(vni=Vni(100), oam=oam), options=options, payload=payload)
    return ipv4(udp(encode(packet), checksum=0xBEEF))


def described(frame: bytes):
    outer = find_geneve(101, frame)
    return describe(decode(outer.geneve), LAYOUTS, outer)


def test_one_line():
    frame = tunnelled(
        CONTEXT.encode_option({"tier": 2, "zone": 7}),
        Option(option_class=OptionClass(0x0102), option_type=OptionType(0x80), data=b"\0\1\0\2"),
        oam=True,
        payload=ethernet(0x0800, ipv4(TCP_SYN, protocol=6), ((0x8100, 5),)),
    )
    assert render_line(described(frame)) == (
        "192.0.2.11:49152 > 192.0.2.12:6081 vni 100 [O C] context{tier=2 zone=7} ovn:ports{ingress=1 egress=2} | "
        "02:00:00:00:00:01 > 02:00:00:00:00:02 VLAN 5 192.0.2.11:1234 > 192.0.2.12:80 TCP SYN"
    )


def test_one_line_without_outer_and_with_problems():
    packet = decode(bytes.fromhex("0201080000006400ff000101020007ff"))
    assert render_line(describe(packet, LAYOUTS)) == (
        "vni 100 context{tier=2 zone=7} | IPv4, 0 bytes ! flags: reserved bits beside O and C are set (0x1); "
        "option 0 (context): undeclared bits 000000ff; payload: IPv4 header: 0 of 20 bytes"
    )


def test_a_tree():
    frame = tunnelled(
        CONTEXT.encode_option({"tier": 2, "zone": 7}), payload=ethernet(0x86DD, ipv6(udp(b"", port=53)))
    )
    assert render_tree(described(frame)).splitlines() == [
        "192.0.2.11:49152 > 192.0.2.12:6081, hop limit 64, traffic class 0x2e, DF, UDP checksum 0xbeef",
        "Geneve vni 100 (0x64), flags none, 8 bytes of options, 62 of Ethernet",
        "  option 0: context, 0xff00/0x01 (experimental), not critical, 4 bytes",
        "    tier = 2",
        "    zone = 7",
        "  payload: 02:00:00:00:00:01 > 02:00:00:00:00:02 [2001:db8::11]:49152 > [2001:db8::12]:53 UDP",
    ]


def test_a_tree_of_what_is_wrong():
    frame = tunnelled(context("0000000000000001"))
    text = render_tree(described(frame)).splitlines()
    assert text[2:] == [
        "  option 0: context, 0xff00/0x01 (experimental), not critical, 8 bytes",
        "    data = 0000000000000001",
        "  payload: Ethernet, 0 bytes",
        "  ! option 0 (context): 8 bytes of data: want 4",
        "  ! payload: Ethernet header: 0 of 14 bytes",
    ]


def test_fragments_and_cuts_are_told():
    payload = ethernet(0x0800, ipv4(udp(bytes(40))))
    whole = udp(encode(Packet(header=Header(vni=Vni(1)), payload=payload)))
    line = render_line(described(ipv4(whole[:64], flags=0x2000)))
    assert line.endswith(
        "! first fragment of a datagram; 34 bytes of the datagram are missing; "
        "34 bytes of the inner packet are missing"
    )
    later = LaterFragment(
        source=IPv4Address("192.0.2.1"),
        destination=IPv4Address("192.0.2.2"),
        fragment=Fragment(identification=0x12, offset=1480, more=False),
    )
    assert render_fragment(later).startswith("192.0.2.1 > 192.0.2.2 UDP fragment at 1480 of datagram 0x12")


@given(packets, st.binary(max_size=80), st.sampled_from([0x6558, 0x0800, 0x86DD, 0x0806]))
def test_no_payload_breaks_a_description(packet, payload, protocol):
    packet = replace(packet, payload=payload, header=replace(packet.header, protocol_type=protocol))
    text = render_line(describe(packet, LAYOUTS))
    assert text.isascii()
    assert text.isprintable()
    assert render_tree(describe(packet, LAYOUTS))


@given(st.binary(max_size=200))
def test_whatever_decodes_can_be_described(data):
    try:
        packet = decode(data)
    except DecodeError:
        return
    assert f"vni {packet.header.vni}" in render_line(describe(packet, LAYOUTS))
