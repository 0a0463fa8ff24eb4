# SPDX-License-Identifier: Apache-2.0
"""One JSON-RPC channel of OVSDB (RFC 7047 4), whoever opened it; knows messages, not tables.

    bytes ─► MessageScanner ─► reply ──────► `decode` of the request, at once, then its future
                               notification ► on_notification
                               "echo" ──────► answered
    silence for probe_interval ─► our "echo"; silence for another ─► lost

Replies are decoded while the bytes are read, not when the caller runs next: a notification that follows
a monitor's reply in the same chunk must find the reply's rows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from msgspec import Raw

from ovs_geneve.errors import ConnectionLost, DecodeError, OvsdbError
from ovs_geneve.ovsdb.messages import (
    MAX_MESSAGE,
    Message,
    MessageScanner,
    decode_message,
    encode_notification,
    encode_reply,
    encode_request,
)

PROBE_INTERVAL = 5.0
"Seconds of silence before we probe, as OVS has it; 0 never probes."

CLOSE_TIMEOUT = 1.0
"Seconds that what was written may take to leave before `close` cuts the channel."

_log = logging.getLogger(__name__)

T = TypeVar("T")


class RequestRefused(OvsdbError):
    """Raised when the server answers a request other than `transact` with an error."""

    def __init__(self, method: str, error: str, details: str) -> None:
        super().__init__(f"{method}: {error}: {details}" if details else f"{method}: {error}")
        self.method = method
        self.error = error
        self.details = details


class _Settled(Protocol):
    """A request without its answer yet, whatever the type of that answer."""

    def settle(self, reply: Message) -> None: ...

    def fail(self, error: Exception) -> None: ...


@dataclass(frozen=True, slots=True)
class _Pending(Generic[T]):
    """A request whose answer is a T."""

    method: str
    future: asyncio.Future[T]
    decode: Callable[[Raw], T]

    def settle(self, reply: Message) -> None:
        if self.future.done():
            return
        if reply.error is not None:
            self.future.set_exception(RequestRefused(self.method, *error_text(reply.error)))
        else:
            self.future.set_result(self.decode(reply.result))

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class OvsdbConnection(asyncio.Protocol):
    """A channel to an OVSDB peer: requests out, replies and notifications in.

    Made by `OvsdbClient` when it dials and by `OvsdbListener` when a host calls in. It needs no task: the
    event loop drives it, and whatever ends it (either side, silence, bytes that are no JSON-RPC, a message
    over `max_message` bytes) shows in `wait_closed` and fails what was pending with ConnectionLost.
    """

    def __init__(
        self,
        *,
        on_connected: Callable[[OvsdbConnection], None] | None = None,
        on_closed: Callable[[OvsdbConnection], object] | None = None,
        probe_interval: float = PROBE_INTERVAL,
        max_message: int = MAX_MESSAGE,
    ) -> None:
        self.on_notification: Callable[[Message], None] | None = None
        "Called, while bytes are read, with each notification; set by whoever uses the connection."
        self._on_connected = on_connected
        self._on_closed = on_closed
        self._probe_interval = probe_interval
        self._max_message = max_message
        self._scanner = MessageScanner(max_message)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard = 0.0
        self._probing = False
        self._next_id = 0
        self._pending: dict[int, _Settled] = {}
        self._writable = asyncio.Event()
        self._closed = asyncio.Event()
        self._reason: Exception | None = None
        self.local_address: tuple[str, int] | None = None
        "Address and port of our end, None on a Unix socket: where this peer can reach us."
        self.peer_address: tuple[str, int] | None = None
        "Address and port of the other end, None on a Unix socket."
        self.peer_name: str | None = None
        "The common name in the peer's certificate; None without TLS or when it showed none."

    @property
    def is_closed(self) -> bool:
        """Tell whether the channel ended."""
        return self._closed.is_set()

    @property
    def reason(self) -> Exception | None:
        """Why the channel ended, None while it works: ConnectionLost, DecodeError or a callback's error."""
        return self._reason

    async def wait_closed(self) -> None:
        """Return once the channel ended and its socket is closed."""
        await self._closed.wait()

    async def request(self, method: str, params: Sequence[object], decode: Callable[[Raw], T]) -> T:
        """Send a request and return what `decode` makes of the result.

        `decode` runs while the reply is read; a DecodeError of it ends the channel. Raises RequestRefused
        and ConnectionLost. When the caller is cancelled the server is asked to give up too (RFC 7047 4.1.4).
        """
        await self._writable.wait()
        self._check_open()
        request_id = self._next_id
        self._next_id += 1
        future: asyncio.Future[T] = self._loop.create_future()
        self._send(encode_request(request_id, method, params))
        self._pending[request_id] = _Pending(method, future, decode)
        try:
            return await future
        except asyncio.CancelledError:
            if method == "transact" and request_id in self._pending:
                self.notify("cancel", [request_id])
            raise

    def notify(self, method: str, params: Sequence[object]) -> None:
        """Send a notification; nothing happens when the channel ended."""
        self._send(encode_notification(method, params))

    async def close(self) -> None:
        """End the channel: send what was written, for CLOSE_TIMEOUT at most; then everything is released."""
        if self._transport is None:
            return
        self._reason = self._reason or ConnectionLost("closed by us")
        self._transport.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._closed.wait()
        except TimeoutError:
            self._transport.abort()
            await self._closed.wait()

    def abort(self, reason: Exception) -> None:
        """End the channel at once for `reason`; the first reason stays."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls (asyncio.Protocol).

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; tell who is at its other end."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._heard = self._loop.time()
        self.local_address = _inet(transport.get_extra_info("sockname"))
        self.peer_address = _inet(transport.get_extra_info("peername"))
        self.peer_name = _common_name(transport.get_extra_info("peercert"))
        self._writable.set()
        if self._probe_interval > 0:
            self._timer = self._loop.call_later(self._probe_interval, self._watch)
        if self._on_connected is not None:
            self._on_connected(self)

    def data_received(self, data: bytes) -> None:
        """Handle the messages that these bytes complete."""
        self._heard = self._loop.time()
        self._probing = False
        try:
            for text in self._scanner.feed(data):
                if self._reason is None:
                    self._receive(decode_message(text))
        except DecodeError as error:
            _log.warning("OVSDB peer %s: %s", self.peer, error)
            self.abort(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Settle everything; the transport's own error is told unless we know better."""
        if self._reason is None:
            self._reason = _reason(exc, self.peer, self._scanner.partial)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        pending, self._pending = self._pending, {}
        for one in pending.values():
            one.fail(_lost(self._reason))
        self._scanner = MessageScanner()
        self.on_notification = None
        self._closed.set()
        self._writable.set()
        if self._on_closed is not None:
            self._on_closed(self)

    def pause_writing(self) -> None:
        """Let requests wait until the peer reads."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let requests go on."""
        self._writable.set()

    @property
    def peer(self) -> str:
        """Name the other end for a log."""
        address = (
            f"{self.peer_address[0]}:{self.peer_address[1]}" if self.peer_address else "on a Unix socket"
        )
        return f"{self.peer_name} at {address}" if self.peer_name else address

    def _receive(self, message: Message) -> None:
        if message.method is None:
            self._reply(message)
        elif message.id is None:
            if self.on_notification is not None:
                self.on_notification(message)
        elif message.method == "echo":
            self._answer(encode_reply(message.id, message.params))
        else:
            self._answer(encode_reply(message.id, None, {"error": "unknown method"}))

    def _reply(self, message: Message) -> None:
        """Settle a request; it stays pending while `decode` runs, so that an error there fails it too."""
        if not isinstance(message.id, int) or message.id not in self._pending:
            return  # the answer to a probe
        self._pending[message.id].settle(message)
        del self._pending[message.id]

    def _answer(self, reply: bytes) -> None:
        """Answer the peer, unless it asks without ever reading: that would grow without bound."""
        assert self._transport is not None
        if self._transport.get_write_buffer_size() > self._max_message:
            self.abort(ConnectionLost(f"OVSDB peer {self.peer} asks but does not read"))
        else:
            self._send(reply)

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _check_open(self) -> None:
        if self._transport is None or self._transport.is_closing():
            raise _lost(self._reason or ConnectionLost("not connected"))

    def _watch(self) -> None:
        """Probe a silent peer; give up on one that stays silent."""
        idle = self._loop.time() - self._heard
        if idle < self._probe_interval:
            self._timer = self._loop.call_later(self._probe_interval - idle, self._watch)
        elif self._probing:
            self.abort(ConnectionLost(f"OVSDB peer {self.peer} is silent for {idle:.1f} s"))
        else:
            self._probing = True
            self._send(b'{"id":"echo","method":"echo","params":[]}')
            self._timer = self._loop.call_later(self._probe_interval, self._watch)


