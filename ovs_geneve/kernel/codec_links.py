# SPDX-License-Identifier: Apache-2.0
"""Links <-> messages (linux/if_link.h IFLA_*, IFLA_GENEVE_*, IFLA_BR_*, IFLA_BRPORT_*, IFLA_VRF_*)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from pyroute2.netlink.rtnl import RTM_DELLINK, RTM_GETLINK, RTM_NEWLINK

from ovs_geneve.errors import DecodeError
from ovs_geneve.kernel import wire
from ovs_geneve.kernel.objects import (
    MAKING,
    BridgeLink,
    BridgePort,
    DummyLink,
    GeneveLink,
    Link,
    LinkKind,
    VrfLink,
)
from ovs_geneve.kernel.wire import Message

_IFINFOMSG = struct.Struct("=BxHiII")
"family, type, index, flags, change."
_UP = 1
_ADDRESS, _NAME, _MTU, _MASTER, _LINKINFO, _ALIAS, _PROPERTIES, _ALT_NAME = 1, 3, 4, 10, 18, 20, 52, 53
_GROUP = 27
_KIND, _DATA, _SLAVE_KIND, _SLAVE_DATA = 1, 2, 4, 5
_ID, _REMOTE, _TTL, _TOS, _PORT, _EXTERNAL, _REMOTE6, _CSUM = 1, 2, 3, 4, 5, 6, 7, 8
_ZERO6_TX, _ZERO6_RX, _TTL_INHERIT, _DF, _INNER = 9, 10, 12, 13, 14
_DFS: tuple[Literal["unset", "set", "inherit"], ...] = ("unset", "set", "inherit")
_STP_STATE = 5
_BRIDGE_OFF = (1, _STP_STATE, 7, 23)
"IFLA_BR_FORWARD_DELAY, _STP_STATE, _VLAN_FILTERING, _MCAST_SNOOPING: all 0."
_LEARNING, _FLOODS, _SUPPRESS, _ISOLATED = 8, (9, 27, 30), 32, 33
"IFLA_BRPORT_*; the floods are of unknown unicast, of multicast and of broadcast."
_VRF_TABLE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A link as the kernel lists it, ours or not."""

    index: int
    name: str
    kind: str = ""
    alias: str = ""
    group: int = 0
    altnames: tuple[str, ...] = ()
    mac: str = ""
    mtu: int = 0
    master: int = 0
    up: bool = False
    data: bytes = b""
    "Of its kind, as the kernel has it (IFLA_INFO_DATA)."
    port: BridgePort | None = None
    "When it is a bridge's port."


def all_links() -> Message:
    """Ask for all links."""
    return Message(RTM_GETLINK, _IFINFOMSG.pack(0, 0, 0, 0, 0))


def decode_interface(answer: Message) -> Interface:
    """Decode a link."""
    _, _, index, flags, _ = _IFINFOMSG.unpack_from(answer.body)
    fields = wire.table(answer.body[_IFINFOMSG.size :])
    info = wire.table(fields.get(_LINKINFO, b""))
    is_port = wire.string(info.get(_SLAVE_KIND, b"")) == "bridge"
    properties = wire.attributes(fields.get(_PROPERTIES, b""))
    return Interface(
        index=index,
        name=wire.string(fields.get(_NAME, b"")),
        kind=wire.string(info.get(_KIND, b"")),
        alias=wire.string(fields.get(_ALIAS, b"")),
        group=wire.number(fields.get(_GROUP, b"\0")),
        altnames=tuple(wire.string(value) for number, value in properties if number == _ALT_NAME),
        mac=wire.mac_text(fields.get(_ADDRESS, b"")),
        mtu=wire.number(fields.get(_MTU, b"\0")),
        master=wire.number(fields.get(_MASTER, b"\0")),
        up=bool(flags & _UP),
        data=info.get(_DATA, b""),
        port=_decode_port(wire.table(info.get(_SLAVE_DATA, b""))) if is_port else None,
    )


def decode_kind(interface: Interface) -> LinkKind:
    """Decode what a link is. Raises DecodeError for kinds that are never ours and bridges that do more."""
    data = wire.table(interface.data)
    match interface.kind:
        case "geneve":
            return decode_geneve(data)
        case "bridge":
            if any(any(data.get(number, b"")) for number in _BRIDGE_OFF):
                raise DecodeError(interface.name, "a bridge with STP, VLANs or multicast snooping")
            return BridgeLink()
        case "dummy":
            return DummyLink()
        case "vrf":
            return VrfLink(table=wire.number(data[_VRF_TABLE]))
    raise DecodeError(interface.name, f"a device of kind {interface.kind or 'none'}")


