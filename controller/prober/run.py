# SPDX-License-Identifier: Apache-2.0
"""One run of the prober as a state machine: what to send now, what was seen, what is proved. Time is an argument. Pure.

take(now) ─► shots to send        arrived(…) ◄─ what bridges report        unsent(…) ◄─ a bridge that is away
finished ─► results()             due(now) ─► when to ask again
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from controller.prober.inquiry import Inquiry, Question, Stage
from controller.prober.model import Leg, Result, Shot, Sighting
from controller.prober.pace import Limits, Pacer
from controller.prober.verdicts import results
from ovs_geneve.errors import DecodeError
from ovs_geneve.geneve.probe import decode

PATIENCE = 1.0
"Seconds after which a probe counts as lost."

MAX_SEARCHES = 200
"Legs of a run whose largest size is looked for; when more need it, the underlay as a whole is too small."

TICK = 0.01
"Seconds between two lots of shots."


@dataclass(slots=True)
class _Asked:
    """A probe that waits to be sent, or was sent."""

    inquiry: Inquiry
    question: Question
    sequence: int = -1
    sent_at: float = 0.0
    seen: bool = False
    echoed: bool = False
    settled: bool = False
    "It was answered, or its time is over."

    @property
    def leg(self) -> Leg:
        return self.inquiry.leg


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is."""

    legs: int
    done: int
    sent: int
    seen: int


@dataclass(slots=True)
class ProbeRun:
    """A run over legs; `number` is what its probes are known by, `watched` the hosts that report to us."""

    number: int
    legs: Iterable[Leg]
    watched: Collection[str]
    now: float
    timeout: float
    limits: Limits = field(default_factory=Limits)
    unreadable: int = 0
    "Packets that said they were probes and were none."
    _inquiries: list[Inquiry] = field(init=False)
    _pacer: Pacer[_Asked] = field(init=False)
    _asked: list[_Asked] = field(default_factory=list)
    "By sequence number."
    _pending: deque[_Asked] = field(default_factory=deque)
    "Sent, in that order."
    _undone: int = 0
    _seen: int = 0
    _searches: int = 0
    _ends_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._inquiries = [Inquiry(leg) for leg in self.legs]
        self._pacer = Pacer(self.limits, self.now)
        self._ends_at = self.now + self.timeout
        self._undone = len(self._inquiries)
        for inquiry in self._inquiries:
            self._ask(inquiry, inquiry.first() if inquiry.leg.addresses else [])

    @property
    def finished(self) -> bool:
        """Tell whether nothing more is to be asked."""
        return not self._undone

    @property
    def progress(self) -> Progress:
        """How far it is."""
        legs = len(self._inquiries)
        return Progress(legs=legs, done=legs - self._undone, sent=len(self._asked), seen=self._seen)

    def results(self) -> Iterator[Result]:
        """Say what is proved so far."""
        return results(self._inquiries, self.watched)

    def take(self, now: float) -> list[Shot]:
        """Return what to send now; what has waited too long for an answer counts as lost from here on."""
        while self._pending and self._pending[0].sent_at + PATIENCE <= now:
            self._settle(self._pending.popleft())
        if now >= self._ends_at:
            self._give_up()
        shots = []
        for asked in self._pacer.due(now):
            if asked.inquiry.stage is Stage.DONE:
                continue  # its source is away
            asked.sequence, asked.sent_at = len(self._asked), now
            asked.inquiry.sent += 1
            self._asked.append(asked)
            self._pending.append(asked)
            pattern, size = asked.question
            shots.append(Shot(leg=asked.leg, sequence=asked.sequence, pattern=pattern, size=size))
        return shots

    def due(self, now: float) -> float:
        """Return how many seconds from now `take` has something to do."""
        if self.finished:
            return 0.0
        if self._pacer:
            return TICK
        first = self._pending[0].sent_at + PATIENCE if self._pending else self._ends_at
        return max(0.0, min(first, self._ends_at) - now)

    def left(self, shot: Shot, now: float) -> None:
        """Take note of when exactly a shot was fired."""
        self._asked[shot.sequence].sent_at = now

    def unsent(self, shot: Shot, reason: str) -> None:
        """Take note that a shot could not be fired: nothing can be said of its leg."""
        inquiry = self._asked[shot.sequence].inquiry
        inquiry.sent -= 1
        inquiry.skipped = reason
        self._close(inquiry)

    def arrived(self, host: str, sighting: Sighting, now: float) -> bool:
        """Take in a packet that a bridge reported; tell whether `take` may have something to do now.

        Packets of other runs, and what is no probe, are ignored.
        """
        try:
            probe = decode(sighting.frame)
        except DecodeError:
            self.unreadable += 1
            return False
        if probe.run != self.number or probe.sequence >= len(self._asked):
            return False
        asked = self._asked[probe.sequence]
        stage = asked.inquiry.stage
        if asked.question != (probe.pattern, probe.size):
            self.unreadable += 1
        elif probe.echo:
            self._echo(asked, host, sighting, now)
        else:
            self._request(asked, host, sighting)
        return asked.inquiry.stage is not stage

    def _request(self, asked: _Asked, host: str, sighting: Sighting) -> None:
        leg, inquiry = asked.leg, asked.inquiry
        if host != leg.destination:
            inquiry.altered = f"arrives at {host}: want {leg.destination}"
        if not asked.seen:
            asked.seen = True
            self._seen += 1
            inquiry.arrivals += 1
        inquiry.take(asked.question, sighting, host)
        self._answered(asked)

    def _echo(self, asked: _Asked, host: str, sighting: Sighting, now: float) -> None:
        if host != asked.leg.source or asked.echoed:
            return
        asked.echoed = True
        asked.inquiry.echoed(now - asked.sent_at)
        if asked.leg.destination not in self.watched:
            # Nobody tells us what the far end saw: what it sent back has to do.
            self._seen += not asked.seen
            asked.inquiry.arrivals += not asked.seen
            asked.seen = True
            asked.inquiry.take(asked.question, sighting, host)
        self._answered(asked)

    def _answered(self, asked: _Asked) -> None:
        if asked.seen and asked.echoed:
            self._settle(asked)

    def _settle(self, asked: _Asked) -> None:
        if asked.settled:
            return
        asked.settled = True
        inquiry = asked.inquiry
        if not asked.seen:
            inquiry.missed.append(asked.question)
        inquiry.open -= 1
        if not inquiry.open and inquiry.stage is not Stage.DONE:
            searched = inquiry.stage is Stage.SEARCH
            inquiry.search_refused = not searched and self._searches >= MAX_SEARCHES
            self._ask(inquiry, inquiry.next_questions())
            self._searches += inquiry.stage is Stage.SEARCH and not searched

    def _ask(self, inquiry: Inquiry, questions: Iterable[Question]) -> None:
        for question in questions:
            inquiry.open += 1
            self._pacer.put(_Asked(inquiry, question))
        if not inquiry.open:
            inquiry.stage = Stage.DONE
            self._undone -= 1

    def _close(self, inquiry: Inquiry) -> None:
        """Ask no more of a leg."""
        if inquiry.stage is not Stage.DONE:
            inquiry.stage = Stage.DONE
            self._undone -= 1

    def _give_up(self) -> None:
        for inquiry in self._inquiries:
            if inquiry.stage is not Stage.DONE:
                if not inquiry.seen:
                    inquiry.skipped = "the run ended before it was proved"
                self._close(inquiry)
