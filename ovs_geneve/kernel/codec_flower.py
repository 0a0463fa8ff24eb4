# SPDX-License-Identifier: Apache-2.0
"""Flower matches <-> attributes (linux/pkt_cls.h TCA_FLOWER_*)."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Network, ip_network

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.kernel import wire
from ovs_geneve.kernel.codec_options import decode_matches, encode_keys, encode_masks
from ovs_geneve.kernel.objects import Flower

ACTIONS, FLAGS = 3, 22
_ETH_TYPE, _IP_PROTO, _IN_HW_COUNT = 8, 9, 86
_DST_MAC, _SRC_MAC, _ARP_SHA = 4, 6, 63
"Each is followed by its mask."
_SRC_IP, _DST_IP, _ENC_SRC, _ENC_DST = (10, 14), (12, 16), (27, 31), (29, 33)
"The IPv4 attribute, each followed by its mask, and the IPv6 one."
_ARP_SIP, _ARP_TIP = 57, 59
_PORTS = {6: (18, 19, 35, 36), 17: (20, 21, 37, 38), 132: (41, 42, 39, 40)}
"Of TCP, UDP and SCTP: source, destination, and their masks."
_SRC_RANGE, _DST_RANGE = 87, 89
"The least, followed by the greatest."
_ICMP = {1: (51, 49), 58: (55, 53)}
"Type and code of ICMP and ICMPv6, each followed by its mask."
_ENC_KEY_ID, _ENC_DST_PORT, _ENC_OPTS, _ENC_OPTS_MASK = 26, 45, 84, 85

_PROTOCOLS = {"ip": 0x0800, "arp": 0x0806, "ipv6": 0x86DD, "rarp": 0x8035}
"""Of frames without a tag. The filter's own protocol tells them apart as well, but a match looks at no header without
this, and tc(8) always has it: what agents make is what rendered commands make."""

_IP_FLAGS, _IS_FRAGMENT = 47, 1
"Followed by their mask (TCA_FLOWER_KEY_FLAGS_IS_FRAGMENT)."


def encode_flower(match: Flower, protocol: str) -> bytes:
    """Encode a match. Raises EncodeError for what flower cannot look at together."""
    parts = [wire.be16(_ETH_TYPE, _PROTOCOLS[protocol])] if protocol in _PROTOCOLS else []
    parts += _mac(_SRC_MAC, match.src_mac) + _mac(_DST_MAC, match.dst_mac) + _mac(_ARP_SHA, match.arp_sha)
    if match.ip_proto is not None:
        parts.append(wire.u8(_IP_PROTO, match.ip_proto))
    parts += _prefix(_SRC_IP, match.src_ip) + _prefix(_DST_IP, match.dst_ip)
    parts += _prefix((_ARP_SIP, _ARP_SIP), match.arp_sip) + _prefix((_ARP_TIP, _ARP_TIP), match.arp_tip)
    parts += _ports(match, 0, match.src_ports, _SRC_RANGE) + _ports(match, 1, match.dst_ports, _DST_RANGE)
    parts += _icmp(match, 0, match.icmp_type) + _icmp(match, 1, match.icmp_code)
    if match.fragment is not None:
        parts += [wire.be32(_IP_FLAGS, match.fragment * _IS_FRAGMENT), wire.be32(_IP_FLAGS + 1, _IS_FRAGMENT)]
    parts += _prefix(_ENC_SRC, match.enc_src) + _prefix(_ENC_DST, match.enc_dst)
    if match.enc_vni is not None:
        parts.append(wire.be32(_ENC_KEY_ID, match.enc_vni))
    if match.enc_dst_port is not None:
        parts += [wire.be16(_ENC_DST_PORT, match.enc_dst_port), wire.be16(_ENC_DST_PORT + 1, 0xFFFF)]
    if match.enc_options:
        parts.append(wire.nested(_ENC_OPTS, encode_keys(match.enc_options)))
        parts.append(wire.nested(_ENC_OPTS_MASK, encode_masks(match.enc_options)))
    return b"".join(parts)


def decode_flower(fields: Mapping[int, bytes]) -> Flower:
    """Decode a match. Raises DecodeError when the filter looks at what Flower has no field for."""
    strange = sorted(set(fields) - _KNOWN)
    if strange:
        raise DecodeError("flower", f"attributes {strange}")
    proto = wire.number(fields[_IP_PROTO]) if _IP_PROTO in fields else None
    enc_port = fields.get(_ENC_DST_PORT)
    return Flower(
        src_mac=_decode_mac(fields, _SRC_MAC),
        dst_mac=_decode_mac(fields, _DST_MAC),
        ip_proto=proto,
        src_ip=_decode_prefix(fields, _SRC_IP),
        dst_ip=_decode_prefix(fields, _DST_IP),
        src_ports=_decode_ports(fields, proto, 0, _SRC_RANGE),
        dst_ports=_decode_ports(fields, proto, 1, _DST_RANGE),
        fragment=_decode_fragment(fields),
        icmp_type=_decode_icmp(fields, proto, 0),
        icmp_code=_decode_icmp(fields, proto, 1),
        arp_sip=_decode_prefix(fields, (_ARP_SIP, _ARP_SIP)),
        arp_tip=_decode_prefix(fields, (_ARP_TIP, _ARP_TIP)),
        arp_sha=_decode_mac(fields, _ARP_SHA),
        enc_vni=wire.network_number(fields[_ENC_KEY_ID]) if _ENC_KEY_ID in fields else None,
        enc_src=_decode_address(fields, _ENC_SRC),
        enc_dst=_decode_address(fields, _ENC_DST),
        enc_dst_port=wire.network_number(enc_port) if enc_port is not None else None,
        enc_options=decode_matches(fields.get(_ENC_OPTS, b""), fields.get(_ENC_OPTS_MASK, b"")),
    )


def _mac(number: int, value: str | None) -> list[bytes]:
    if value is None:
        return []
    mac, _, mask = value.partition("/")
    return [
        wire.attribute(number, wire.mac_bytes(mac)),
        wire.attribute(number + 1, wire.mac_bytes(mask or "ff:ff:ff:ff:ff:ff")),
    ]


def _prefix(numbers: tuple[int, int], value: str | None) -> list[bytes]:
    if value is None:
        return []
    network = ip_network(value)
    number = numbers[1] if isinstance(network, IPv6Network) else numbers[0]
    return [
        wire.attribute(number, network.network_address.packed),
        wire.attribute(number + 1, network.netmask.packed),
    ]


def _ports(match: Flower, place: int, ports: tuple[int, int] | None, bounds: int) -> list[bytes]:
    if ports is None:
        return []
    if match.ip_proto not in _PORTS:
        raise EncodeError("ports", f"of IP protocol {match.ip_proto}: want TCP, UDP or SCTP")
    numbers = _PORTS[match.ip_proto]
    first, last = ports
    if first == last:
        return [wire.be16(numbers[place], first), wire.be16(numbers[place + 2], 0xFFFF)]
    return [wire.be16(bounds, first), wire.be16(bounds + 1, last)]


def _icmp(match: Flower, place: int, value: int | None) -> list[bytes]:
    if value is None:
        return []
    if match.ip_proto not in _ICMP:
        raise EncodeError("icmp", f"of IP protocol {match.ip_proto}: want ICMP or ICMPv6")
    number = _ICMP[match.ip_proto][place]
    return [wire.u8(number, value), wire.u8(number + 1, 0xFF)]


def _decode_mac(fields: Mapping[int, bytes], number: int) -> str | None:
    mask = fields.get(number + 1, b"\xff" * 6)
    if number not in fields or not any(mask):
        return None
    mac = wire.mac_text(fields[number])
    return mac if mask == b"\xff" * 6 else f"{mac}/{wire.mac_text(mask)}"


def _decode_prefix(fields: Mapping[int, bytes], numbers: tuple[int, int]) -> str | None:
    for number in numbers:
        if number in fields:
            value = fields[number]
            mask = int.from_bytes(fields.get(number + 1, b"\xff" * len(value)), "big")
            return f"{wire.address_text(value)}/{mask.bit_count()}"
    return None


def _decode_address(fields: Mapping[int, bytes], numbers: tuple[int, int]) -> str | None:
    prefix = _decode_prefix(fields, numbers)
    if prefix is None:
        return None
    network = ip_network(prefix)
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _decode_ports(
    fields: Mapping[int, bytes], proto: int | None, place: int, bounds: int
) -> tuple[int, int] | None:
    if bounds in fields:
        return wire.network_number(fields[bounds]), wire.network_number(fields[bounds + 1])
    number = _PORTS[proto][place] if proto in _PORTS else None
    if number is None or number not in fields:
        return None
    port = wire.network_number(fields[number])
    return port, port


def _decode_fragment(fields: Mapping[int, bytes]) -> bool | None:
    if _IP_FLAGS not in fields:
        return None
    if wire.network_number(fields[_IP_FLAGS + 1]) != _IS_FRAGMENT:
        raise DecodeError("flower", "flags of IP other than that of a fragment")
    return bool(wire.network_number(fields[_IP_FLAGS]) & _IS_FRAGMENT)


def _decode_icmp(fields: Mapping[int, bytes], proto: int | None, place: int) -> int | None:
    number = _ICMP[proto][place] if proto in _ICMP else None
    if number is None or number not in fields or not any(fields.get(number + 1, b"\xff")):
        return None
    return fields[number][0]


_MASKED = (_DST_MAC, _SRC_MAC, _ARP_SHA, *_SRC_IP, *_DST_IP, *_ENC_SRC, *_ENC_DST, _ARP_SIP, _ARP_TIP)
_KNOWN = frozenset(
    {ACTIONS, _ETH_TYPE, _IP_PROTO, FLAGS, _IN_HW_COUNT, _ENC_KEY_ID, _ENC_OPTS, _ENC_OPTS_MASK}
    | {n + more for n in (*_MASKED, _SRC_RANGE, _DST_RANGE, _ENC_DST_PORT, _IP_FLAGS) for more in (0, 1)}
    | {n for four in _PORTS.values() for n in four}
    | {n + more for two in _ICMP.values() for n in two for more in (0, 1)}
)
