# SPDX-License-Identifier: Apache-2.0
"""Finding Geneve behind every link layer, tag, IP version and extension header."""

from __future__ import annotations

import contextlib
import struct
from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ovs_geneve.errors import DecodeError
from ovs_geneve.geneve.frames import Fragment
from ovs_geneve.geneve.outer import LaterFragment, OuterPacket, find_geneve
from tests.unit.geneve.builders import CRITICAL_VECTOR, ethernet, ipv4, ipv6, udp

DATAGRAM = udp(CRITICAL_VECTOR, checksum=0xABCD)
V4 = ipv4(DATAGRAM)
V6 = ipv6(DATAGRAM)
COOKED = bytes.fromhex("0000 0001 0006 0200000000010000")
COOKED2 = bytes.fromhex("0000 00000002 0001 00 06 0200000000010000")


def found(linktype: int, frame: bytes, **options) -> OuterPacket:
    outer = find_geneve(linktype, frame, **options)
    assert isinstance(outer, OuterPacket)
    return outer


def extension(following: int, words: int = 0) -> bytes:
    return bytes([following, words]) + bytes(6 + words * 8)


@pytest.mark.parametrize(
    ("linktype", "frame", "vlans"),
    [
        (1, ethernet(0x0800, V4), ()),
        (1, ethernet(0x0800, V4 + bytes(10)), ()),
        (1, ethernet(0x0800, V4, ((0x8100, 0x2005),)), (0x2005,)),
        (1, ethernet(0x0800, V4, ((0x88A8, 7), (0x8100, 8))), (7, 8)),
        (1, ethernet(0x86DD, V6), ()),
        (113, COOKED + b"\x08\x00" + V4, ()),
        (113, COOKED + b"\x81\x00\x00\x09\x86\xdd" + V6, (9,)),
        (276, b"\x08\x00" + COOKED2 + V4, ()),
        (276, b"\x86\xdd" + COOKED2 + V6, ()),
        (101, V4, ()),
        (101, V6, ()),
        (12, V4, ()),
        (14, V6, ()),
        (228, V4, ()),
        (229, V6, ()),
        (0, b"\2\0\0\0" + V4, ()),
        (0, b"\0\0\0\2" + V4, ()),
        (0, b"\x1e\0\0\0" + V6, ()),
        (0, b"\0\0\0\x0a" + V6, ()),
        (108, b"\0\0\0\2" + V4, ()),
        (108, b"\0\0\0\x18" + V6, ()),
    ],
)
def test_link_layers(linktype, frame, vlans):
    outer = found(linktype, frame)
    assert outer.geneve == CRITICAL_VECTOR
    assert outer.vlans == vlans
    assert (outer.source_port, outer.destination_port, outer.udp_checksum) == (49152, 6081, 0xABCD)
    assert (outer.missing, outer.surplus, outer.fragment) == (0, 0, None)


def test_addresses_and_the_rest_of_the_ip_header():
    outer = found(101, V4)
    assert (outer.source, outer.destination) == (ip_address("192.0.2.11"), ip_address("192.0.2.12"))
    assert (outer.hop_limit, outer.traffic_class, outer.dont_fragment) == (64, 0x2E, True)
    assert not found(101, ipv4(DATAGRAM, flags=0)).dont_fragment
    outer = found(101, V6)
    assert (outer.source, outer.destination) == (ip_address("2001:db8::11"), ip_address("2001:db8::12"))
    assert (outer.hop_limit, outer.traffic_class) == (63, 0x2E)


@pytest.mark.parametrize(
    "frame",
    [
        ipv4(DATAGRAM, ihl=15),
        ipv6(extension(17) + DATAGRAM, protocol=0),
        ipv6(extension(43) + extension(60, 2) + extension(17) + DATAGRAM, protocol=0),
        ipv6(bytes([17, 4]) + bytes(22) + DATAGRAM, protocol=51),
        ipv6(bytes([17, 0, 0, 0, 0, 0, 0, 1]) + DATAGRAM, protocol=44),
        ipv4(DATAGRAM, total=0),
        ipv6(DATAGRAM, length=0),
        ipv4(udp(CRITICAL_VECTOR, length=0)),
    ],
)
def test_headers_on_the_way(frame):
    outer = found(101, frame)
    assert (outer.geneve, outer.fragment) == (CRITICAL_VECTOR, None)


@pytest.mark.parametrize(
    ("linktype", "frame"),
    [
        (1, ethernet(0x0806, bytes(28))),
        (1, ethernet(0x0026, bytes(38))),
        (1, ethernet(0x8847, bytes(40))),
        (101, ipv4(DATAGRAM, protocol=6)),
        (101, ipv6(DATAGRAM, protocol=50)),
        (101, ipv6(b"", protocol=59)),
        (101, ipv4(udp(b"x", port=4789))),
        (101, b"\x00" + bytes(40)),
        (0, b"\x07\0\0\0" + bytes(40)),
        (101, ipv4(udp(b"", port=53, length=7))),
        (101, ipv4(b"tcp", protocol=6, flags=185)),
    ],
)
def test_other_traffic_is_none_of_ours(linktype, frame):
    assert find_geneve(linktype, frame) is None


