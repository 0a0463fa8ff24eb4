# SPDX-License-Identifier: Apache-2.0
"""Questions to the kernel's ethtool family over generic netlink, and their answers (linux/ethtool_netlink.h). Pure.

pyroute2 has neither features nor tunnel ports over netlink. Numbers are those of Linux
include/uapi/linux/ethtool_netlink.h and genetlink.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from ovs_geneve.kernel.wire import Message, attributes, nested, network_number, string, table, text
from ovs_geneve.offload.nic import Feature, TunnelPort

_CTRL, _GET_FAMILY = 0x10, 3
_FAMILY_ID, _FAMILY_NAME = 1, 2

FEATURES_GET = 11
TUNNEL_INFO_GET = 28
_DEVICE_NAME = 2

_HW, _ACTIVE, _NO_CHANGE = 2, 4, 5
_NO_MASK, _BITS, _BIT, _BIT_NAME, _BIT_VALUE = 1, 3, 1, 2, 3
_UDP_PORTS, _TABLE, _ENTRY = 2, 1, 3
_ENTRY_PORT, _ENTRY_TYPE = 1, 2
_GENERIC = struct.Struct("=BBxx")

TUNNEL_TYPES = {0: "vxlan", 1: "geneve", 2: "vxlan-gpe"}
"ETHTOOL_UDP_TUNNEL_TYPE_*."


def family_request() -> Message:
    """Ask for the number of the family."""
    return Message(_CTRL, _GENERIC.pack(_GET_FAMILY, 1) + text(_FAMILY_NAME, "ethtool"))


def family_id(answer: Message) -> int:
    """Read that number."""
    return int.from_bytes(table(answer.body[_GENERIC.size :])[_FAMILY_ID], "little")


def request(family: int, command: int, device: str) -> Message:
    """Ask something about a device; its header is the attribute 1 of every command."""
    return Message(family, _GENERIC.pack(command, 1) + nested(1, text(_DEVICE_NAME, device)))


def features(answer: Message, names: Iterable[str]) -> Mapping[str, Feature]:
    """Read features by name."""
    held = table(answer.body[_GENERIC.size :])
    can, active, fixed = (_names(held.get(number, b"")) for number in (_HW, _ACTIVE, _NO_CHANGE))
    return {name: Feature(name in active, name not in can or name in fixed) for name in names}


def tunnel_ports(answer: Message) -> tuple[TunnelPort, ...]:
    """Read the ports that a NIC was told."""
    held = table(answer.body[_GENERIC.size :])
    found = list[TunnelPort]()
    for number, one in attributes(held.get(_UDP_PORTS, b"")):
        entries = (value for kind, value in attributes(one) if kind == _ENTRY) if number == _TABLE else ()
        for entry in entries:
            told = table(entry)
            kind = int.from_bytes(told[_ENTRY_TYPE], "little")
            found.append(
                TunnelPort(network_number(told[_ENTRY_PORT]), TUNNEL_TYPES.get(kind, f"type {kind}"))
            )
    return tuple(sorted(found))


def _names(bitset: bytes) -> frozenset[str]:
    """Read the set bits of a bitset; one without a mask lists no others (ethtool-netlink.rst)."""
    held = table(bitset)
    bits = [table(bit) for number, bit in attributes(held.get(_BITS, b"")) if number == _BIT]
    return frozenset(string(bit[_BIT_NAME]) for bit in bits if _NO_MASK in held or _BIT_VALUE in bit)
