# SPDX-License-Identifier: Apache-2.0
"""An OVSDB database as a live `Replica` and a place for transactions; one client a database.

                 ┌──────────────────────────────── backoff ◄──────────────┐
    IDLE ─run()─► CONNECTING ─connected─► SYNCING ─first snapshot─► READY ─lost─┤
                                             └──────────lost, refused──────────┘
    IDLE ─serve(connection)─► SYNCING ─► READY ─lost─► IDLE          (a host that called in)
    any ─close()─► CLOSED

The replica outlives a connection: what a new one reports is compared with it, so an observer sees real
changes only.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Protocol

from msgspec import Raw

from ovs_geneve.errors import (
    ConnectionLost,
    DecodeError,
    EncodeError,
    NotSupported,
    OvsdbError,
    OvsGeneveError,
    TransactionFailed,
)
from ovs_geneve.ovsdb.connection import PROBE_INTERVAL, OvsdbConnection, RequestRefused
from ovs_geneve.ovsdb.messages import (
    MAX_MESSAGE,
    Message,
    Update,
    decode_monitor_reply,
    decode_notification,
)
from ovs_geneve.ovsdb.operations import Operation, encode_operation
from ovs_geneve.ovsdb.remote import Remote, Transport, remotes_to_dial
from ovs_geneve.ovsdb.replica import NO_TXN, Replica, RowChange
from ovs_geneve.ovsdb.results import OperationResult, decode_results
from ovs_geneve.ovsdb.schema import DatabaseSchema, decode_schema

CONNECT_TIMEOUT = 10.0
"Seconds for TCP and TLS to come up."

SYNC_TIMEOUT = 60.0
"Seconds for schema and contents; a peer that answers probes but nothing else is left then."

_SERVER = "_Server"
"The database every ovsdb-server has about itself (ovsdb-server(5))."

_METHODS = ("monitor_cond_since", "monitor_cond", "monitor")
"Ways to monitor, best first: Open vSwitch 2.12, 2.6, RFC 7047."

_log = logging.getLogger(__name__)


class ConnectionState(Enum):
    """Where a client stands; the drawing in the module's docstring shows the ways."""

    IDLE = "idle"
    "Not started, or a called-in connection ended."
    CONNECTING = "connecting"
    "Dialling."
    SYNCING = "syncing"
    "Connected; schema and contents are on their way."
    READY = "ready"
    "The replica follows the database; transactions are taken."
    BACKOFF = "backoff"
    "Lost or refused; dialling again soon."
    CLOSED = "closed"
    "Ended by `close`, or its `run` was cancelled."


class Follower(Protocol):
    """What takes in a database's contents and their changes; `Replica` is one."""

    @property
    def schema(self) -> DatabaseSchema | None:
        """The server's schema, None before the first `bind`."""

    @property
    def last_txn_id(self) -> str | None:
        """The transaction these contents belong to, None where the server tells none."""

    @property
    def is_outdated(self) -> bool:
        """Tell whether everything is to be sent anew: what it has kept does not lead to what it was told."""

    def bind(self, schema: DatabaseSchema) -> None:
        """Take the types of the columns from the server; NotSupported names a missing table or column."""

    def monitored(self) -> Mapping[str, Sequence[str]]:
        """Give tables and columns as a monitor request names them."""

    def keeps(self, table: str) -> bool:
        """Tell whether the rows of a table are known, so that a snapshot need not hold them."""

    def apply(self, update: Update) -> Sequence[RowChange]:
        """Take over what a monitor reported and return what changed, for `on_change`."""


