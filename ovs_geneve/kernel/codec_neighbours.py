# SPDX-License-Identifier: Apache-2.0
"""Forwarding entries, neighbours and routes <-> messages (linux/neighbour.h, rtnetlink.h, lwtunnel.h)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import ip_address, ip_network

from pyroute2.netlink.rtnl import (
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_GETNEIGH,
    RTM_GETROUTE,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
)

from ovs_geneve.errors import DecodeError
from ovs_geneve.kernel import wire
from ovs_geneve.kernel.codec_actions import Indexes, Names
from ovs_geneve.kernel.codec_options import decode_options, encode_options
from ovs_geneve.kernel.objects import Encap, Fdb, Neighbour, Route
from ovs_geneve.kernel.wire import Message

ROUTE_PROTOCOL = 110
"Marks our routes, in whatever table (rtnetlink.h: rtm_protocol; /etc/iproute2/rt_protos leaves it free)."

_NDMSG = struct.Struct("=BxxxiHBB")
"family, ifindex, state, flags, type."
_BRIDGE, _INET, _INET6 = 7, 2, 10
_STATIC, _PERMANENT = 0x40, 0x80
"NUD_NOARP, which bridge(8) calls static, and NUD_PERMANENT."
_ON_MASTER, _PROXY = 0x04, 0x08
_DST, _LLADDR, _ND_MASTER = 1, 2, 9

_RTMSG = struct.Struct("=BBBBBBBBI")
"family, dst_len, src_len, tos, table, protocol, scope, type, flags."
_LINK_SCOPE, _UNICAST, _MAIN = 253, 1, 254
_RTA_DST, _RTA_OIF, _RTA_TABLE, _RTA_ENCAP_TYPE, _RTA_ENCAP = 1, 4, 15, 21, 22
_ENCAP_IP, _ENCAP_IP6 = 2, 4
_LWT_ID, _LWT_DST, _LWT_TTL, _LWT_TOS, _LWT_FLAGS, _LWT_OPTIONS = 1, 2, 4, 5, 6, 8
_KEY_FLAG = 0x04
"TUNNEL_KEY, linux/if_tunnel.h."


def put_fdb(one: Fdb, indexes: Indexes) -> Message:
    """Encode that a MAC is behind a bridge's port, wherever it was."""
    return Message(RTM_NEWNEIGH, _fdb(one, indexes), wire.CREATE | wire.REPLACE)


def remove_fdb(one: Fdb, indexes: Indexes) -> Message:
    """Encode the end of a forwarding entry of this port; one of another port stays."""
    return Message(RTM_DELNEIGH, _fdb(one, indexes))


def all_fdb() -> Message:
    """Ask for all forwarding entries."""
    return Message(RTM_GETNEIGH, _NDMSG.pack(_BRIDGE, 0, 0, 0, 0))


def decode_fdb(answer: Message, names: Names) -> tuple[Fdb, int] | None:
    """Decode a static entry and its bridge; None for learned, local and devices' own entries."""
    family, index, state, _, _ = _NDMSG.unpack_from(answer.body)
    fields = wire.table(answer.body[_NDMSG.size :])
    if family != _BRIDGE or state != _STATIC or _ND_MASTER not in fields or index not in names:
        return None
    return Fdb(device=names[index], mac=wire.mac_text(fields[_LLADDR])), wire.number(fields[_ND_MASTER])


def put_neighbour(one: Neighbour, indexes: Indexes) -> Message:
    """Encode that a neighbour or proxy entry be there."""
    return Message(RTM_NEWNEIGH, _neighbour(one, indexes), wire.CREATE | wire.REPLACE)


def remove_neighbour(one: Neighbour, indexes: Indexes) -> Message:
    """Encode the end of a neighbour or proxy entry."""
    return Message(RTM_DELNEIGH, _neighbour(one, indexes))


def all_neighbours(*, version: int, proxies: bool = False) -> Message:
    """Ask for all neighbours of an IP version, or for the proxy entries."""
    family = _INET if version == 4 else _INET6
    return Message(RTM_GETNEIGH, _NDMSG.pack(family, 0, 0, _PROXY if proxies else 0, 0))


def decode_neighbour(answer: Message, names: Names) -> Neighbour | None:
    """Decode a permanent neighbour or a proxy entry; None for what the kernel learned."""
    _, index, state, flags, _ = _NDMSG.unpack_from(answer.body)
    fields = wire.table(answer.body[_NDMSG.size :])
    if index not in names or _DST not in fields:
        return None
    address = wire.address_text(fields[_DST])
    if flags & _PROXY:
        return Neighbour(device=names[index], address=address)
    if state != _PERMANENT or _LLADDR not in fields:
        return None
    return Neighbour(device=names[index], address=address, mac=wire.mac_text(fields[_LLADDR]))


