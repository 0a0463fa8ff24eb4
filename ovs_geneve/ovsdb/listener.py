# SPDX-License-Identifier: Apache-2.0
"""Waits for OVSDB servers that call in (`ovs-vsctl set-manager ssl:CONTROLLER:6640`).

The server side of TCP is ours, the server side of OVSDB stays theirs: give each connection to
`OvsdbClient.serve`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

from ovs_geneve.errors import ConnectionLost, EncodeError
from ovs_geneve.ovsdb.connection import PROBE_INTERVAL, OvsdbConnection
from ovs_geneve.ovsdb.messages import MAX_MESSAGE
from ovs_geneve.ovsdb.remote import Remote, Transport, parse_remote

TLS_HANDSHAKE_TIMEOUT = 5.0
"Seconds that a caller has to show its certificate."


class OvsdbListener:
    """Listens on a passive remote ("punix:PATH", "ptcp:PORT[:IP]", "pssl:PORT[:IP]").

    `on_connection` gets each connection once TCP and TLS are up, with `peer_name` and addresses set. What
    it raises closes that connection alone and goes to the loop's exception handler. Closing the listener closes
    the connections that came through it.
    """

    def __init__(
        self,
        remote: Remote | str,
        on_connection: Callable[[OvsdbConnection], None],
        *,
        tls: ssl.SSLContext | None = None,
        probe_interval: float = PROBE_INTERVAL,
        max_message: int = MAX_MESSAGE,
    ) -> None:
        self.remote = parse_remote(remote) if isinstance(remote, str) else remote
        if not self.remote.passive:
            raise EncodeError("remote", f"{self.remote} is one to dial: use an OvsdbClient")
        if self.remote.is_tls and tls is None:
            raise EncodeError("tls", f"{self.remote} needs an ssl.SSLContext")
        self._on_connection = on_connection
        self._tls = tls
        self._probe_interval = probe_interval
        self._max_message = max_message
        self._server: asyncio.Server | None = None
        self._connections: set[OvsdbConnection] = set()

    @property
    def port(self) -> int | None:
        """The TCP port, which the system chose when the remote says 0; None when closed or a Unix socket."""
        if self._server is None or self.remote.transport is Transport.UNIX:
            return None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def connections(self) -> frozenset[OvsdbConnection]:
        """The connections that are open now."""
        return frozenset(self._connections)

    async def start(self) -> None:
        """Begin to listen; OSError when the address is taken."""
        loop = asyncio.get_running_loop()
        remote = self.remote
        if remote.transport is Transport.UNIX:
            self._server = await loop.create_unix_server(self._accept, remote.path)
        elif not remote.is_tls:
            self._server = await loop.create_server(self._accept, remote.host or None, remote.port)
        else:
            self._server = await loop.create_server(
                self._accept,
                remote.host or None,
                remote.port,
                ssl=self._tls,
                ssl_handshake_timeout=TLS_HANDSHAKE_TIMEOUT,
                ssl_shutdown_timeout=1.0,
            )

    async def close(self) -> None:
        """Stop listening and close every connection that came through here; harmless when repeated."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        if self.remote.transport is Transport.UNIX:
            Path(self.remote.path).unlink(missing_ok=True)
        await asyncio.gather(*(one.close() for one in self.connections))
        await server.wait_closed()

    def _accept(self) -> OvsdbConnection:
        return OvsdbConnection(
            on_connected=self._connected,
            on_closed=self._connections.discard,
            probe_interval=self._probe_interval,
            max_message=self._max_message,
        )

    def _connected(self, connection: OvsdbConnection) -> None:
        self._connections.add(connection)
        try:
            self._on_connection(connection)
        except BaseException as error:
            connection.abort(ConnectionLost(f"not taken: {error}"))
            raise
