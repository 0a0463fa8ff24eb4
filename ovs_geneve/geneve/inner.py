# SPDX-License-Identifier: Apache-2.0
"""Saying in a few words what a tunnel packet carries.

A summary is for people: it names addresses, ports and the kind of message, and it never fails. What
cannot be read is said in `problem`, beside everything that could be read before it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

import netaddr

from ovs_geneve.errors import DecodeError
from ovs_geneve.geneve.frames import (
    ETHERTYPE_ARP,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    PROTOCOL_ICMP,
    PROTOCOL_ICMPV6,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    Address,
    Ip,
    decode_ethernet,
    decode_ipv4,
    decode_ipv6,
    need,
)
from ovs_geneve.geneve.header import ETHERNET_PAYLOAD

_PROTOCOLS = {
    PROTOCOL_ICMP: "ICMP",
    2: "IGMP",
    PROTOCOL_TCP: "TCP",
    PROTOCOL_UDP: "UDP",
    47: "GRE",
    50: "ESP",
    PROTOCOL_ICMPV6: "ICMPv6",
    132: "SCTP",
}
_PORTED = frozenset({PROTOCOL_TCP, PROTOCOL_UDP, 132})

_TCP_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
_ARP_OPERATIONS = {1: "request", 2: "reply"}
_ICMP = {0: "echo reply", 3: "unreachable", 5: "redirect", 8: "echo request", 11: "time exceeded"}
_ICMPV6 = {
    1: "unreachable",
    2: "packet too big",
    3: "time exceeded",
    128: "echo request",
    129: "echo reply",
    133: "router solicitation",
    134: "router advertisement",
    135: "neighbour solicitation",
    136: "neighbour advertisement",
}
_ECHO = frozenset({"echo request", "echo reply"})
_NEIGHBOUR = frozenset({135, 136})


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerSummary:
    """What the payload of a Geneve packet is; None where a layer is not there or not known."""

    ethertype: int
    source_mac: str | None = None
    destination_mac: str | None = None
    vlans: tuple[int, ...] = ()
    "VLAN ids, outermost first."
    source: Address | None = None
    "IP source, or the sender's address of an ARP message."
    destination: Address | None = None
    "IP destination, or the address an ARP message asks for or answers to."
    protocol: int | None = None
    source_port: int | None = None
    destination_port: int | None = None
    detail: str = ""
    "The kind of message: 'ARP request', 'ICMP echo request id 1 seq 2', 'TCP SYN'."
    missing: int = 0
    "Bytes the inner IP header promises and the payload lacks."
    problem: str | None = None
    "Why the summary stops where it does."


def summarise(protocol_type: int, payload: bytes) -> InnerSummary | None:
    """Summarise a payload of that Ethertype; None when it is neither Ethernet nor IP."""
    summary = InnerSummary(ethertype=protocol_type)
    if protocol_type == ETHERNET_PAYLOAD:
        return _reading(_ethernet, summary, payload)
    if protocol_type in _NETWORKS:
        return _reading(_NETWORKS[protocol_type], summary, payload)
    return None


def protocol_name(protocol: int) -> str:
    """Return the usual name of an IP protocol, or its number."""
    return _PROTOCOLS.get(protocol, f"protocol {protocol}")


_Reader = Callable[[InnerSummary, bytes], InnerSummary]


def _reading(reader: _Reader, summary: InnerSummary, data: bytes) -> InnerSummary:
    # A layer that cannot be read ends the summary; it does not take the layers above it along.
    try:
        return reader(summary, data)
    except DecodeError as error:
        return replace(summary, problem=str(error))


def _ethernet(summary: InnerSummary, data: bytes) -> InnerSummary:
    frame = decode_ethernet(data)
    summary = replace(
        summary,
        ethertype=frame.ethertype,
        source_mac=_mac(frame.source),
        destination_mac=_mac(frame.destination),
        vlans=tuple(tag & 0xFFF for tag in frame.vlans),
    )
    reader = _NETWORKS.get(frame.ethertype)
    return _reading(reader, summary, frame.payload) if reader else summary


def _arp(summary: InnerSummary, data: bytes) -> InnerSummary:
    need("ARP header", data, 8)
    hardware, protocol, sizes, operation = struct.unpack_from("!HHHH", data)
    if (hardware, protocol, sizes) != (1, ETHERTYPE_IPV4, 0x0604):
        raise DecodeError("ARP header", f"{data[:6].hex()}: want Ethernet and IPv4")
    need("ARP message", data, 28)
    return replace(
        summary,
        source=IPv4Address(data[14:18]),
        destination=IPv4Address(data[24:28]),
        detail=f"ARP {_ARP_OPERATIONS.get(operation, f'operation {operation}')}",
    )


def _ipv4(summary: InnerSummary, data: bytes) -> InnerSummary:
    return _ip(summary, decode_ipv4(data))


def _ipv6(summary: InnerSummary, data: bytes) -> InnerSummary:
    return _ip(summary, decode_ipv6(data))


def _ip(summary: InnerSummary, ip: Ip) -> InnerSummary:
    name = protocol_name(ip.protocol)
    summary = replace(
        summary,
        source=ip.source,
        destination=ip.destination,
        protocol=ip.protocol,
        missing=ip.missing,
        detail=name,
    )
    if ip.fragment and ip.fragment.offset:
        return replace(summary, detail=f"{name} fragment at {ip.fragment.offset}")
    if ip.fragment:
        summary = replace(summary, detail=f"{name} first fragment")
    reader = _TRANSPORTS.get(ip.protocol)
    return _reading(reader, summary, ip.payload) if reader else summary


def _ports(summary: InnerSummary, data: bytes) -> InnerSummary:
    need("ports", data, 4)
    source, destination = struct.unpack_from("!HH", data)
    summary = replace(summary, source_port=source, destination_port=destination)
    return _reading(_tcp_flags, summary, data) if summary.protocol == PROTOCOL_TCP else summary


def _tcp_flags(summary: InnerSummary, data: bytes) -> InnerSummary:
    need("TCP header", data, 20)
    flags = ",".join(name for bit, name in enumerate(_TCP_FLAGS) if data[13] >> bit & 1)
    return replace(summary, detail=f"{summary.detail} {flags or 'no flags'}")


def _icmp(summary: InnerSummary, data: bytes) -> InnerSummary:
    return _icmp_kind(summary, data, _ICMP)


def _icmpv6(summary: InnerSummary, data: bytes) -> InnerSummary:
    summary = _icmp_kind(summary, data, _ICMPV6)
    if data[0] not in _NEIGHBOUR:
        return summary
    need("neighbour discovery target", data, 24)
    return replace(summary, detail=f"{summary.detail} {IPv6Address(data[8:24])}")


def _icmp_kind(summary: InnerSummary, data: bytes, kinds: dict[int, str]) -> InnerSummary:
    need("ICMP header", data, 8)
    kind = kinds.get(data[0], f"type {data[0]}")
    if kind in _ECHO:
        identifier, sequence = struct.unpack_from("!HH", data, 4)
        kind += f" id {identifier} seq {sequence}"
    elif data[1]:
        kind += f" code {data[1]}"
    return replace(summary, detail=f"{summary.detail} {kind}")


def _mac(address: bytes) -> str:
    return str(netaddr.EUI(int.from_bytes(address, "big"), version=48, dialect=netaddr.mac_unix_expanded))


_NETWORKS: dict[int, _Reader] = {ETHERTYPE_ARP: _arp, ETHERTYPE_IPV4: _ipv4, ETHERTYPE_IPV6: _ipv6}
_TRANSPORTS: dict[int, _Reader] = {
    **dict.fromkeys(_PORTED, _ports),
    PROTOCOL_ICMP: _icmp,
    PROTOCOL_ICMPV6: _icmpv6,
}
