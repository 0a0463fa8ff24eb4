# SPDX-License-Identifier: Apache-2.0
"""The agent's loop.

    source ─► parts ─► kept in a file
                └────► kernel: observe, plan, apply ─► report ─► source
    kernel says that something changed ─┘

It needs no memory but the kernel's own: killed at any time and started again it goes on. A source that is away, or that
knows no such host, changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from msgspec import structs
from msgspec.structs import astuple

from controller.agent.kept import Kept
from controller.agent.kernel import Kernel, Sight
from controller.agent.offload import told
from controller.agent.source import Batch, Source, SourceRefused, SourceUnavailable
from controller.errors import SetupError
from controller.kernels.report import AgentReport, KernelProblem
from ovs_geneve.kernel.objects import KernelState, joined
from ovs_geneve.kernel.steps import subject

_log = logging.getLogger(__name__)

CHECK_SECONDS = 30.0
"How often the kernel is looked at although nothing was told."

_FIRST_DELAY, _LAST_DELAY = 0.2, 10.0
"Between attempts at what does not work."

_BREATH_SECONDS = 0.05
"What changes together is looked at once."

_REST = 4
"So many times what a look took passes before the next, unless the source asks: kernels tell of much that is nothing."


class Agent:
    """Keeps one kernel."""

    def __init__(self, source: Source, kept: Kept) -> None:
        self._source = source
        self._kept = kept
        self._parts: Mapping[str, KernelState] | None = kept.load()
        self._generation: str | None = None
        self._told: AgentReport | None = None
        "What the source knows; None when it may know nothing."
        self._wake = asyncio.Event()
        self._asked = asyncio.Event()
        "Set with `_wake` for what does not wait until a failure may be over."

    def kernel_changed(self) -> None:
        """Take note that something changed in the kernel, perhaps by ourselves."""
        self._wake.set()

    async def run(self, kernel: Kernel) -> None:
        """Follow the source and keep the kernel, for ever. Raises SetupError for a host with Open vSwitch."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._follow(), name="follow")
            both.create_task(self._keep(kernel), name="keep")

    async def _follow(self) -> None:
        delay = _FIRST_DELAY
        while True:
            try:
                async for batch in self._source.batches():
                    delay = _FIRST_DELAY
                    self._take(batch)
            except SourceUnavailable as error:
                _log.warning("%s", error)
            except SourceRefused as error:
                if error.code == "host-not-linux":
                    raise SetupError(str(error), "run no agent beside Open vSwitch") from error
                _log.warning("%s; what is here stays as it is", error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LAST_DELAY)

    def _take(self, batch: Batch) -> None:
        before = self._parts
        parts = {} if batch.whole else dict(self._parts or {})
        for name, state in batch.parts.items():
            parts.pop(name, None)
            if state is not None:
                parts[name] = state
        if batch.whole:
            self._told = None
        self._parts, self._generation = parts, batch.generation
        if parts != before:
            self._kept.save(parts)
        self._asked.set()
        self._wake.set()

    async def _keep(self, kernel: Kernel) -> None:
        clock = asyncio.get_running_loop().time
        delay = _FIRST_DELAY
        while True:
            self._wake.clear()
            self._asked.clear()
            begun = clock()
            well = await self._once(kernel)
            took = clock() - begun
            delay = _FIRST_DELAY if well else min(delay * 2, _LAST_DELAY)
            # What goes wrong tells of changes too, our own: then only the source has us look again at once.
            await _within(self._wake if well else self._asked, CHECK_SECONDS if well else delay)
            await _within(self._asked, max(_BREATH_SECONDS, took * _REST))

    async def _once(self, kernel: Kernel) -> bool:
        generation = self._generation
        desired = None if self._parts is None else joined(self._parts.values())
        try:
            sight = await kernel.converge(desired)
        except OSError as error:
            _log.error("the kernel cannot be read: %s", error)
            return False
        sight = replace(sight, problems=tuple(_placed(sight.problems, self._parts or {})))
        for problem in sight.problems:
            _log.warning("%s: %s", problem.object, problem.message)
        return await self._tell(sight, generation) and not sight.problems

    async def _tell(self, sight: Sight, generation: str | None) -> bool:
        if generation is None:
            return True  # whoever does not send has nothing to be told
        offload = sight.offload
        report = AgentReport(
            interfaces=sight.interfaces,
            kernel=sight.release,
            lacks=sight.lacks,
            problems=sight.problems,
            sight=None if offload is None else told(offload, self._parts or {}),
            acknowledged=generation,
        )
        if report == self._told:
            return True
        try:
            await self._source.report(report)
        except (SourceUnavailable, SourceRefused) as error:
            _log.warning("report: %s", error)
            return False
        self._told = report
        return True


def _placed(problems: Iterable[KernelProblem], parts: Mapping[str, KernelState]) -> Iterator[KernelProblem]:
    """Yield problems with the part that each is in."""
    wanted = {one.object: "" for one in problems}
    for name, state in parts.items() if wanted else ():
        for objects in astuple(state):
            wanted |= {said: name for said in map(subject, objects) if said in wanted}
    yield from (structs.replace(one, part=wanted[one.object]) for one in problems)


async def _within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