class OvsdbClient:
    """Follows some tables of one database and sends it transactions.

    `remote` is where to dial: a Remote, OVS's text for one ("unix:/run/db.sock", "ssl:192.0.2.1:6640") or,
    comma-separated or as a sequence, the members of a cluster; None when the host calls in (`serve`).
    `monitor` maps tables to columns ("column?" when the schema may lack it). `on_change` gets the rows each
    transaction changed, after `replica` has them; the first snapshot comes so too. `on_state` gets every new
    state. With `leader_only` a server that is not, or no longer, the leader of its cluster is left.
    A `follower` takes in what `replica` would, which then stays empty.

    An error that `on_change` or `on_state` raises ends the connection and comes out of `run` or `serve`.
    """

    def __init__(
        self,
        remote: Remote | str | Sequence[Remote] | None,
        database: str,
        monitor: Mapping[str, Sequence[str]],
        *,
        tls: ssl.SSLContext | None = None,
        on_change: Callable[[Sequence[RowChange]], None] | None = None,
        on_state: Callable[[ConnectionState], None] | None = None,
        min_backoff: float = 0.1,
        max_backoff: float = 8.0,
        probe_interval: float = PROBE_INTERVAL,
        sync_timeout: float = SYNC_TIMEOUT,
        max_message: int = MAX_MESSAGE,
        leader_only: bool = False,
        follower: Follower | None = None,
        name: str = "",
    ) -> None:
        self._remotes = remotes_to_dial(remote, tls=tls is not None)
        self.database = database
        self.name = name or (str(self._remotes[0]) if self._remotes else database)
        self.replica = Replica(monitor)
        self._follower: Follower = self.replica if follower is None else follower
        self.state = ConnectionState.IDLE
        self.last_error: OvsGeneveError | OSError | None = None
        "Why the last attempt or connection ended; None while READY."
        self._tls = tls
        self._on_change = on_change
        self._on_state = on_state
        self._backoff = (min_backoff, max_backoff)
        self._probe_interval = probe_interval
        self._sync_timeout = sync_timeout
        self._max_message = max_message
        self._server = Replica({"Database": ["name", "leader"]}) if leader_only else None
        self._connection: OvsdbConnection | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self._runner: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def connected(self) -> bool:
        """Tell whether the replica follows the database now and transactions are taken."""
        return self.state is ConnectionState.READY and self._connection is not None

    @property
    def local_address(self) -> tuple[str, int] | None:
        """Our address and port, where the peer can reach us; None when down or on a Unix socket."""
        return self._connection.local_address if self._connection else None

    @property
    def peer_address(self) -> tuple[str, int] | None:
        """The peer's address and port; None when down or on a Unix socket."""
        return self._connection.peer_address if self._connection else None

    @property
    def peer_name(self) -> str | None:
        """The common name in the peer's verified certificate; None when down or without TLS."""
        return self._connection.peer_name if self._connection else None

    async def run(self) -> None:
        """Dial, follow, dial again, until cancelled, or closed: then it returns. Leaves no task or socket."""
        if not self._remotes:
            raise EncodeError("remote", "this client has none to dial; give it connections with `serve`")
        self._runner = asyncio.create_task(self._dial_for_ever(), name=f"ovsdb {self.name}")
        try:
            await asyncio.wait({self._runner})
        finally:
            self._runner.cancel()
            await asyncio.wait({self._runner})
            self._end()
        if not self._runner.cancelled():
            self._runner.result()

    async def serve(self, connection: OvsdbConnection) -> OvsGeneveError | OSError:
        """Follow the database over a connection that called in; return why that ended.

        A connection served until now is closed first: a host that calls again has lost it.
        """
        while self._connection is not None:
            previous, self._connection = self._connection, None
            await previous.close()
        if self._closed:
            await connection.close()
            return ConnectionLost(f"OVSDB client {self.name} is closed")
        try:
            return await self._follow(connection)
        finally:
            if self._connection is None and not self._closed:
                self._enter(ConnectionState.IDLE)

    async def ready(self) -> None:
        """Return once connected with the replica complete, at once when that is so.

        Raises NotSupported when a server met meanwhile lacks what we monitor, ConnectionLost when the
        client is closed.
        """
        if self.connected:
            return
        if self._closed:
            raise ConnectionLost(f"OVSDB client {self.name} is closed")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    async def transact(self, operations: Sequence[Operation]) -> tuple[OperationResult, ...]:
        """Store all of `operations` or none; one result each. Calls may overlap and keep their order.

        Raises TransactionFailed (with the index of the culprit), WaitTimedOut, or ConnectionLost: at once,
        nothing sent, when not READY; later when the channel ended and the outcome is unknown. The replica
        holds what the transaction changed when this returns.
        """
        connection, schema = self._connection, self._follower.schema
        if connection is None or schema is None or not self.connected:
            raise ConnectionLost(f"OVSDB client {self.name} is not connected")
        params = [self.database, *(encode_operation(operation) for operation in operations)]
        try:
            outcome = await connection.request(
                "transact", params, lambda result: decode_results(result, operations, schema)
            )
        except RequestRefused as error:
            raise TransactionFailed(error.error, error.details, None) from error
        if isinstance(outcome, TransactionFailed):
            raise outcome
        return outcome

    async def close(self) -> None:
        """End `run` or `serve` and wait until sockets are closed; harmless when repeated."""
        self._closed = True
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait({self._runner})
        if self._connection is not None:
            await self._connection.close()
        self._end()

    async def _dial_for_ever(self) -> None:
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            self._enter(ConnectionState.CONNECTING)
            began = loop.time()
            remote = self._remotes[failures % len(self._remotes)]
            self.last_error = await self._attempt(remote)
            # One that held for a while was good: its loss does not count as a failure.
            failures = 1 if loop.time() - began > self._backoff[1] else failures + 1
            _log.info("OVSDB %s at %s: %s", self.name, remote, self.last_error)
            self._enter(ConnectionState.BACKOFF)
            await asyncio.sleep(self._delay(failures))

    def _delay(self, failures: int) -> float:
        """Wait longer the more rounds over all remotes failed; never in step with other clients."""
        least, most = self._backoff
        rounds = min((failures - 1) // len(self._remotes), 30)
        return float(min(most, least * 2**rounds) * random.uniform(0.5, 1.0))

    async def _attempt(self, remote: Remote) -> OvsGeneveError | OSError:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                connection = await self._dial(remote)
        except OSError as error:  # TimeoutError and ssl.SSLError among them
            return error
        return await self._follow(connection)

    async def _dial(self, remote: Remote) -> OvsdbConnection:
        loop = asyncio.get_running_loop()
        if remote.transport is Transport.UNIX:
            return (await loop.create_unix_connection(self._new_connection, remote.path))[1]
        if not remote.is_tls:
            return (await loop.create_connection(self._new_connection, remote.host, remote.port))[1]
        _, connection = await loop.create_connection(
            self._new_connection, remote.host, remote.port, ssl=self._tls, ssl_shutdown_timeout=1.0
        )
        return connection

    def _new_connection(self) -> OvsdbConnection:
        return OvsdbConnection(probe_interval=self._probe_interval, max_message=self._max_message)

    async def _follow(self, connection: OvsdbConnection) -> OvsGeneveError | OSError:
        """Use the connection until it ends; errors that are not the peer's come out."""
        self._connection = connection
        try:
            self._enter(ConnectionState.SYNCING)
            connection.on_notification = self._notified
            await self._synchronise(connection)
            if connection.reason is None:  # its end may have come in the same bytes as the snapshot
                self._become_ready()
            await connection.wait_closed()
        except (ConnectionLost, OvsdbError, DecodeError, NotSupported) as error:
            self._refuse_waiters(error)
            connection.abort(error)
        finally:
            await connection.close()
            if self._connection is connection:
                self._connection = None
        reason = connection.reason
        assert reason is not None  # it is closed
        if not isinstance(reason, (OvsGeneveError, OSError)):
            raise reason
        return reason

    async def _synchronise(self, connection: OvsdbConnection) -> None:
        try:
            async with asyncio.timeout(self._sync_timeout):
                if self._server is not None:
                    await self._monitor(connection, _SERVER, self._server)
                    self._check_leader(connection)
                await self._monitor(connection, self.database, self._follower)
        except TimeoutError as error:
            raise ConnectionLost(f"no contents from {connection.peer} in {self._sync_timeout} s") from error

    async def _monitor(self, connection: OvsdbConnection, database: str, follower: Follower) -> None:
        """Learn the schema, then let the server tell contents and changes, by the best way it knows."""
        follower.bind(await connection.request("get_schema", [database], decode_schema))
        requests = {
            table: [{"columns": columns, "select": {"initial": not follower.keeps(table)}}]
            for table, columns in follower.monitored().items()
        }
        for method in _METHODS:
            params: list[object] = [database, database, requests]
            if method == "monitor_cond_since":
                params.append(follower.last_txn_id or NO_TXN)
            try:
                await connection.request(method, params, self._snapshot_taker(connection, method, follower))
            except RequestRefused as error:
                if error.error != "unknown method":
                    raise
            else:
                return
        raise NotSupported("monitor", "RFC 7047")

    def _snapshot_taker(
        self, connection: OvsdbConnection, method: str, follower: Follower
    ) -> Callable[[Raw], None]:
        def take(result: Raw) -> None:
            with _no_collection():
                changes = follower.apply(decode_monitor_reply(method, result))
            self._tell(follower, changes)
            if follower.is_outdated:
                connection.abort(ConnectionLost("what was known is outdated: everything is read anew"))

        return take

    def _notified(self, message: Message) -> None:
        if message.method == "monitor_canceled" and self._connection is not None:
            self._connection.abort(ConnectionLost(f"the server dropped database {self.database}"))
        with _no_collection():
            follower, changes = self._apply(message)
        if follower is None:
            return
        self._tell(follower, changes)
        if follower is self._server and self._connection is not None:
            self._check_leader(self._connection)

    def _apply(self, message: Message) -> tuple[Follower | None, Sequence[RowChange]]:
        """Take over what a notification tells; say which follower it was for, None for neither."""
        notification = decode_notification(message)
        if notification is None:
            return None, []
        monitor, update = notification
        follower = (
            self._follower if monitor == self.database else self._server if monitor == _SERVER else None
        )
        return follower, [] if follower is None else follower.apply(update)

    def _tell(self, follower: Follower, changes: Sequence[RowChange]) -> None:
        if changes and follower is self._follower and self._on_change is not None:
            self._on_change(changes)

    def _check_leader(self, connection: OvsdbConnection) -> None:
        assert self._server is not None  # called with leader_only alone
        row = next(self._server.find("Database", name=self.database), None)
        if row is None or not row["leader"]:
            connection.abort(ConnectionLost(f"{connection.peer} does not lead {self.database}"))

    def _become_ready(self) -> None:
        self.last_error = None
        self._enter(ConnectionState.READY)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _refuse_waiters(self, error: OvsGeneveError) -> None:
        """Tell who waits for a snapshot what no waiting will cure."""
        for waiter in self._waiters:
            if not error.retryable and isinstance(error, NotSupported) and not waiter.done():
                waiter.set_exception(error)

    def _end(self) -> None:
        self._closed = True
        self._enter(ConnectionState.CLOSED)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(ConnectionLost(f"OVSDB client {self.name} is closed"))

    def _enter(self, state: ConnectionState) -> None:
        if state is not self.state:
            self.state = state
            if self._on_state is not None:
                self._on_state(state)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector still: a large update takes thrice as long when it looks on.

    All those new objects live, there is nothing to collect among them.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
