# SPDX-License-Identifier: Apache-2.0
"""Agents of this process, each over a kernel in memory that refuses what the real one would."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from controller.agent.agent import Agent
from controller.agent.kept import Kept
from controller.agent.kernel import Sight, plugged
from controller.agent.source import RestSource
from controller.agent.store_source import StoreSource
from controller.kernels.report import KernelProblem
from ovs_geneve.kernel.codec_links import Interface
from ovs_geneve.kernel.objects import Filter, KernelState, Link, Mirred
from ovs_geneve.kernel.observation import Observation
from ovs_geneve.kernel.plan import plan, without
from ovs_geneve.kernel.steps import Step, remove, subject
from tests.unit.kernel.simulated import after

MakeSource = Callable[[str], RestSource | StoreSource]


class SimulatedKernel:
    """Holds what it is told to, and loses what somebody takes (`controller.agent.kernel.Kernel`)."""

    def __init__(self) -> None:
        self.observed = Observation()
        self.problems: tuple[KernelProblem, ...] = ()
        "What it is said to refuse."
        self.lock = threading.Lock()
        self.changed: Callable[[], None] = _ignore

    async def converge(self, desired: KernelState | None) -> Sight:
        """Carry out what is planned, all of it, before anything else happens."""
        with self.lock:
            if desired is not None:
                for step in plan(desired, self.observed):
                    if self._is_possible(step):
                        self.observed = after(self.observed, step)
            return Sight(interfaces=plugged(self.observed), problems=self.problems, release="6.1")

    def plug(self, device: str, interface_id: str) -> None:
        """Have an interface."""
        with self.lock:
            one = Interface(index=1, name=device, alias=interface_id)
            self.observed = replace(self.observed, interfaces=(*self.observed.interfaces, one))
        self.changed()

    def lose(self, device: str) -> None:
        """Lose a device, with what hangs on it."""
        with self.lock:
            state = self.observed.state
            attachments = frozenset(one for one in state.attachments if one.name != device)
            kept = replace(self.observed, state=_replaced(state, attachments=attachments))
            self.observed = without(kept, frozenset({device}))
        self.changed()

    def hurt(self, draw: random.Random) -> str:
        """Lose one object, whichever."""
        with self.lock:
            state = self.observed.state
            sets = (state.links, state.attachments, state.fdb, state.neighbours, state.routes, state.filters)
            some = sorted((one for part in sets for one in part), key=repr)
            if not some:
                return ""
            one = draw.choice(some)
            self.observed = after(self.observed, remove(one))
        self.changed()
        return subject(one)

    def _is_possible(self, step: Step) -> bool:
        """Tell whether the devices of a step are there: the real one leaves out what needs others."""
        one = step.object
        if isinstance(one, Link):
            return True
        there = {link.name for link in self.observed.state.links}
        there |= {interface.name for interface in self.observed.interfaces}
        needed = {getattr(one, field) for field in ("name", "device", "master") if getattr(one, field, None)}
        if isinstance(one, Filter):
            needed |= {action.device for action in one.actions if isinstance(action, Mirred)}
        return needed <= there


class SimulatedFleet:
    """A loop on a thread with all agents (`tests.storm.storm.Fleet`)."""

    def __init__(self, folder: Path, hosts: tuple[str, ...], source: MakeSource) -> None:
        self._folder = folder
        self._source = source
        self.kernels = {name: SimulatedKernel() for name in hosts}
        self._running: dict[str, Future[None]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="agents")
        self._thread.start()
        self.restart: Callable[[], None] = _ignore

    def plug(self, host: str, device: str, interface_id: str) -> None:
        """Give a machine an interface."""
        self.kernels[host].plug(device, interface_id)

    def unplug(self, host: str, device: str) -> None:
        """Take it away."""
        self.kernels[host].lose(device)

    def interfere(self, host: str, draw: random.Random) -> str:
        """Take one object away."""
        return self.kernels[host].hurt(draw)

    def start(self, host: str) -> None:
        """Start an agent."""
        self._running[host] = asyncio.run_coroutine_threadsafe(self._run(host), self._loop)

    def running(self, host: str) -> Future[None]:
        """Return what an agent's end is told by."""
        return self._running[host]

    def kill(self, host: str) -> None:
        """Cancel an agent; what it kept in its file is all that it remembers."""
        running = self._running.pop(host)
        running.cancel()

    def boot(self, host: str) -> None:
        """Kill an agent and empty its kernel, but for the interfaces of workloads."""
        self.kill(host)
        kernel = self.kernels[host]
        with kernel.lock:
            kernel.observed = Observation(interfaces=kernel.observed.interfaces)

    def restart_controller(self) -> None:
        """Have the controller killed and started again."""
        self.restart()

    def observe(self, host: str, desired: KernelState) -> Observation:
        """Look at a kernel."""
        kernel, paths = self.kernels[host], {one.path for one in desired.settings}
        with kernel.lock:
            observed = kernel.observed
        # What was set on somebody's device is not put back, and not looked at.
        settings = frozenset(one for one in observed.state.settings if one.path in paths)
        return replace(observed, state=_replaced(observed.state, settings=settings))

    def close(self) -> None:
        """End all agents."""
        for host in tuple(self._running):
            self.kill(host)
        asyncio.run_coroutine_threadsafe(_nothing(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _run(self, host: str) -> None:
        kernel, source = self.kernels[host], self._source(host)
        agent = Agent(source, Kept(self._folder / host))

        def changed() -> None:
            self._loop.call_soon_threadsafe(agent.kernel_changed)

        kernel.changed = changed
        async with source:
            await agent.run(kernel)


async def _nothing() -> None:
    """Let those that were cancelled end."""
    await asyncio.sleep(0.1)


def _replaced(state: KernelState, **fields: frozenset[object]) -> KernelState:
    return KernelState(**{name: getattr(state, name) for name in state.__struct_fields__} | fields)


def _ignore() -> None:
    """Stand in until somebody wants to hear."""
