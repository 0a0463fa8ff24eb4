# SPDX-License-Identifier: Apache-2.0
"""What is seen on a host of its offload: devices, where megaflows or filters are. Pure; whoever runs there makes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ovs_geneve.megaflow import OptionHeader
from ovs_geneve.offload.nic import Nic
from ovs_geneve.offload.placement import Place, PlacedFlow, Way


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowCount:
    """Megaflows that are alike."""

    way: Way
    vnis: tuple[int, ...]
    options: tuple[OptionHeader, ...]
    place: Place
    keeps: tuple[str, ...]
    flows: int
    packets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterCount:
    """Filters of traffic control that are alike, on a host without Open vSwitch."""

    network: str
    "Empty for those that are of no network alone."
    device: str
    egress: bool
    filters: int
    in_hardware: int
    "Of which a driver said that its NIC has them."


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSight:
    """What was seen on a host a moment ago."""

    uplinks: tuple[Nic, ...] = ()
    "Devices that have the host's tunnel endpoints."
    ports: tuple[Nic, ...] = ()
    "Devices in its datapath."
    flows: tuple[FlowCount, ...] = ()
    filters: tuple[FilterCount, ...] = ()
    unread: int = 0
    "Lines of the dump that made no sense."
    problems: tuple[str, ...] = ()
    "What could not be seen, and why."


def counted(flows: Iterable[PlacedFlow]) -> tuple[FlowCount, ...]:
    """Put megaflows together that differ in nothing that a report says."""
    number, packets = Counter[PlacedFlow](), Counter[PlacedFlow]()
    for flow in flows:
        alike = PlacedFlow(
            way=flow.way,
            vnis=flow.vnis,
            options=flow.options,
            place=flow.place,
            packets=0,
            keeps=flow.keeps,
        )
        number[alike] += 1
        packets[alike] += flow.packets
    return tuple(
        FlowCount(
            way=one.way,
            vnis=tuple(sorted(one.vnis)),
            options=one.options,
            place=one.place,
            keeps=tuple(sorted(one.keeps)),
            flows=number[one],
            packets=packets[one],
        )
        for one in number
    )
