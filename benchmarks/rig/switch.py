# SPDX-License-Identifier: Apache-2.0
"""A bridge connected the way the controller connects it: os-ken's handshake on our transport, then a `Switch`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from os_ken.controller import ofp_event
from os_ken.controller.handler import MAIN_DISPATCHER, set_ev_cls
from os_ken.ofproto import ofproto_v1_5

from ovs_geneve.openflow.osken_transport import AppHost, LoopApp, OpenFlowServer
from ovs_geneve.openflow.session import Session
from ovs_geneve.openflow.switch import Switch

PATIENCE = 30.0


class CountingSession(Session):
    """Counts the bytes that it gave to be sent."""

    sent = 0

    def data_to_send(self) -> bytes:
        """Give the next bytes to write."""
        data = super().data_to_send()
        self.sent += len(data)
        return data


class Arrivals(LoopApp):
    """Tells when the bridge is ready."""

    OFP_VERSIONS = [ofproto_v1_5.OFP_VERSION]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ready: asyncio.Future[Switch] = asyncio.get_running_loop().create_future()

    @set_ev_cls(ofp_event.EventOFPStateChange, MAIN_DISPATCHER)  # type: ignore[untyped-decorator]  # os-ken is untyped
    def arrived(self, ev: Any) -> None:
        """Pass the first bridge on."""
        if not self.ready.done():
            self.ready.set_result(ev.datapath.switch)


@asynccontextmanager
async def connected(management: Path) -> AsyncIterator[tuple[Switch, CountingSession]]:
    """Dial a bridge's own socket; give it once os-ken's handshake is done."""
    sessions: list[CountingSession] = []

    def session() -> CountingSession:
        sessions.append(CountingSession())
        return sessions[-1]

    apps = AppHost()
    server = OpenFlowServer(apps, session=session)
    try:
        arrivals: Arrivals = apps.add(Arrivals)
        server.dial_unix(management)
        async with asyncio.timeout(PATIENCE):
            switch = await arrivals.ready
        yield switch, sessions[0]
    finally:
        await server.close()
        await apps.close()
