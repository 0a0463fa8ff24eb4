# SPDX-License-Identifier: Apache-2.0
"""Where the megaflows of a host are: in a NIC, in traffic control, in Open vSwitch's own datapath, and what keeps them
there. Pure: takes what `ovs-appctl dpctl/dump-flows -m` prints.

The lines are read by the package `ovs`. It does not know every field that kernels have (key32 is IPv6's extension
headers), and takes no option's data of more than 16 bytes: both are cut out first. Lines that it cannot read all the
same are counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ovs.flow.kv import ParseError
from ovs.flow.odp import ODPFlow

from ovs_geneve.megaflow import OptionHeader

_KEY32 = re.compile(r"\bkey32\([^)]*\),?")
_OPTION_DATA = re.compile(r"(\{class=[^,}]*,type=[^,}]*,len=[^,}]*),[^}]*")


class Place(StrEnum):
    """Where packets of a megaflow are handled."""

    HARDWARE = "hardware"
    "A driver said that its NIC does (`offloaded:yes`)."
    PARTIAL = "partial"
    "In part by a NIC (`offloaded:partial`)."
    TC = "tc"
    "By traffic control, in software."
    OPENVSWITCH = "openvswitch"
    "By Open vSwitch's own datapath."


class Way(StrEnum):
    """Which way a megaflow's packets go."""

    FROM_TUNNEL = "from-tunnel"
    TO_TUNNEL = "to-tunnel"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedFlow:
    """One megaflow of packets that come out of tunnels or go into them."""

    way: Way
    vnis: frozenset[int]
    "Of several tunnels where it sends copies."
    options: tuple[OptionHeader, ...]
    place: Place
    packets: int
    keeps: frozenset[str]
    "Codes of actions that keep it out of traffic control, as far as they are known to."


@dataclass(frozen=True, slots=True)
class Dump:
    """What a dump tells."""

    flows: tuple[PlacedFlow, ...]
    unread: int
    "Lines that could not be made sense of."


_KEEPS = {
    "userspace": "userspace",
    "hash": "dp-hash",
    "sample": "sample",
    "ct": "conntrack",
    "clone": "clone",
    "trunc": "truncate",
}
"""Actions that OVS lib/netdev-offload-tc.c puts into no rule (netdev_tc_parse_nl_actions), and `ct`, which it puts into
some."""

REASONS: Mapping[str, tuple[str, str]] = {
    "userspace": (
        "its packets, or copies of them, go to the controller or through ovs-vswitchd",
        "see which policy asks for it: logging, probes, options that ovs-vswitchd has to write itself",
    ),
    "dp-hash": ("a bucket is chosen by a hash that traffic control does not have", "no group of select type"),
    "sample": ("packets are sampled (sFlow, IPFIX)", "end sampling on this bridge"),
    "conntrack": (
        "connections are tracked, and this kernel cannot share that with traffic control",
        "a kernel with CONFIG_NET_TC_SKB_EXT, or stateless policies",
    ),
    "clone": ("it works on copies", ""),
    "truncate": ("copies are cut short", ""),
    "recirculated": (
        "the first look at its packets was Open vSwitch's",
        "see the megaflow that recirculates",
    ),
    "refused": (
        "traffic control or a driver refused it: ovs-vswitchd's log says why",
        "vlog/set netdev_offload_tc:dbg",
    ),
}
"What is said of megaflows that stay in Open vSwitch's datapath, and what to change."


def parse_dump(dump: str) -> Dump:
    """Read the megaflows of tunnels in a dump; others are passed over."""
    flows, unread = list[PlacedFlow](), 0
    for line in dump.splitlines():
        if "tunnel(" not in line:
            continue  # reading a line costs a millisecond
        try:
            flow = ODPFlow(_OPTION_DATA.sub(r"\1", _KEY32.sub("", line.strip())))
            flows += _placed(flow.match, list(flow.actions), flow.info)
        except (ParseError, ValueError, KeyError, TypeError):
            unread += 1
    return Dump(tuple(flows), unread)


def _placed(match: Any, actions: list[Any], info: Any) -> Iterator[PlacedFlow]:
    received = match.get("tunnel")
    sent = [action["set"]["tunnel"] for action in actions if "tunnel" in action.get("set", {})]
    place = _place(info)
    keeps = frozenset(code for action in actions for name, code in _KEEPS.items() if name in action)
    if place is Place.OPENVSWITCH and not keeps:
        keeps = frozenset({"recirculated" if match.get("recirc_id") else "refused"})
    packets = int(info["packets"])
    if received is not None:
        yield PlacedFlow(
            way=Way.FROM_TUNNEL,
            vnis=_vnis([received]),
            options=_options(received),
            place=place,
            packets=packets,
            keeps=keeps,
        )
    if sent:
        yield PlacedFlow(
            way=Way.TO_TUNNEL,
            vnis=_vnis(sent),
            options=_options(sent[0]),
            place=place,
            packets=packets,
            keeps=keeps,
        )


def _place(info: Any) -> Place:
    match str(info.get("offloaded", "no")):
        case "yes":
            return Place.HARDWARE
        case "partial":
            return Place.PARTIAL
        case _:
            return Place.TC if info.get("dp") == "tc" else Place.OPENVSWITCH


def _vnis(tunnels: list[Any]) -> frozenset[int]:
    return frozenset(_number(tunnel["tun_id"]) for tunnel in tunnels if "tun_id" in tunnel)


def _options(tunnel: Any) -> tuple[OptionHeader, ...]:
    told = (
        OptionHeader(_number(one["class"]), _number(one["type"]), _number(one["len"]))
        for one in tunnel.get("geneve", ())
    )
    # Where nothing is compared, not even lengths, zeros are printed.
    return tuple(one for one in told if one != OptionHeader(0, 0, 0))


def _number(value: Any) -> int:
    """Decode a masked number, whatever its mask."""
    return int(getattr(value, "value", value))
