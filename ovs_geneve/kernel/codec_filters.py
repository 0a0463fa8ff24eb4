# SPDX-License-Identifier: Apache-2.0
"""Filters and their clsact qdisc <-> messages (linux/rtnetlink.h struct tcmsg, linux/pkt_cls.h).

MatchAll goes into the kernel as a flower filter without keys: cls_matchall cannot be replaced in place
(net/sched/cls_matchall.c: mall_change answers EEXIST), and a moment without the last filter of a chain lets
packets pass.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from pyroute2.netlink.rtnl import (
    RTM_DELQDISC,
    RTM_DELTFILTER,
    RTM_GETQDISC,
    RTM_GETTFILTER,
    RTM_NEWQDISC,
    RTM_NEWTFILTER,
)

from ovs_geneve.errors import DecodeError
from ovs_geneve.kernel import codec_flower, wire
from ovs_geneve.kernel.codec_actions import Indexes, Names, decode_actions, encode_actions
from ovs_geneve.kernel.objects import Filter, Flower, Fw, Match, MatchAll, Protocol
from ovs_geneve.kernel.wire import Message

_TCMSG = struct.Struct("=BxHiIII")
"family, pad, ifindex, handle, parent, info."
_KIND, _OPTIONS, _CHAIN = 1, 2, 11
_FW_ACTIONS, _FW_MASK = 4, 5
_IN_HARDWARE = 1 << 2
"TCA_CLS_FLAGS_IN_HW."
_CLSACT, _CLSACT_HANDLE = 0xFFFFFFF1, 0xFFFF0000
INGRESS, EGRESS = 0xFFFFFFF2, 0xFFFFFFF3
_PROTOCOLS: dict[Protocol, int] = {
    "all": 0x0003,
    "ip": 0x0800,
    "arp": 0x0806,
    "rarp": 0x8035,
    "802.1Q": 0x8100,
    "ipv6": 0x86DD,
    "802.1ad": 0x88A8,
}
_PROTOCOL_NAMES: dict[int, Protocol] = {number: name for name, number in _PROTOCOLS.items()}
_KINDS = {"flower", "fw"}


def kind_of(match: Match) -> str:
    """Return the classifier of a match."""
    return "fw" if isinstance(match, Fw) else "flower"


def add_qdisc(index: int) -> Message:
    """Encode the making of a clsact qdisc."""
    body = _TCMSG.pack(0, 0, index, _CLSACT_HANDLE, _CLSACT, 0) + wire.text(_KIND, "clsact")
    return Message(RTM_NEWQDISC, body, wire.CREATE | wire.EXCLUSIVE)


def remove_qdisc(index: int) -> Message:
    """Encode the end of a clsact qdisc."""
    body = _TCMSG.pack(0, 0, index, _CLSACT_HANDLE, _CLSACT, 0) + wire.text(_KIND, "clsact")
    return Message(RTM_DELQDISC, body)


def all_qdiscs() -> Message:
    """Ask for all qdiscs."""
    return Message(RTM_GETQDISC, _TCMSG.pack(0, 0, 0, 0, 0, 0))


def clsact_index(answer: Message) -> int | None:
    """Return the device of a clsact qdisc, None for another kind."""
    _, _, index, _, _, _ = _TCMSG.unpack_from(answer.body)
    kind = wire.string(wire.table(answer.body[_TCMSG.size :]).get(_KIND, b""))
    return index if kind == "clsact" else None


def all_filters(index: int, *, egress: bool) -> Message:
    """Ask for the filters of a device and direction, of all chains."""
    return Message(RTM_GETTFILTER, _TCMSG.pack(0, 0, index, 0, EGRESS if egress else INGRESS, 0))


def put_filter(one: Filter, indexes: Indexes) -> Message:
    """Encode that a filter be there, new or in the place of another one of its key."""
    match one.match:
        case Fw(mask=mask):
            actions = wire.nested(_FW_ACTIONS, encode_actions(one.actions, indexes))
            options = wire.u32(_FW_MASK, mask) + actions
        case Flower():
            options = _flower(one, one.match, indexes)
        case MatchAll():
            options = _flower(one, Flower(), indexes)
    body = _head(one, indexes) + wire.text(_KIND, kind_of(one.match)) + wire.nested(_OPTIONS, options)
    return Message(RTM_NEWTFILTER, body + wire.u32(_CHAIN, one.chain), wire.CREATE)


def remove_filter(one: Filter, indexes: Indexes) -> Message:
    """Encode the end of a filter."""
    body = _head(one, indexes) + wire.text(_KIND, kind_of(one.match)) + wire.u32(_CHAIN, one.chain)
    return Message(RTM_DELTFILTER, body)


def remove_preference(index: int, *, egress: bool, chain: int, preference: int) -> Message:
    """Encode the end of all filters of a preference, of whatever kind."""
    body = _TCMSG.pack(0, 0, index, 0, EGRESS if egress else INGRESS, preference << 16)
    return Message(RTM_DELTFILTER, body + wire.u32(_CHAIN, chain))


def place(answer: Message) -> tuple[int, int, int]:
    """Return chain, preference and handle of a filter; a handle of 0 is the head of its preference."""
    _, _, _, handle, _, info = _TCMSG.unpack_from(answer.body)
    fields = wire.table(answer.body[_TCMSG.size :])
    return wire.number(fields.get(_CHAIN, b"\0")), info >> 16, handle


def is_head(answer: Message) -> bool:
    """Tell whether this is only the head of a preference: the kernel lists it before its filters."""
    fields = wire.table(answer.body[_TCMSG.size :])
    return _OPTIONS not in fields or (place(answer)[2] == 0 and len(fields[_OPTIONS]) < 24)


def is_in_hardware(answer: Message) -> bool:
    """Tell whether a driver said that its NIC has a filter; nobody offers one of fw to any (net/sched/cls_fw.c)."""
    fields = wire.table(answer.body[_TCMSG.size :])
    if wire.string(fields.get(_KIND, b"")) != "flower":
        return False
    flags = wire.table(fields.get(_OPTIONS, b"")).get(codec_flower.FLAGS, b"")
    return bool(wire.number(flags) & _IN_HARDWARE)


def decode_filter(answer: Message, names: Names) -> Filter:
    """Decode a filter. Raises DecodeError for what has no place among the objects."""
    try:
        return _decoded(answer, names)
    except (KeyError, IndexError, ValueError, struct.error) as error:
        raise DecodeError("filter", f"unlike any of ours: {error}") from error


def _decoded(answer: Message, names: Names) -> Filter:
    _, _, index, handle, parent, info = _TCMSG.unpack_from(answer.body)
    fields = wire.table(answer.body[_TCMSG.size :])
    kind = wire.string(fields.get(_KIND, b""))
    protocol = _PROTOCOL_NAMES.get(wire.swapped(info & 0xFFFF))
    if protocol is None or kind not in _KINDS:
        raise DecodeError("filter", f"{kind} of protocol {wire.swapped(info & 0xFFFF):#x}")
    options = wire.table(fields[_OPTIONS])
    match, actions = _match(kind, options, handle)
    return Filter(
        device=names.get(index, f"#{index}"),
        egress=parent == EGRESS,
        chain=wire.number(fields.get(_CHAIN, b"\0")),
        preference=info >> 16,
        protocol=protocol,
        handle=handle,
        match=match,
        actions=decode_actions(actions, names),
    )


def _match(kind: str, options: Mapping[int, bytes], handle: int) -> tuple[Match, bytes]:
    if kind == "fw":
        mask = wire.number(options.get(_FW_MASK, b"\xff\xff\xff\xff"))
        return Fw(mark=handle, mask=mask), options.get(_FW_ACTIONS, b"")
    found = codec_flower.decode_flower(options)
    return (found if found != Flower() else MatchAll()), options.get(codec_flower.ACTIONS, b"")


def _flower(one: Filter, match: Flower, indexes: Indexes) -> bytes:
    actions = wire.nested(codec_flower.ACTIONS, encode_actions(one.actions, indexes))
    return codec_flower.encode_flower(match, one.protocol) + actions


def _head(one: Filter, indexes: Indexes) -> bytes:
    info = one.preference << 16 | wire.swapped(_PROTOCOLS[one.protocol])
    parent = EGRESS if one.egress else INGRESS
    return _TCMSG.pack(0, 0, indexes[one.device], one.handle, parent, info)