def decode_geneve(data: Mapping[int, bytes]) -> GeneveLink:
    """Decode the attributes of a geneve device; of checksums the kernel tells only those of its family."""
    external = _EXTERNAL in data
    remote = data.get(_REMOTE) or data.get(_REMOTE6) or b""
    ttl, tos = wire.number(data.get(_TTL, b"\0")), wire.number(data.get(_TOS, b"\0"))
    return GeneveLink(
        vni=None if external else wire.number(data.get(_ID, b"\0")),
        remote=wire.address_text(remote) if remote and not external else None,
        dst_port=wire.network_number(data.get(_PORT, b"\0")),
        ttl="inherit" if any(data.get(_TTL_INHERIT, b"")) else ttl or "auto",
        tos="inherit" if tos == 1 else tos,
        df=_DFS[wire.number(data.get(_DF, b"\0"))],
        udp_csum=bool(wire.number(data.get(_CSUM, b"\1"))),
        udp6_zero_csum_tx=bool(wire.number(data.get(_ZERO6_TX, b"\0"))),
        udp6_zero_csum_rx=bool(wire.number(data.get(_ZERO6_RX, b"\0"))),
        inner_proto_inherit=_INNER in data,
    )


def add_link(link: Link) -> Message:
    """Encode the making of a link, still down, without a master, and in the group of those without their alias."""
    info = wire.nested(_LINKINFO, wire.text(_KIND, kind_name(link.kind)), *_data(link.kind, new=True))
    body = _IFINFOMSG.pack(0, 0, 0, 0, 0) + _common(link) + making() + info
    return Message(RTM_NEWLINK, body, wire.CREATE | wire.EXCLUSIVE)


def making() -> bytes:
    """Encode that a link which is made is ours, though it has no alias yet."""
    return wire.u32(_GROUP, MAKING)


def change_link(link: Link, index: int) -> Message:
    """Encode what of a link can be changed as it stands."""
    data = _data(link.kind, new=False)
    # Without data geneve refuses to be spoken of at all (geneve.c: geneve_validate).
    info = wire.nested(_LINKINFO, wire.text(_KIND, kind_name(link.kind)), *data) if data else b""
    return Message(RTM_NEWLINK, _IFINFOMSG.pack(0, 0, index, 0, 0) + _common(link, rename=False) + info)


def stop_spanning_tree(index: int) -> Message:
    """Encode the end of a bridge's STP; while it runs a forward delay of 0 is refused (br_stp.c, ERANGE)."""
    data = wire.nested(_DATA, _zero(_STP_STATE))
    info = wire.nested(_LINKINFO, wire.text(_KIND, "bridge"), data)
    return Message(RTM_NEWLINK, _IFINFOMSG.pack(0, 0, index, 0, 0) + info)


def set_alias(index: int, alias: str) -> Message:
    """Encode a link's alias; RTM_NEWLINK of a new link ignores it (net/core/rtnetlink.c: rtnl_newlink_create)."""
    named = wire.attribute(_ALIAS, alias.encode()) + wire.u32(_GROUP, 0)
    return Message(RTM_NEWLINK, _IFINFOMSG.pack(0, 0, index, 0, 0) + named)


def set_master(index: int, master: int) -> Message:
    """Encode whose slave a link is; 0 is nobody's."""
    return Message(RTM_NEWLINK, _IFINFOMSG.pack(0, 0, index, 0, 0) + wire.u32(_MASTER, master))


def set_mtu(index: int, mtu: int) -> Message:
    """Encode a link's MTU."""
    return Message(RTM_NEWLINK, _IFINFOMSG.pack(0, 0, index, 0, 0) + wire.u32(_MTU, mtu))


def set_port(index: int, port: BridgePort) -> Message:
    """Encode how a link is a bridge's port."""
    fields = [wire.u8(_LEARNING, port.learning), *(wire.u8(one, port.flood) for one in _FLOODS)]
    fields += [wire.u8(_SUPPRESS, port.neigh_suppress), wire.u8(_ISOLATED, port.isolated)]
    info = wire.nested(_LINKINFO, wire.text(_SLAVE_KIND, "bridge"), wire.nested(_SLAVE_DATA, *fields))
    return Message(RTM_NEWLINK, _IFINFOMSG.pack(0, 0, index, 0, 0) + info)


