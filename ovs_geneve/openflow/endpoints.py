# SPDX-License-Identifier: Apache-2.0
"""Where switches come from: sockets we listen on, and sockets of switches that we dial and dial again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from ssl import SSLContext

from ovs_geneve.openflow.channel import Channel

LOG = logging.getLogger(__name__)

FIRST_RETRY = 0.1
"Seconds after which a lost connection is dialled again: as fast as a vswitchd restarts."
LAST_RETRY = 2.0
"What the pause grows to while connections are refused or end at once."

PATIENCE = 10.0
"Seconds for a connect and for a TLS handshake."

BACKLOG = 1024
"After a restart of the controller all switches come at once."

_Connect = Callable[[], Awaitable[tuple[asyncio.BaseTransport, Channel]]]


class Dialler:
    """Keeps one connection to a switch's own OpenFlow socket until `close`."""

    def __init__(self, connect: _Connect, name: str) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(connect), name=f"dial {name}")
        self._name = name

    async def close(self) -> None:
        """Stop dialling; the connection itself is closed by its owner."""
        self._task.cancel()
        await asyncio.wait({self._task})  # not `await`: a caller that is cancelled must not seem to go on

    async def _run(self, connect: _Connect) -> None:
        loop = asyncio.get_running_loop()
        delay = FIRST_RETRY
        while True:
            begin = loop.time()
            try:
                async with asyncio.timeout(PATIENCE):
                    _, channel = await connect()
                await asyncio.shield(channel.ended)
            except OSError as error:  # a timeout is one
                LOG.info("cannot connect to %s: %s", self._name, error)
            delay = FIRST_RETRY if loop.time() - begin > LAST_RETRY else min(2 * delay, LAST_RETRY)
            await asyncio.sleep(delay)


class Endpoints:
    """All listening and dialled sockets. `factory` makes the channel of one connection."""

    def __init__(self, factory: Callable[[set[Channel]], Channel]) -> None:
        self._factory = factory
        self._channels: set[Channel] = set()
        self._servers: list[asyncio.Server] = []
        self._paths: list[Path] = []
        self._diallers: list[Dialler] = []

    @property
    def connections(self) -> int:
        """Count what is connected now."""
        return len(self._channels)

    async def listen_tcp(self, address: str | None, port: int, *, ssl: SSLContext | None = None) -> int:
        """Listen for switches; return the port (0 asks the system for a free one)."""
        loop = asyncio.get_running_loop()
        patience = None if ssl is None else PATIENCE
        server = await loop.create_server(
            self._make, address, port, ssl=ssl, ssl_handshake_timeout=patience, backlog=BACKLOG
        )
        self._servers.append(server)
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    async def listen_unix(self, path: Path) -> None:
        """Listen on a Unix socket; its file goes away at `close`."""
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_unix_server(self._make, path, backlog=BACKLOG))
        self._paths.append(path)

    def dial_tcp(
        self, address: str, port: int, *, ssl: SSLContext | None = None, server_hostname: str | None = None
    ) -> Dialler:
        """Keep connected to a bridge whose controller is `ptcp:` or `pssl:`."""
        loop = asyncio.get_running_loop()
        return self._dial(
            lambda: loop.create_connection(
                self._make, address, port, ssl=ssl, server_hostname=server_hostname
            ),
            f"{address}:{port}",
        )

    def dial_unix(self, path: Path) -> Dialler:
        """Keep connected to a bridge's own socket, as `br-int.mgmt` in OVS's run directory."""
        loop = asyncio.get_running_loop()
        return self._dial(lambda: loop.create_unix_connection(self._make, str(path)), str(path))

    async def close(self) -> None:
        """Stop listening and dialling and end every connection."""
        for server in self._servers:
            server.close()
        for dialler in self._diallers:
            await dialler.close()
        await asyncio.sleep(0)  # what was accepted just before is connected now
        while channels := tuple(self._channels):
            for channel in channels:
                channel.close("the controller stops")
            await asyncio.wait([channel.ended for channel in channels])
        for server in self._servers:
            await server.wait_closed()
        for path in self._paths:
            path.unlink(missing_ok=True)
        self._servers, self._diallers, self._paths = [], [], []

    def _dial(self, connect: _Connect, name: str) -> Dialler:
        dialler = Dialler(connect, name)
        self._diallers.append(dialler)
        return dialler

    def _make(self) -> Channel:
        return self._factory(self._channels)
