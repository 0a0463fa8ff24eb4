# SPDX-License-Identifier: Apache-2.0
"""os-ken's handler, an app that takes notes, and a server on a Unix socket: a controller for one test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from ovs_geneve.openflow.channel import Timing
from ovs_geneve.openflow.osken_transport import AppHost, LoopDatapath, OpenFlowServer
from tests.functional.openflow.fake_switch import FakeSwitch
from tests.functional.openflow.osken_apps import Recorder


class Controller:
    """Handler, recorder and server in one, for one test."""

    def __init__(self, folder: Path, timing: Timing | None = None) -> None:
        self.path = folder / "controller.sock"
        self.host = AppHost()
        self.app = self.host.add(Recorder)
        self.server = OpenFlowServer(self.host, timing=timing)

        self.port = 0

    async def __aenter__(self) -> Controller:
        await self.server.listen_unix(self.path)
        self.port = await self.server.listen_tcp("127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.close()
        await self.host.close()

    async def switch(self, dpid: int = 1) -> tuple[FakeSwitch, LoopDatapath]:
        fake = await FakeSwitch.connect(self.path)
        await fake.handshake(dpid)
        return fake, await self.ready()

    async def connect(self, over: str = "unix") -> FakeSwitch:
        """Connect a switch that has said nothing yet, over "unix" or "tcp"."""
        return await FakeSwitch.connect(self.path if over == "unix" else self.port)

    async def ready(self) -> LoopDatapath:
        return await asyncio.wait_for(self.app.ready.get(), 10)

    async def until(self, condition: Callable[[], object], seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110  what is waited for happens in daemons, too
                await asyncio.sleep(0.005)

    async def end(self) -> tuple[str, frozenset[int] | None]:
        await self.until(lambda: self.app.ended)
        return self.app.ended.pop()
