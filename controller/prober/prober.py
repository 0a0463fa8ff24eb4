# SPDX-License-Identifier: Apache-2.0
"""Runs the prober: of what users ask for one run at a time, in its order, as fast as its limits allow.

Runs are kept in memory, the last `KEPT`; they are no part of the intent, and a restart forgets them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from controller.errors import Conflict
from controller.intent.intent import Intent
from controller.prober.model import Leg, Result, Shot, Sighting
from controller.prober.pace import Limits
from controller.prober.packet import actions, frame
from controller.prober.plan import Request, legs
from controller.prober.ports import Bridges
from controller.prober.run import ProbeRun, Progress
from ovs_geneve.openflow.packet_out import PacketOut

KEPT = 10
"Runs that can be looked at."

MAX_WAITING = 5
"Runs that may wait for their turn."

_RESULTS_AT_ONCE = 500
"Results that are put into words before others have their turn."


class JobState(StrEnum):
    """Where a run stands."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(slots=True)
class Job:
    """A run that somebody asked for."""

    number: int
    request: Request
    legs: list[Leg]
    asked_at: float
    "Seconds since 1970."
    state: JobState = JobState.WAITING
    took: float = 0.0
    "Seconds, once it is finished."
    run: ProbeRun | None = None
    final: list[Result] = field(default_factory=list)
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    "Set when there may be something to send."

    @property
    def id(self) -> str:
        """Its name."""
        return f"{self.number:016x}"

    @property
    def progress(self) -> Progress:
        """How far it is."""
        if self.run is None:
            return Progress(legs=len(self.legs), done=0, sent=0, seen=0)
        return self.run.progress

    @property
    def results(self) -> list[Result]:
        """What is proved; nothing before the end."""
        return self.final


class Prober:
    """The controller's prober. `clock` is monotonic, `wall` is not; `draw` gives 64 random bits."""

    def __init__(
        self,
        bridges: Bridges,
        intent: Callable[[], Intent],
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        draw: Callable[[], int],
        limits: Limits | None = None,
    ) -> None:
        self._bridges = bridges
        self._intent = intent
        self._clock = clock
        self._wall = wall
        self._draw = draw
        self._limits = limits or Limits()
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []
        self._task: asyncio.Task[None] | None = None
        self.jobs: deque[Job] = deque(maxlen=KEPT)
        "The latest last."

    def start(self, request: Request) -> Job:
        """Begin a run, or let it wait for its turn; raise IntentError for what cannot be probed."""
        if len(self._waiting) >= MAX_WAITING:
            reason = f"{MAX_WAITING} runs wait for their turn: ask again when one is over"
            raise Conflict("probes-waiting", reason, holder=f"probes/{self._waiting[0].id}")
        job = self._job(request)
        self._waiting.append(job)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="prober")
        return job

    async def verify(self, request: Request) -> list[Result]:
        """Run at once, beside what users asked for, and to the end; for small runs of the controller itself."""
        job = self._job(request)
        await self._probe(job)
        return job.final

    def job(self, name: str) -> Job | None:
        """Find a run that is still kept."""
        return next((job for job in self.jobs if job.id == name), None)

    def sighted(self, host: str, sighting: Sighting) -> None:
        """Take in a probe that a host's bridge reported."""
        for job in self._running:
            if job.run is not None and job.run.arrived(host, sighting, self._clock()):
                job.moved.set()

    async def stop(self) -> None:
        """End what runs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _job(self, request: Request) -> Job:
        planned = legs(self._intent(), request)
        job = Job(number=self._draw(), request=request, legs=planned, asked_at=self._wall())
        self.jobs.append(job)
        return job

    async def _work(self) -> None:
        while self._waiting:
            await self._probe(self._waiting.popleft())

    async def _probe(self, job: Job) -> None:
        self._running.append(job)
        try:
            await self._run(job)
        finally:
            self._running.remove(job)
            job.state = JobState.FINISHED

    async def _run(self, job: Job) -> None:
        began = self._clock()
        watched = self._bridges.connected()
        run = job.run = ProbeRun(job.number, job.legs, watched, began, job.request.timeout, self._limits)
        job.state = JobState.RUNNING
        while not run.finished:
            for shot in run.take(self._clock()):
                self._fire(run, shot)
            job.moved.clear()
            if not run.finished:
                await _pause(job.moved, run.due(self._clock()))
        job.took = self._clock() - began
        for number, result in enumerate(run.results(), 1):
            job.final.append(result)
            if not number % _RESULTS_AT_ONCE:
                await asyncio.sleep(0)

    def _fire(self, run: ProbeRun, shot: Shot) -> None:
        source = shot.leg.source
        packet = PacketOut(data=frame(shot, run.number), actions=actions(shot.leg, shot.pattern))
        run.left(shot, self._clock())
        if not self._bridges.send(source, packet):
            run.unsent(
                shot, f"the bridge of {source} is not connected to this controller, or does not keep up"
            )


async def _pause(moved: asyncio.Event, seconds: float) -> None:
    """Wait until something is due, or a leg has moved on."""
    timer = asyncio.get_running_loop().call_later(seconds, moved.set)
    try:
        await moved.wait()
    finally:
        timer.cancel()
