# SPDX-License-Identifier: Apache-2.0
"""What is known of one leg, and what to ask next. Pure.

FIRST ── small and full-sized probe ─► both seen: DONE
  │ something is missing: that again
AGAIN ─► all seen: DONE
  │ the small one seen, the large one not ─► SEARCH, sizes until the largest that passes is known ─► DONE
  │ nothing seen, and the probes had options ─► BARE: one without, and perhaps again ─► DONE
  └ otherwise ─► DONE
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from controller.prober.model import Leg, OptionResult, Sighting
from controller.prober.patterns import compare
from ovs_geneve.geneve.probe import ETHERNET_HEADER, MIN_SIZE, Pattern

SIZES_AT_ONCE = 15
"Of a search: 1,400 bytes are told apart in three rounds."


MAX_FRAME = 60_000
"What fits into an OpenFlow message with all that goes with it; no underlay carries as much."


class Stage(Enum):
    """Where an inquiry stands."""

    FIRST = "first"
    AGAIN = "again"
    BARE = "bare"
    BARE_AGAIN = "bare, again"
    SEARCH = "search"
    DONE = "done"


class Question(NamedTuple):
    """A probe to send: which pattern, how large."""

    pattern: Pattern
    size: int


@dataclass(slots=True)
class Inquiry:
    """One leg."""

    leg: Leg
    stage: Stage = Stage.FIRST
    open: int = 0
    "Probes whose fate is not known yet, those that wait to be sent among them."
    sent: int = 0
    seen: set[Question] = field(default_factory=set)
    arrivals: int = 0
    echoes: int = 0
    rtt_min: float | None = None
    rtt_sum: float = 0.0
    options: tuple[OptionResult, ...] = ()
    "Of all that was seen with options: an option is verified if it was each time."
    surplus: str = ""
    altered: str = ""
    skipped: str = ""
    search_refused: bool = False
    "Too many legs want to be searched."
    too_large: int = 0
    "The smallest size that did not pass, once a search began."
    missed: list[Question] = field(default_factory=list)
    "Probes that were not seen in time."
    _asked: tuple[int, ...] = ()
    "The sizes that the search asked for last."

    @property
    def full(self) -> Question:
        """The probe as large as the network's ports may send."""
        size = self.leg.wanted_mtu + ETHERNET_HEADER
        return Question(Pattern.VALUE, min(max(MIN_SIZE, size), MAX_FRAME))

    @property
    def small(self) -> Question:
        """The small probe, with the other pattern."""
        return Question(Pattern.COMPLEMENT, MIN_SIZE)

    @property
    def passes(self) -> int:
        """The largest size that was seen; 0 is none."""
        return max((question.size for question in self.seen), default=0)

    @property
    def lost(self) -> int:
        """How many probes were not seen although packets of their size pass."""
        passes = self.passes
        return sum(not passes or question.size <= passes for question in self.missed)

    def first(self) -> list[Question]:
        """Return what to ask to begin with."""
        return [self.full, self.small]

    def take(self, question: Question, sighting: Sighting, where: str) -> None:
        """Note that a probe was seen, and how."""
        self.seen.add(question)
        leg = self.leg
        if sighting.vni != leg.target.vni:
            self.altered = f"arrives under VNI {sighting.vni}: want {leg.target.vni}"
        elif sighting.source not in leg.addresses and where == leg.destination:
            self.altered = f"arrives from {sighting.source}, which is no tunnel endpoint of {leg.source}"
        if question.pattern is Pattern.BARE:
            return
        results, surplus = compare(leg.target, question.pattern, sighting, where)
        self.options = _worse(self.options, results) if self.options else results
        self.surplus = self.surplus or surplus

    def echoed(self, seconds: float) -> None:
        """Note that an echo came back."""
        self.echoes += 1
        self.rtt_sum += seconds
        self.rtt_min = seconds if self.rtt_min is None else min(self.rtt_min, seconds)

    def next_questions(self) -> list[Question]:
        """Move on, once the fate of all that was asked is known; return what to ask next, nothing when done."""
        match self.stage:
            case Stage.FIRST:
                missing = [question for question in self.first() if question not in self.seen]
                return self._enter(Stage.AGAIN, missing)
            case Stage.AGAIN:
                return self._after_again()
            case Stage.BARE:
                bare = Question(Pattern.BARE, MIN_SIZE)
                return self._enter(Stage.BARE_AGAIN, [] if bare in self.seen else [bare])
            case Stage.SEARCH:
                return self._search()
            case Stage.BARE_AGAIN | Stage.DONE:
                return self._enter(Stage.DONE, [])

    def _after_again(self) -> list[Question]:
        if self.small in self.seen and self.full not in self.seen and not self.search_refused:
            self.too_large = self.full.size
            return self._search()
        if not self.seen and self.leg.target.options:
            return self._enter(Stage.BARE, [Question(Pattern.BARE, MIN_SIZE)])
        return self._enter(Stage.DONE, [])

    def _search(self) -> list[Question]:
        passes = self.passes
        asked = range(passes + 1, self.too_large)
        if self.stage is Stage.SEARCH:
            # What was asked last and is larger than what passes did not pass.
            larger = [size for size in self._asked if size > passes]
            self.too_large = min(larger, default=self.too_large)
            asked = range(passes + 1, self.too_large)
        self._asked = tuple(_spread(asked, SIZES_AT_ONCE))
        return self._enter(Stage.SEARCH, [Question(Pattern.VALUE, size) for size in self._asked])

    def _enter(self, stage: Stage, questions: list[Question]) -> list[Question]:
        self.stage = stage if questions else Stage.DONE
        return questions


def _spread(sizes: range, count: int) -> Iterator[int]:
    """Yield up to `count` of the sizes, evenly spread."""
    if len(sizes) <= count:
        yield from sizes
    else:
        yield from (sizes[(number + 1) * len(sizes) // (count + 1)] for number in range(count))


def _worse(before: Iterable[OptionResult], after: Iterable[OptionResult]) -> tuple[OptionResult, ...]:
    return tuple([two if one.verified else one for one, two in zip(before, after, strict=True)])
