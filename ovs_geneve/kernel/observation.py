# SPDX-License-Identifier: Apache-2.0
"""What a kernel held when it was looked at. Values; `observe.py` looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ovs_geneve.kernel.codec_links import Interface
from ovs_geneve.kernel.objects import MAKING, MARK, FilterKey, GeneveLink, KernelState

EMPTY = KernelState()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """The filters of one preference, of whatever kind."""

    device: str
    egress: bool
    chain: int
    preference: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a kernel held when it was looked at."""

    state: KernelState = EMPTY
    interfaces: tuple[Interface, ...] = ()
    "All links, by which a workload's interface is found."
    broken: frozenset[str] = frozenset()
    "Links of ours that are down or differ in what Link has no field for."
    qdiscs: frozenset[str] = frozenset()
    "Devices with a clsact qdisc."
    foreign: frozenset[str] = frozenset()
    "Devices with filters of others in that qdisc."
    strange: frozenset[Preference] = frozenset()
    "Where we keep filters, filters that we never make."
    geneve: tuple[tuple[str, GeneveLink], ...] = ()
    "Geneve devices of others."
    in_hardware: frozenset[FilterKey] = frozenset()
    "Filters of ours that a driver said its NIC has."

    @property
    def by_name(self) -> Mapping[str, Interface]:
        """All links by their name."""
        return {one.name: one for one in self.interfaces}


def is_ours(interface: Interface) -> bool:
    """Tell whether a device carries our mark, or was made to get it."""
    return interface.alias.split(" ")[0] == MARK or interface.group == MAKING
