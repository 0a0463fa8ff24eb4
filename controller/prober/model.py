# SPDX-License-Identifier: Apache-2.0
"""What is probed, what comes back, and what that proves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controller.intent.model import Address
from ovs_geneve.geneve.fields import OptionLayout
from ovs_geneve.geneve.option import OPTION_HEADER_LENGTH
from ovs_geneve.geneve.probe import Pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """An option that the packets of a network carry, and the slot it has on every bridge."""

    layout: OptionLayout
    slot: int

    @property
    def name(self) -> str:
        """The schema's name."""
        return self.layout.name


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """A network, as far as probes are concerned."""

    network: str
    vni: int
    "The network's, or PROBE_VNI where one of the ends does not look at the O bit."
    options: tuple[Carried, ...] = ()
    "In slot order."

    @property
    def options_length(self) -> int:
        """Bytes that they take on the wire."""
        return sum(OPTION_HEADER_LENGTH + carried.layout.length for carried in self.options)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Leg:
    """One direction between two hosts, for one network over one IP version of the underlay."""

    target: Target
    source: str
    destination: str
    addresses: frozenset[Address] = frozenset()
    """The source host's endpoints of that version; which one a packet leaves from is for its routes to say. None where
    the two hosts have no version in common."""
    towards: Address
    "The destination host's preferred endpoint of that version."
    wanted_mtu: int
    "The largest IP packet that the network's ports may send this way."


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One probe to send."""

    leg: Leg
    sequence: int
    pattern: Pattern
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A packet with a probe in it, as a bridge reported it."""

    frame: bytes
    vni: int
    source: Address | None
    "The outer source address."
    options: Mapping[int, bytes] = field(default_factory=dict)
    "Data by slot: of options that the bridge does not map it tells nothing."


class Verdict(StrEnum):
    """What came of a leg, best first."""

    OK = "ok"
    LOSSY = "lossy"
    "All is proved, but some probes were lost and had to be sent again."
    SKIPPED = "skipped"
    "Not asked: a bridge is away, or the run ended before its turn."
    MTU = "mtu"
    "Reached, but not with packets as large as the network's ports may send."
    OPTIONS = "options"
    "Reached, but not with the options that were sent."
    ALTERED = "altered"
    "Reached, but under another VNI, from another address or at another host."
    UNREACHABLE = "unreachable"

    @property
    def failed(self) -> bool:
        """Tell whether somebody has to do something."""
        return self not in (Verdict.OK, Verdict.LOSSY)


RANK = {verdict: number for number, verdict in enumerate(Verdict)}
"For who wants the worst of several."


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionResult:
    """Whether an option arrived as it was sent."""

    option: str
    verified: bool
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What is proved of a leg."""

    leg: Leg
    verdict: Verdict
    reason: str = ""
    "What is wrong, for a person who can act on it."
    sent: int = 0
    seen: int = 0
    "At the far end, or by their echo where the far end is not ours to ask."
    echoes: int = 0
    lost: int = 0
    "Of those that should have arrived: probes larger than what passes are none of them."
    options: tuple[OptionResult, ...] = ()
    proved_mtu: int | None = None
    "The largest packet of a port that passed."
    rtt_min: float | None = None
    "Seconds from the packet-out to the echo's packet-in."
    rtt_average: float | None = None
