# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the options of a packet, as Open vSwitch sees it and as its network has it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from ovs_geneve.geneve.option import OPTION_HEADER_LENGTH
from ovs_geneve.megaflow import NOTHING, OptionHeader, TunnelMegaflow
from ovs_geneve.openflow.tlv_table import TlvMap
from ovs_geneve.values import is_critical


class Fault(StrEnum):
    """What a peer did wrong."""

    UNKNOWN_CRITICAL = "unknown-critical"
    WRONG_LENGTH = "wrong-length"
    MALFORMED = "malformed"
    DUPLICATE = "duplicate"
    NOT_CARRIED = "not-carried"
    UNTOLD = "untold"
    "It was one of the first three; the kernel's datapath does not tell which (docs/decisions/0006-bad-options.md)."
    OUTDATED = "outdated"
    "It was one of them when it came; the bridge has another TLV map now."


class Verdict(NamedTuple):
    """A fault, and the option that it is about; None where the bytes make no option, or nobody tells of it."""

    fault: Fault
    option: OptionHeader | None = None
    length: int = 0
    "Bytes of all options of the packet, where nothing else is told."


@dataclass(frozen=True, slots=True)
class Rules:
    """What a host understands and what its networks carry."""

    lengths: Mapping[tuple[int, int], int]
    "Of mapped options, by class and type."
    carried: Mapping[int, frozenset[tuple[int, int]]]
    "Options of each network, by VNI."

    @classmethod
    def of(cls, maps: Iterable[TlvMap], carried: Mapping[int, frozenset[tuple[int, int]]]) -> Rules:
        """Take a TLV map."""
        return cls({(one.option_class, one.option_type): one.length for one in maps}, carried)

    def good_length(self, vni: int) -> int:
        """Return how many bytes the options of a network's packets take together."""
        return sum(OPTION_HEADER_LENGTH + self.lengths.get(key, 0) for key in self.carried.get(vni, ()))


def judge(flow: TunnelMegaflow, rules: Rules) -> Verdict | None:
    """Say what is wrong with the options of a megaflow's packets; None if nothing is."""
    if flow.untold:
        return Verdict(Fault.UNTOLD, length=flow.untold) if flow.refused_unseen else None
    unseen = _refused_by_ovs(flow, rules)
    if unseen is not None or flow.refused_unseen:
        return unseen or Verdict(Fault.OUTDATED)
    carried = rules.carried.get(flow.tun_id)
    seen = set[tuple[int, int]]()
    for option in flow.options:
        key = option.option_class, option.option_type
        if key in seen and option != NOTHING:
            return Verdict(Fault.DUPLICATE, option)
        seen.add(key)
        if key in rules.lengths and carried is not None and key not in carried:
            return Verdict(Fault.NOT_CARRIED, option)
    return None


def _refused_by_ovs(flow: TunnelMegaflow, rules: Rules) -> Verdict | None:
    """Say at what OVS gives up (lib/tun-metadata.c, tun_metadata_from_geneve_udpif)."""
    for option in flow.options:
        length = rules.lengths.get((option.option_class, option.option_type))
        if length is None and is_critical(option.option_type):
            return Verdict(Fault.UNKNOWN_CRITICAL, option)
        if length is not None and length != option.length:
            return Verdict(Fault.WRONG_LENGTH, option)
    return Verdict(Fault.MALFORMED) if flow.malformed else None
