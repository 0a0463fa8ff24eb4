# SPDX-License-Identifier: Apache-2.0
"""Finding Geneve in a captured frame: from the link layer to the UDP payload.

`None` is an answer, "this frame is none of ours"; DecodeError is for frames whose headers break
their own format. Whether the bytes found are a sound Geneve packet is for `packet.decode`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ovs_geneve.errors import DecodeError
from ovs_geneve.geneve.frames import (
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    PROTOCOL_UDP,
    Address,
    Fragment,
    Ip,
    decode_ethernet,
    decode_ipv4,
    decode_ipv6,
    decode_udp,
    need,
    strip_tags,
)
from ovs_geneve.geneve.header import GENEVE_PORT

LINKTYPE_NULL = 0
LINKTYPE_ETHERNET = 1
LINKTYPE_RAW = 101
LINKTYPE_LOOP = 108
LINKTYPE_LINUX_SLL = 113
LINKTYPE_IPV4 = 228
LINKTYPE_IPV6 = 229
LINKTYPE_LINUX_SLL2 = 276

_RAW = frozenset({12, 14, LINKTYPE_RAW, LINKTYPE_IPV4, LINKTYPE_IPV6})
"Frames that begin with IP; 12 and 14 are DLT_RAW of some systems, found in old files."

_AF_INET = frozenset({2})
_AF_INET6 = frozenset({10, 24, 28, 30})
"Linux, NetBSD and OpenBSD, FreeBSD, macOS."

Network = tuple[tuple[int, ...], int, bytes]
"VLAN tags, Ethertype, and the network layer's bytes."


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterPacket:
    """A UDP datagram to a Geneve port, and what carried it."""

    source: Address
    destination: Address
    source_port: int
    destination_port: int
    hop_limit: int
    traffic_class: int
    "DSCP and ECN."
    dont_fragment: bool
    udp_checksum: int
    "As sent, not verified; 0 means none, which RFC 8926 4.3 wants agreed upon for IPv6."
    vlans: tuple[int, ...] = ()
    "Tag control information of the underlay's tags, outermost first."
    fragment: Fragment | None = None
    "Set on the first fragment of a datagram: `geneve` is cut where the fragment ends."
    missing: int = 0
    "Bytes of the datagram that `geneve` lacks: cut by the capture or by fragmentation."
    surplus: int = 0
    "Bytes of the IP packet behind the datagram."
    geneve: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterFragment:
    """A later piece of a fragmented UDP datagram: its ports, hence whether it is Geneve, are elsewhere."""

    source: Address
    destination: Address
    fragment: Fragment


def find_geneve(
    linktype: int, frame: bytes, ports: Collection[int] = frozenset({GENEVE_PORT})
) -> OuterPacket | LaterFragment | None:
    """Return the datagram to one of `ports` that `frame` carries, None when it carries something else.

    `linktype` is a LINKTYPE_ number; an unknown one and malformed headers raise DecodeError.
    """
    vlans, ethertype, data = _network(linktype, frame)
    if ethertype == ETHERTYPE_IPV4:
        ip = decode_ipv4(data)
    elif ethertype == ETHERTYPE_IPV6:
        ip = decode_ipv6(data)
    else:
        return None
    if ip.protocol != PROTOCOL_UDP:
        return None
    if ip.fragment and ip.fragment.offset:
        return LaterFragment(source=ip.source, destination=ip.destination, fragment=ip.fragment)
    return _datagram(ip, vlans, ports)


def _datagram(ip: Ip, vlans: tuple[int, ...], ports: Collection[int]) -> OuterPacket | None:
    # The port is looked at before the rest: another protocol's broken lengths are none of our business.
    if len(ip.payload) >= 4 and int.from_bytes(ip.payload[2:4], "big") not in ports:
        return None
    udp = decode_udp(ip)
    return OuterPacket(
        source=ip.source,
        destination=ip.destination,
        source_port=udp.source_port,
        destination_port=udp.destination_port,
        hop_limit=ip.hop_limit,
        traffic_class=ip.traffic_class,
        dont_fragment=ip.dont_fragment,
        udp_checksum=udp.checksum,
        vlans=vlans,
        fragment=ip.fragment,
        missing=udp.missing,
        surplus=udp.surplus,
        geneve=udp.payload,
    )


def _network(linktype: int, frame: bytes) -> Network:
    if linktype == LINKTYPE_ETHERNET:
        ethernet = decode_ethernet(frame)
        return ethernet.vlans, ethernet.ethertype, ethernet.payload
    if linktype == LINKTYPE_LINUX_SLL:
        return _cooked(frame, "Linux cooked header", 16, 14)
    if linktype == LINKTYPE_LINUX_SLL2:
        return _cooked(frame, "Linux cooked header v2", 20, 0)
    if linktype in (LINKTYPE_NULL, LINKTYPE_LOOP):
        return _loopback(frame)
    if linktype in _RAW:
        return (), _raw_ethertype(linktype, frame), frame
    raise DecodeError("link type", f"{linktype}: want Ethernet, Linux cooked, raw IP or loopback")


def _cooked(frame: bytes, where: str, length: int, protocol_at: int) -> Network:
    need(where, frame, length)
    protocol = int.from_bytes(frame[protocol_at : protocol_at + 2], "big")
    return strip_tags(protocol, frame[length:])


def _loopback(frame: bytes) -> Network:
    need("loopback header", frame, 4)
    # NULL is in the byte order of the machine that captured, LOOP in network order: the small one is it.
    family = min(int.from_bytes(frame[:4], "big"), int.from_bytes(frame[:4], "little"))
    if family in _AF_INET:
        return (), ETHERTYPE_IPV4, frame[4:]
    return (), ETHERTYPE_IPV6 if family in _AF_INET6 else 0, frame[4:]


def _raw_ethertype(linktype: int, frame: bytes) -> int:
    if linktype == LINKTYPE_IPV4:
        return ETHERTYPE_IPV4
    if linktype == LINKTYPE_IPV6:
        return ETHERTYPE_IPV6
    need("IP version", frame, 1)
    return {4: ETHERTYPE_IPV4, 6: ETHERTYPE_IPV6}.get(frame[0] >> 4, 0)
