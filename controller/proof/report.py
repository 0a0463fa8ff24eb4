# SPDX-License-Identifier: Apache-2.0
"""What a proof comes to. Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Breach(StrEnum):
    """What went wrong with packets."""

    FOREIGN = "foreign-port"
    "They reach a port of another network."
    INTRUDER = "intruder"
    "They come from no port and no host that is declared, and get somewhere."
    NOBODY = "nobodys-port"
    "They leave by a port that is no logical port."
    LEAVES = "leaves"
    "They go to an address that is no declared host's."
    SPOOFED = "spoofed-source"
    "They say of themselves what their sender may not say."
    OPTION = "guest-in-option"
    "Options, VNI or addresses of their tunnel are what a guest wrote."


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """A flow that the packet hit."""

    host: str
    table: str
    priority: int
    cookie: int
    caused_by: str
    "The object behind the flow, as port/web1; nothing where it is the pipeline's own."


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A packet that breaks isolation."""

    breach: Breach
    reason: str
    sender: str
    "Port and host, or who else sends it."
    packet: str
    "As ovs-ofctl writes a match; what is not there is zero."
    path: tuple[Hop, ...]
    out_of: str
    "Where it got out."


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """What could neither be proved nor be shown with a packet."""

    sender: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was proved of an intent's flows, or what was found."""

    revision: int
    hosts: int
    networks: int
    ports: int
    "Plugged into a host whose flows were looked at."
    flows: int
    sets: int
    "Sets of packets that were followed."
    deliveries: int
    "Of those, that came to a port."
    violations: tuple[Violation, ...] = ()
    doubts: tuple[Doubt, ...] = ()

    @property
    def isolated(self) -> bool:
        """Whether everything was proved."""
        return not self.violations and not self.doubts


OUT_OF_SCOPE = (
    "what a declared host sends of its own: whoever is at a declared tunnel endpoint is believed",
    "hosts without Open vSwitch and those of another controller: only that what goes to them has the sender's VNI",
    "source MACs of frames that ports pass on which packets are steered through",
    "what switches do that do not hold these flows: bugs of Open vSwitch, flows of others, the time while flows change",
    "what a policy allows or forbids between ports of one network",
    "what the controller sends by itself: probes, and nothing to a port",
)
"What is not proved, in the words that reports use."
