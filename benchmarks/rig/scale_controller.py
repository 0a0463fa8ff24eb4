# SPDX-License-Identifier: Apache-2.0
"""The controller as `benchmarks.scale` runs it: the real one, but for the OVSDB of its hosts.

    python -m benchmarks.rig.scale_controller FOLDER OPENFLOW REST HOSTS NETWORKS PORTS SPREAD BIG

A thousand ovsdb-servers would be too many for one machine, so hosts are reported as they would report themselves:
bridge there, every interface of the layout plugged.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from benchmarks.rig.children import Answer, answer_for_ever, tell
from benchmarks.rig.fake_switches import digest
from benchmarks.rig.layout import Layout, dpid_of
from controller.hoststate import HostFacts
from controller.intent.model import HostSpec, Object
from controller.process import serve
from controller.reconciler.programmer import Phase
from controller.reconciler.reconciler import Reconciler
from controller.settings import Settings
from controller.southbound.ports import HostEvents, HostReport, LinkState, WaitingHost

_POLL_SECONDS = 0.02


class FakeHosts:
    """Implements HostDatabases: hosts whose OVSDB has answered as soon as they are enrolled."""

    events: HostEvents

    def __init__(self, plugged: Mapping[str, Mapping[str, int]]) -> None:
        self._plugged = plugged
        self._enrolled: asyncio.Queue[str] = asyncio.Queue()
        self._hosts = set[str]()
        self._reporting: asyncio.Task[None] | None = None
        self.phases = dict[str, dict[str, float]]()
        self.stamp("started")

    @property
    def reconciler(self) -> Reconciler:
        assert isinstance(self.events, Reconciler)
        return self.events

    def stamp(self, phase: str) -> None:
        """Note that a phase is over: when, and the processor time that this process has used."""
        self.phases[phase] = {"at": time.monotonic(), "cpu": time.process_time()}

    async def start(self) -> None:
        self.stamp("loaded")
        self._reporting = asyncio.create_task(self._report())

    def enrol(self, host: Object[HostSpec]) -> None:
        if not self._hosts:
            self.stamp("compiled")  # hosts are followed after the compiler has seen the whole intent
        if host.name not in self._hosts:
            self._hosts.add(host.name)
            self._enrolled.put_nowait(host.name)

    def release(self, name: str) -> None:
        self._hosts.discard(name)

    def forget(self, name: str) -> None:
        self._hosts.discard(name)

    def look_again(self, name: str) -> None:
        """Do nothing: there is no database to look at."""

    def strangers(self) -> tuple[WaitingHost, ...]:
        return ()

    async def close(self) -> None:
        if self._reporting is not None:
            self._reporting.cancel()
            await asyncio.wait({self._reporting})

    async def _report(self) -> None:
        while True:
            name = await self._enrolled.get()
            facts = HostFacts(dpid=dpid_of(name), ofports=self._plugged.get(name, {}))
            report = HostReport(
                state=LinkState.CONNECTED,
                facts=facts,
                provisioned=True,
                ovs_version="3.1.0",
                system_id=name,
            )
            self.events.host_reported(name, report)
            if self._enrolled.empty() and "programmed" not in self.phases:
                self.stamp("reported")
                await self._programmed()
            await asyncio.sleep(0)  # real ones report one by one, too

    async def _programmed(self) -> None:
        """Wait until every switch has acknowledged all, and tell the parent how long everything took."""
        programmers = self.reconciler.programmers
        # Looking now and then costs it less than to be told a thousand times.
        while not all(p.phase is Phase.IDLE and p.behind_since is None for p in programmers.values()):  # noqa: ASYNC110  they have no event
            await asyncio.sleep(_POLL_SECONDS)
        self.stamp("programmed")
        tell(self.phases)

    async def desired(self, host: str) -> Answer:
        """Tell what a host's bridge should hold, as `fake_switches` tells what it does."""
        state = self.reconciler.compiler.desired(host)
        messages = [flow.message for flow in state.flows.values()]
        messages += [group.message for group in state.groups.values()]
        return {"messages": len(messages), "digest": digest(messages)}


async def main(folder: str, openflow: str, rest: str, layout: Layout) -> None:
    """Run until SIGTERM."""
    settings = Settings(state_directory=Path(folder), openflow=openflow, rest=rest)
    hosts = FakeHosts(layout.plugged())
    questions = asyncio.create_task(answer_for_ever({"desired": hosts.desired}))
    try:
        await serve(settings, lambda *_: hosts)
    finally:
        questions.cancel()
        with suppress(asyncio.CancelledError):
            await questions


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], Layout(*map(int, sys.argv[4:]))))
