# SPDX-License-Identifier: Apache-2.0
"""Names of devices, marks, chains and preferences on Linux hosts: nothing but this module knows them.

The mark of a packet (skb->mark) says who sent it, from where it enters the bridge to where it leaves it:

     31   30   29 … 16   15 … 0
    +----+----+--------+----------------+
    |  1 | T  |   0    | group identity |    T: it came through a tunnel. Identity 0: a sender without a group
    +----+----+--------+----------------+

0 is what the kernel says by itself (its answers to ARP and ND): it goes to no tunnel. A packet leaves for the underlay
with mark 0 as well: marks choose routes there, and firewalls look at them.

Chains of the devices, from where a packet comes in:

    workload    ingress   0 ─► its own addresses only, marked ─► bridge
    og-tVVVVVV  egress    0 ─► BY_HOST + host key: by source MAC, into the tunnel        a MAC that is there
                            └► FLOOD: by source MAC, a copy to every host                any other MAC
    og-geneve   ingress   0 ─► PEERS ─► VNIS ─► BY_VNI + VNI: marked ─► og-tVVVVVV, as if it had come in there
    workload    egress    0 ─► OPTIONS or by source MAC ─► option policies               ports that those are about
                            └► GROUPS ─► BY_GROUP + identity of the sender: policies     ports that those protect

In a network of IP, instead: workload ingress 0 ─► its own addresses only ─► DESTINATIONS: those of the network's ports
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from ovs_geneve.kernel.objects import FIRST_CHAIN, FIRST_PREFERENCE, LAST_PREFERENCE, MARK, Protocol

TUNNEL_DEVICE = "og-geneve"
"The device for the tunnels of all networks."

DEVICE_MTU = 65_000
"Where nobody says what the underlay carries, it is left to it."

OURS = 1 << 31
TUNNELLED = 1 << 30
SENDER_MASK = OURS | 0xFFFF
"Of the bits that say who sent it, from wherever."

FLOOD, PEERS, VNIS = FIRST_CHAIN + 1, FIRST_CHAIN + 2, FIRST_CHAIN + 3
DESTINATIONS, OPTIONS, GROUPS, OTHER_OPTIONS = (FIRST_CHAIN + number for number in range(4, 8))
BY_GROUP, BY_LIST, BY_SENDER = FIRST_CHAIN + 0x10000, FIRST_CHAIN + 0x20000, FIRST_CHAIN + 0x400000
"""On devices that are not ours all chains are between FIRST_CHAIN and LAST_CHAIN. An identity has 16 bits, and so has
what stands for a list of options; a port's key has 22."""
BY_HOST = BY_VNI = 1 << 24
"On devices of ours: keys have 22 bits, VNIs 24, chains 28 (tc-actions(8))."

FIRST = FIRST_PREFERENCE + 1
"The very first of chain 0 is kept for whoever changes filters, to shut the door meanwhile."
LAST = LAST_PREFERENCE

TABLES = 0x6E000000
"Routing tables are this and the VNI: small numbers are the kernel's own and the administrator's."

TOP_PRIORITY = 10_000
"The highest of a policy."

REST = 0xFFFF
"The last preference of a chain of ours."

_PLACES: dict[Protocol, int] = {"ip": 0, "ipv6": 1, "all": 2}
"Filters of one preference are of one protocol."

MAX_ACTIONS = 32
"Of a filter (include/net/act_api.h: TCA_ACT_MAX_PRIO)."


def bridge_of(vni: int) -> str:
    """Return the name of a network's bridge."""
    return f"og-b{vni:06x}"


def tunnel_port_of(vni: int) -> str:
    """Return the name of the port of a network's bridge that stands for all other hosts."""
    return f"og-t{vni:06x}"


def fixed_tunnel_of(vni: int, host_key: int) -> str:
    """Return the name of a network's own device towards one host; 15 characters, what the kernel has room for."""
    return f"og{vni:06x}x{host_key:x}"


def fixed_arrival_of(vni: int, host_key: int) -> str:
    """Return the name of the device that takes what a host sends from its endpoint of the other version of IP."""
    return f"og{vni:06x}y{host_key:x}"


def vrf_of(vni: int) -> str:
    """Return the name of the routing domain of a network that carries IP."""
    return f"og-v{vni:06x}"


def alias_of(what: str) -> str:
    """Return the alias that says that a device is ours, and what it is for."""
    return f"{MARK} {what}"


def mark_of(identity: int, *, tunnelled: bool = False) -> int:
    """Return the mark of what ports of a group send."""
    return OURS | (TUNNELLED if tunnelled else 0) | identity


def preference_of(priority: int, protocol: Protocol, *, allow: bool) -> int:
    """Return where a policy stands among others: the higher priority first, at one priority what keeps out."""
    return 1 + len(_PLACES) * (2 * (TOP_PRIORITY - priority) + allow) + _PLACES[protocol]


def mac_text(mac: int) -> str:
    """Return a MAC as ip-link(8) writes it."""
    return ":".join(f"{byte:02x}" for byte in mac.to_bytes(6))


def ipv4_text(address: int) -> str:
    """Return an IPv4 address."""
    return str(IPv4Address(address))


def ipv6_text(address: int) -> str:
    """Return an IPv6 address."""
    return str(IPv6Address(address))