def error_text(error: object) -> tuple[str, str]:
    """Split an <error> of RFC 7047 3.1 into error and details; ovsdb-server sends bare strings too."""
    if isinstance(error, dict):
        return str(error.get("error", "unknown error")), str(error.get("details", ""))
    return str(error), ""


def _lost(reason: Exception) -> ConnectionLost:
    if isinstance(reason, ConnectionLost):
        return ConnectionLost(*reason.args)
    lost = ConnectionLost(str(reason))
    lost.__cause__ = reason
    return lost


def _reason(error: Exception | None, peer: str, partial: bool) -> Exception:
    if error is not None and not isinstance(error, OSError):
        return error
    how = str(error) if error else "closed by the peer"
    lost = ConnectionLost(f"OVSDB peer {peer}: {how}{' in the middle of a message' if partial else ''}")
    lost.__cause__ = error
    return lost


def _inet(name: object) -> tuple[str, int] | None:
    if isinstance(name, tuple) and len(name) >= 2:
        return str(name[0]), int(name[1])
    return None


def _common_name(certificate: object) -> str | None:
    """Find the common name in what `ssl.SSLSocket.getpeercert` gives for a verified certificate."""
    if not isinstance(certificate, dict):
        return None
    names = (value for part in certificate.get("subject", ()) for key, value in part if key == "commonName")
    return next(names, None)
