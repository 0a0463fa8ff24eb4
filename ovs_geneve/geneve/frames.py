# SPDX-License-Identifier: Apache-2.0
"""Ethernet, IP and what rides on it, read just far enough to name a packet.

Used for both sides of a tunnel: outside to find Geneve, inside to say what was carried. Frames may
be cut (a snap length): what the lengths promise and the bytes lack is `missing`, not an error, as
long as the headers are whole. Nothing is reassembled, no checksum is verified.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from ovs_geneve.errors import DecodeError

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_ARP = 0x0806
ETHERTYPE_IPV6 = 0x86DD

PROTOCOL_ICMP = 1
PROTOCOL_TCP = 6
PROTOCOL_UDP = 17
PROTOCOL_ICMPV6 = 58

_TAG_ETHERTYPES = frozenset({0x8100, 0x88A8, 0x9100})
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION, _MOBILITY = 0, 43, 44, 51, 60, 135
_EXTENSIONS = frozenset({_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION, _MOBILITY})

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Ethernet:
    """An Ethernet header with its VLAN tags."""

    destination: bytes
    source: bytes
    vlans: tuple[int, ...]
    "Tag control information of each tag, outermost first; the VLAN id is its lower 12 bits."
    ethertype: int
    "Behind the tags; below 0x0600 it is an IEEE 802.3 length."
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """Where a piece of an IP datagram belongs."""

    identification: int
    offset: int
    "Bytes of the datagram's payload before this piece."
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ip:
    """An IP header, extension headers skipped."""

    source: Address
    destination: Address
    protocol: int
    "What `payload` begins with, an IANA protocol number."
    hop_limit: int
    traffic_class: int
    "DSCP and ECN."
    dont_fragment: bool
    "The DF bit; always true for IPv6, whose routers do not fragment."
    fragment: Fragment | None
    payload: bytes
    missing: int
    "Bytes that the header promises and the frame lacks."


@dataclass(frozen=True, slots=True, kw_only=True)
class Udp:
    """A UDP header and its datagram."""

    source_port: int
    destination_port: int
    checksum: int
    "As sent, not verified; 0 means none."
    payload: bytes
    missing: int
    "Bytes that the header promises and the frame lacks."
    surplus: int
    "Bytes of the IP payload behind the datagram."


def decode_ethernet(frame: bytes) -> Ethernet:
    """Read an Ethernet header and its tags; raise DecodeError when it is cut."""
    need("Ethernet header", frame, 14)
    vlans, ethertype, payload = strip_tags(int.from_bytes(frame[12:14], "big"), frame[14:])
    return Ethernet(
        destination=frame[:6], source=frame[6:12], vlans=vlans, ethertype=ethertype, payload=payload
    )


def strip_tags(ethertype: int, payload: bytes) -> tuple[tuple[int, ...], int, bytes]:
    """Return the VLAN tags in front of `payload`, the Ethertype behind them and the rest."""
    tags = []
    while ethertype in _TAG_ETHERTYPES:
        need("VLAN tag", payload, 4)
        tag, ethertype = struct.unpack_from("!HH", payload)
        tags.append(tag)
        payload = payload[4:]
    return tuple(tags), ethertype, payload


def decode_ip(data: bytes) -> Ip:
    """Read an IP header of either version; raise DecodeError naming the field."""
    need("IP version", data, 1)
    version = data[0] >> 4
    if version == 4:
        return decode_ipv4(data)
    if version == 6:
        return decode_ipv6(data)
    raise DecodeError("IP version", f"{version}: want 4 or 6")


def decode_ipv4(data: bytes) -> Ip:
    """Read an IPv4 header (RFC 791 3.1); raise DecodeError naming the field."""
    need("IPv4 header", data, 20)
    first, tos, total, identification, flags, ttl, protocol = struct.unpack_from("!BBHHHBB", data)
    length = (first & 0xF) * 4
    if first >> 4 != 4:
        raise DecodeError("IPv4 version", f"{first >> 4}")
    if length < 20:
        raise DecodeError("IPv4 header length", f"{length} bytes: want at least 20")
    need("IPv4 options", data, length)
    # Captures taken before segmentation offload have 0 here: the rest of the frame is meant.
    end = total or len(data)
    if end < length:
        raise DecodeError("IPv4 total length", f"{end} bytes, the header alone has {length}")
    return Ip(
        source=IPv4Address(data[12:16]),
        destination=IPv4Address(data[16:20]),
        protocol=protocol,
        hop_limit=ttl,
        traffic_class=tos,
        dont_fragment=bool(flags & 0x4000),
        fragment=_as_fragment(identification, (flags & 0x1FFF) * 8, more=bool(flags & 0x2000)),
        payload=data[length:end],
        missing=max(0, end - len(data)),
    )


def decode_ipv6(data: bytes) -> Ip:
    """Read an IPv6 header and its extension headers (RFC 8200); raise DecodeError naming the field."""
    need("IPv6 header", data, 40)
    first, length, protocol, hop_limit = struct.unpack_from("!IHBB", data)
    if first >> 28 != 6:
        raise DecodeError("IPv6 version", f"{first >> 28}")
    # 0 is a jumbogram (RFC 2675) or a capture before segmentation offload: the rest is meant.
    body = data[40 : 40 + length] if length else data[40:]
    protocol, fragment, payload = _skip_extensions(protocol, body)
    return Ip(
        source=IPv6Address(data[8:24]),
        destination=IPv6Address(data[24:40]),
        protocol=protocol,
        hop_limit=hop_limit,
        traffic_class=first >> 20 & 0xFF,
        dont_fragment=True,
        fragment=fragment,
        payload=payload,
        missing=max(0, length - len(body)),
    )


def _skip_extensions(protocol: int, body: bytes) -> tuple[int, Fragment | None, bytes]:
    fragment = None
    while protocol in _EXTENSIONS:
        need("IPv6 extension header", body, 8)
        length = _extension_length(protocol, body[1])
        if protocol == _FRAGMENT:
            fragment = _fragment(body)
        need("IPv6 extension header", body, length)
        protocol, body = body[0], body[length:]
        if fragment and fragment.offset:
            # What follows is the middle of some datagram: no header, whatever its bytes look like.
            break
    return protocol, fragment, body


def _extension_length(protocol: int, field: int) -> int:
    if protocol == _FRAGMENT:
        return 8
    if protocol == _AUTHENTICATION:
        # RFC 4302 2.2: in words of 4 bytes, minus 2; the others count 8 bytes, minus 1.
        return (field + 2) * 4
    return (field + 1) * 8


def _fragment(body: bytes) -> Fragment | None:
    where, identification = struct.unpack_from("!HI", body, 2)
    return _as_fragment(identification, where & 0xFFF8, more=bool(where & 1))


def _as_fragment(identification: int, offset: int, *, more: bool) -> Fragment | None:
    # The first and the last piece at once is a whole datagram: for IPv6 an atomic fragment, RFC 6946.
    if not offset and not more:
        return None
    return Fragment(identification=identification, offset=offset, more=more)


def decode_udp(ip: Ip) -> Udp:
    """Read the UDP header in `ip` (RFC 768); raise DecodeError naming the field."""
    need("UDP header", ip.payload, 8)
    source, destination, length, checksum = struct.unpack_from("!HHHH", ip.payload)
    whole = len(ip.payload) + ip.missing
    # 0 is a jumbogram's, RFC 2675 4: the rest of the packet.
    end = length or whole
    if end < 8:
        raise DecodeError("UDP length", f"{end} bytes: want at least 8")
    if end > whole and not (ip.fragment and ip.fragment.more):
        raise DecodeError("UDP length", f"{end} bytes, the IP packet has {whole}")
    return Udp(
        source_port=source,
        destination_port=destination,
        checksum=checksum,
        payload=ip.payload[8:end],
        missing=max(0, end - len(ip.payload)),
        surplus=max(0, whole - end),
    )


def need(where: str, data: bytes, count: int) -> None:
    """Raise DecodeError, naming `where`, unless `data` has `count` bytes or more."""
    if len(data) < count:
        raise DecodeError(where, f"{len(data)} of {count} bytes")