def test_ports_are_a_choice_and_the_destination_counts():
    other = ipv4(udp(CRITICAL_VECTOR, port=6082))
    assert find_geneve(101, other) is None
    assert found(101, other, ports={6081, 6082}).destination_port == 6082
    assert find_geneve(101, other, ports={49152}) is None


def test_a_snap_length_leaves_what_it_leaves():
    frame = ipv4(udp(CRITICAL_VECTOR + bytes(100)))
    outer = found(101, frame[:-60])
    assert outer.geneve == CRITICAL_VECTOR + bytes(40)
    assert outer.missing == 60
    assert found(101, ipv6(udp(CRITICAL_VECTOR))[:-4]).missing == 4


def test_bytes_behind_the_datagram_are_counted():
    outer = found(101, ipv4(DATAGRAM + b"options"))
    assert (outer.geneve, outer.surplus) == (CRITICAL_VECTOR, 7)


def test_first_fragments_say_so():
    whole = udp(CRITICAL_VECTOR + bytes(100))
    outer = found(101, ipv4(whole[:64], flags=0x2000))
    assert outer.fragment == Fragment(identification=0x1234, offset=0, more=True)
    assert (len(outer.geneve), outer.missing) == (56, len(whole) - 64)
    head = bytes([17, 0]) + struct.pack("!HI", 1, 77)
    outer = found(101, ipv6(head + whole[:64], protocol=44))
    assert outer.fragment == Fragment(identification=77, offset=0, more=True)
    assert outer.missing == len(whole) - 64


def test_later_fragments_say_so():
    later = find_geneve(101, ipv4(b"rest", flags=8))
    assert isinstance(later, LaterFragment)
    assert later.fragment == Fragment(identification=0x1234, offset=64, more=False)
    head = bytes([17, 0]) + struct.pack("!HI", 64 | 1, 77)
    later = find_geneve(101, ipv6(head + b"rest", protocol=44))
    assert isinstance(later, LaterFragment)
    assert later.fragment == Fragment(identification=77, offset=64, more=True)
    # The middle of a datagram that began with destination options: no header is read out of it.
    assert find_geneve(101, ipv6(bytes([60]) + head[1:] + bytes([17, 255]) + bytes(6), protocol=44)) is None


@pytest.mark.parametrize(
    ("linktype", "frame", "where"),
    [
        (147, V4, "link type"),
        (1, V4[:13], "Ethernet header"),
        (1, ethernet(0x8100, b"\0\0\0"), "VLAN tag"),
        (113, bytes(15), "Linux cooked header"),
        (276, bytes(19), "Linux cooked header v2"),
        (0, bytes(3), "loopback header"),
        (101, b"", "IP version"),
        (101, V4[:19], "IPv4 header"),
        (228, V6, "IPv4 version"),
        (229, V4 + bytes(20), "IPv6 version"),
        (101, b"\x44" + V4[1:], "IPv4 header length"),
        (101, b"\x4f" + V4[1:40], "IPv4 options"),
        (101, ipv4(DATAGRAM, total=19), "IPv4 total length"),
        (101, V6[:39], "IPv6 header"),
        (101, ipv6(b"\x11\x00", protocol=0), "IPv6 extension header"),
        (101, ipv6(b"\x11\x01" + bytes(6), protocol=60), "IPv6 extension header"),
        (101, ipv4(b"\x00\x01\x17\xc1\x00\x08"), "UDP header"),
        (101, ipv4(b"\x00\x01"), "UDP header"),
        (101, ipv4(udp(CRITICAL_VECTOR, length=7)), "UDP length"),
        (101, ipv4(udp(CRITICAL_VECTOR, length=len(DATAGRAM) + 1)), "UDP length"),
    ],
)
def test_broken_headers_name_the_field(linktype, frame, where):
    with pytest.raises(DecodeError) as caught:
        find_geneve(linktype, frame)
    assert caught.value.where == where


@given(st.sampled_from([0, 1, 12, 14, 101, 108, 113, 228, 229, 276, 7]), st.binary(max_size=120))
@example(101, b"")
def test_arbitrary_bytes_raise_nothing_but_decode_error(linktype, frame):
    with contextlib.suppress(DecodeError):
        find_geneve(linktype, frame)


@given(st.sampled_from([V4, V6, ipv6(extension(17) + DATAGRAM, protocol=0)]), st.data())
def test_damaged_frames_raise_nothing_but_decode_error(frame, data):
    damaged = bytearray(frame)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DecodeError):
        find_geneve(101, bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
