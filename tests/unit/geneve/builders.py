# SPDX-License-Identifier: Apache-2.0
"""Bytes of frames, built here with struct alone so that no test checks our code against itself."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st

from ovs_geneve.geneve.header import Header
from ovs_geneve.geneve.option import Option
from ovs_geneve.geneve.packet import Packet
from ovs_geneve.values import OptionClass, OptionType, vni

# The packet of a captured OVS kernel datapath: vni 0x4d, class 0xffff, type 0x80, data 00001234.
CRITICAL_VECTOR = bytes.fromhex("0240655800004d00ffff800100001234")

MACS = bytes.fromhex("020000000002020000000001")


def ethernet(ethertype: int, payload: bytes, tags: tuple[tuple[int, int], ...] = ()) -> bytes:
    head = MACS
    for tpid, tci in tags:
        head += struct.pack("!HH", tpid, tci)
    return head + struct.pack("!H", ethertype) + payload


def ipv4(payload: bytes, *, protocol: int = 17, total: int | None = None, flags: int = 0x4000, ihl: int = 5):
    length = ihl * 4 + len(payload) if total is None else total
    head = struct.pack("!BBHHHBBH", 0x40 | ihl, 0x2E, length, 0x1234, flags, 64, protocol, 0)
    head += IPv4Address("192.0.2.11").packed + IPv4Address("192.0.2.12").packed
    return head + bytes(max(0, ihl * 4 - 20)) + payload


def ipv6(payload: bytes, *, protocol: int = 17, length: int | None = None) -> bytes:
    head = struct.pack("!IHBB", 0x62E00000, len(payload) if length is None else length, protocol, 63)
    return head + IPv6Address("2001:db8::11").packed + IPv6Address("2001:db8::12").packed + payload


def udp(payload: bytes, *, port: int = 6081, length: int | None = None, checksum: int = 0) -> bytes:
    return (
        struct.pack("!HHHH", 49152, port, 8 + len(payload) if length is None else length, checksum) + payload
    )


def arp(operation: int = 1) -> bytes:
    head = struct.pack("!HHHH", 1, 0x0800, 0x0604, operation)
    return head + MACS[6:] + IPv4Address("10.0.0.1").packed + bytes(6) + IPv4Address("10.0.0.2").packed


options = st.builds(
    Option,
    option_class=st.integers(0, 0xFFFF).map(OptionClass),
    option_type=st.integers(0, 0xFF).map(OptionType),
    data=st.integers(0, 31).flatmap(lambda words: st.binary(min_size=words * 4, max_size=words * 4)),
)


def _fits(drawn: list[Option]) -> tuple[Option, ...]:
    kept: list[Option] = []
    for option in drawn:
        if sum(each.wire_length for each in kept) + option.wire_length <= 252:
            kept.append(option)
    return tuple(kept)


packets = st.builds(
    Packet,
    header=st.builds(
        Header,
        vni=st.integers(0, 0xFFFFFF).map(vni),
        protocol_type=st.integers(0x600, 0xFFFF),
        oam=st.booleans(),
    ),
    options=st.lists(options, max_size=63, unique_by=lambda option: option.key).map(_fits),
    payload=st.binary(max_size=64),
)