def set_up(index: int) -> Message:
    """Encode that a link is up."""
    return Message(RTM_NEWLINK, _IFINFOMSG.pack(0, 0, index, _UP, _UP))


def remove_link(index: int) -> Message:
    """Encode the end of a link."""
    return Message(RTM_DELLINK, _IFINFOMSG.pack(0, 0, index, 0, 0))


def kind_name(kind: LinkKind) -> str:
    """Return the kernel's name of a kind of link."""
    match kind:
        case GeneveLink():
            return "geneve"
        case BridgeLink():
            return "bridge"
        case DummyLink():
            return "dummy"
        case VrfLink():
            return "vrf"


def _common(link: Link, *, rename: bool = True) -> bytes:
    mac = wire.attribute(_ADDRESS, wire.mac_bytes(link.mac)) if link.mac else b""
    return (wire.text(_NAME, link.name) if rename else b"") + wire.u32(_MTU, link.mtu) + mac


def _data(kind: LinkKind, *, new: bool) -> tuple[bytes, ...]:
    match kind:
        case GeneveLink():
            fields = _geneve(kind) if new else _changeable(kind, new=False)
            # An external device refuses even an empty change (geneve.c: geneve_changelink).
            return (wire.nested(_DATA, *fields),) if fields else ()
        case BridgeLink():
            return (wire.nested(_DATA, *(_zero(number) for number in _BRIDGE_OFF)),)
        case VrfLink():
            return (wire.nested(_DATA, wire.u32(_VRF_TABLE, kind.table)),) if new else ()
        case DummyLink():
            return ()


def _zero(number: int) -> bytes:
    # forward delay and STP state are 32 bits, the other two a byte (br_netlink.c: br_policy)
    return wire.u32(number, 0) if number in (1, _STP_STATE) else wire.u8(number, 0)


def _geneve(kind: GeneveLink) -> list[bytes]:
    port = wire.be16(_PORT, kind.dst_port)
    inner = [wire.attribute(_INNER, b"")] if kind.inner_proto_inherit else []
    if kind.vni is None or kind.remote is None:
        # An external device refuses what comes with each packet (geneve.c: is_tnl_info_zero).
        return [port, wire.attribute(_EXTERNAL, b""), wire.u8(_ZERO6_RX, kind.udp6_zero_csum_rx), *inner]
    checksums = (
        [wire.u8(_CSUM, kind.udp_csum)]
        if ip_address(kind.remote).version == 4
        else [wire.u8(_ZERO6_TX, kind.udp6_zero_csum_tx)]
    )
    checksums.append(wire.u8(_ZERO6_RX, kind.udp6_zero_csum_rx))
    return [wire.u32(_ID, kind.vni), port, *_changeable(kind, new=True), *checksums, *inner]


def _changeable(kind: GeneveLink, *, new: bool) -> list[bytes]:
    # geneve.c: geneve_nl2info refuses all others of a device that exists, be they as they were.
    if kind.vni is None or kind.remote is None:
        return []
    remote = ip_address(kind.remote)
    # An IPv6 remote also sets both checksums to their defaults.
    keeps = not new and (kind.udp6_zero_csum_tx or kind.udp6_zero_csum_rx) and remote.version == 6
    where = wire.attribute(_REMOTE if remote.version == 4 else _REMOTE6, remote.packed)
    ttl = [wire.u8(_TTL_INHERIT, 1)] if kind.ttl == "inherit" else []
    if isinstance(kind.ttl, int) or kind.ttl == "auto":
        ttl = [wire.u8(_TTL, kind.ttl if isinstance(kind.ttl, int) else 0)]
    return [
        *(() if keeps else (where,)),
        *ttl,
        wire.u8(_TOS, 1 if kind.tos == "inherit" else kind.tos),
        wire.u8(_DF, _DFS.index(kind.df)),
    ]


def _decode_port(data: Mapping[int, bytes]) -> BridgePort:
    def flag(number: int, default: bytes = b"\0") -> bool:
        return any(data.get(number, default))

    return BridgePort(
        learning=flag(_LEARNING),
        flood=all(flag(number, b"\1") for number in _FLOODS),
        neigh_suppress=flag(_SUPPRESS),
        isolated=flag(_ISOLATED),
    )