def put_route(one: Route, indexes: Indexes) -> Message:
    """Encode that a route be there."""
    return Message(RTM_NEWROUTE, _route(one, indexes), wire.CREATE | wire.REPLACE)


def remove_route(one: Route, indexes: Indexes) -> Message:
    """Encode the end of a route."""
    return Message(RTM_DELROUTE, _route(one, indexes))


def all_routes(*, version: int) -> Message:
    """Ask for all routes of an IP version."""
    return Message(RTM_GETROUTE, _RTMSG.pack(_INET if version == 4 else _INET6, 0, 0, 0, 0, 0, 0, 0, 0))


def decode_route(answer: Message, names: Names) -> Route | None:
    """Decode a route of ours, None for others. Raises DecodeError for an encapsulation we never make."""
    family, length, _, _, table, protocol, _, kind, _ = _RTMSG.unpack_from(answer.body)
    fields = wire.table(answer.body[_RTMSG.size :])
    index = wire.number(fields.get(_RTA_OIF, b"\0"))
    if protocol != ROUTE_PROTOCOL or kind != _UNICAST or index not in names:
        return None
    dst = wire.address_text(fields.get(_RTA_DST, bytes(4 if family == _INET else 16)))
    return Route(
        table=wire.number(fields[_RTA_TABLE]) if _RTA_TABLE in fields else table,
        prefix=f"{dst}/{length}",
        device=names[index],
        encap=_decode_encap(fields) if _RTA_ENCAP in fields else None,
    )


def _fdb(one: Fdb, indexes: Indexes) -> bytes:
    head = _NDMSG.pack(_BRIDGE, indexes[one.device], _STATIC, _ON_MASTER, 0)
    return head + wire.attribute(_LLADDR, wire.mac_bytes(one.mac))


def _neighbour(one: Neighbour, indexes: Indexes) -> bytes:
    address = ip_address(one.address)
    family = _INET if address.version == 4 else _INET6
    flags = 0 if one.mac else _PROXY
    head = _NDMSG.pack(family, indexes[one.device], _PERMANENT, flags, 0)
    mac = wire.attribute(_LLADDR, wire.mac_bytes(one.mac)) if one.mac else b""
    return head + wire.attribute(_DST, address.packed) + mac


def _route(one: Route, indexes: Indexes) -> bytes:
    network = ip_network(one.prefix)
    version4 = network.version == 4
    head = _RTMSG.pack(
        _INET if version4 else _INET6,
        network.prefixlen,
        0,
        0,
        0,
        ROUTE_PROTOCOL,
        _LINK_SCOPE if version4 else 0,
        _UNICAST,
        0,
    )
    fields = wire.u32(_RTA_TABLE, one.table) + wire.attribute(_RTA_DST, network.network_address.packed)
    fields += wire.u32(_RTA_OIF, indexes[one.device])
    return head + fields + (_encap(one.encap) if one.encap else b"")


def _encap(encap: Encap) -> bytes:
    dst = ip_address(encap.dst)
    kind = _ENCAP_IP if dst.version == 4 else _ENCAP_IP6
    options = (wire.nested(_LWT_OPTIONS, encode_options(encap.options)),) if encap.options else ()
    return wire.u16(_RTA_ENCAP_TYPE, kind) + wire.nested(
        _RTA_ENCAP,
        wire.be64(_LWT_ID, encap.vni),
        wire.attribute(_LWT_DST, dst.packed),
        wire.u8(_LWT_TTL, encap.ttl),
        wire.u8(_LWT_TOS, encap.tos),
        wire.be16(_LWT_FLAGS, _KEY_FLAG),
        *options,
    )


def _decode_encap(fields: Mapping[int, bytes]) -> Encap:
    kind = wire.number(fields.get(_RTA_ENCAP_TYPE, b"\0"))
    if kind not in (_ENCAP_IP, _ENCAP_IP6):
        raise DecodeError("route", f"encapsulation {kind}")
    inner = wire.table(fields[_RTA_ENCAP])
    return Encap(
        vni=wire.network_number(inner.get(_LWT_ID, b"\0")),
        dst=wire.address_text(inner[_LWT_DST]),
        ttl=wire.number(inner.get(_LWT_TTL, b"\0")),
        tos=wire.number(inner.get(_LWT_TOS, b"\0")),
        options=decode_options(inner.get(_LWT_OPTIONS, b"")),
    )
