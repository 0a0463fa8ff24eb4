# SPDX-License-Identifier: Apache-2.0
"""One OpenFlow connection on asyncio: whole messages, the HELLO, liveness, back-pressure. No os-ken here.

    connected ─ HELLO sent ─► first message is a HELLO with 1.5 ─► `message` … established() ─► probes
        │ 10 s pass, garbage, another version (HELLO_FAILED)            │ silence: echo request, then given up
        ▼                                                               ▼
      lost, exactly once ◄──────────────────────────────────────────────┘

It writes what the receiver's `data_to_send` gives, a chunk for each turn of the loop, and stops while the
peer does not read.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Protocol

from ovs_geneve.errors import DecodeError
from ovs_geneve.openflow.messages import (
    HEADER_LENGTH,
    VERSION,
    MessageType,
    decode_hello,
    encode_echo_request,
    encode_hello,
    encode_hello_failed,
)

PROBE_XID = 0xFFFF_FFFF
"The xid of our echo requests: outside what sessions and os-ken apps use."

MAX_UNSENT = 16 * 1024 * 1024
"Bytes a peer may leave unread before it is cut off; sessions stop far below, only apps can get here."

HIGH_WATER = 256 * 1024

_PREFIX = Struct("!BBH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long to wait, in seconds."""

    handshake: float = 10.0
    "From the connect until the switch has told its ports."
    probe: float = 5.0
    "Silence after which an echo request goes out."
    dead: float = 30.0
    "Silence after which the peer is given up. A busy vswitchd may be silent for five seconds."
    close: float = 5.0
    "How long a peer may take to read what was sent before we closed."


class Receiver(Protocol):
    """Who is told what a channel brings."""

    def connected(self) -> None:
        """Take note that the connection is there and our HELLO is sent."""

    def message(self, message: bytes) -> None:
        """Take one whole message, the peer's HELLO first; DecodeError ends the connection."""

    def data_to_send(self) -> bytes:
        """Give the next bytes to write, b"" when there are none for now."""

    def lost(self, reason: str, versions: frozenset[int] | None) -> None:
        """Take note of the end; comes once for each `connected`.

        `versions` are those the peer offered where none of them is 1.5.
        """


class Channel(asyncio.Protocol):
    """Connects one socket with one receiver. `open_channels` holds every channel that is connected."""

    receiver: Receiver

    def __init__(self, open_channels: set[Channel], timing: Timing) -> None:
        self._open_channels = open_channels
        self._timing = timing
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._last_received = 0.0
        self._greeted = False
        self._paused = False
        self._pulling = False
        self._reason: str | None = None
        self._versions: frozenset[int] | None = None
        self.ended: asyncio.Future[None] = self._loop.create_future()
        "Done when the connection is over."

    @property
    def is_open(self) -> bool:
        """Tell whether anything can still be written."""
        return self._transport is not None and self._reason is None

    @property
    def peer(self) -> object:
        """Tell the peer's address; "" on Unix sockets."""
        return None if self._transport is None else self._transport.get_extra_info("peername")

    @property
    def socket(self) -> object:
        """Give asyncio's view of the socket, for its options only."""
        return None if self._transport is None else self._transport.get_extra_info("socket")

    def established(self) -> None:
        """End the handshake's time limit and start probing."""
        self._arm(self._timing.probe, self._probe)

    def write(self, data: bytes) -> bool:
        """Queue bytes; False when the connection is closing."""
        if self._transport is None or self._reason is not None:
            return False
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > MAX_UNSENT:
            self.abort(f"peer leaves more than {MAX_UNSENT} bytes unread")
        return self._reason is None

    def pull(self) -> None:
        """Write what there is to write, now and in the next turns of the loop."""
        if not self._pulling:
            self._pull()

    def close(self, reason: str) -> None:
        """Close after what is queued has been sent, or `Timing.close` seconds later anyway."""
        if self._transport is None or self._reason is not None:
            return
        self._reason = reason
        self._buffer.clear()
        self._transport.close()
        self._arm(self._timing.close, self._transport.abort)

    def abort(self, reason: str) -> None:
        """Cut the connection at once."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the peer (asyncio calls this)."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open_channels.add(self)
        transport.set_write_buffer_limits(high=HIGH_WATER)
        _set_no_delay(transport)
        self._arm(self._timing.handshake, self._handshake_timeout)
        transport.write(encode_hello())
        self.receiver.connected()

    def data_received(self, data: bytes) -> None:
        """Cut the stream into messages (asyncio calls this)."""
        self._last_received = self._loop.time()
        buffer = self._buffer
        buffer += data
        start = 0
        while self._reason is None and len(buffer) - start >= HEADER_LENGTH:
            version, kind, length = _PREFIX.unpack_from(buffer, start)
            if not self._acceptable(version, kind, length) or len(buffer) - start < length:
                break
            message = bytes(memoryview(buffer)[start : start + length])
            start += length
            self._dispatch(message)
        del buffer[:start]
        self.pull()

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up and tell the receiver (asyncio calls this)."""
        reason = self._reason or (f"{exc}" if exc else "closed by the peer")
        self._reason = reason
        self._open_channels.discard(self)
        self._cancel_timer()
        self._buffer.clear()
        self._transport = None
        self.ended.set_result(None)
        self.receiver.lost(reason, self._versions)

    def pause_writing(self) -> None:
        """Stop pulling: the peer does not read (asyncio calls this)."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on pulling (asyncio calls this)."""
        self._paused = False
        self.pull()

    def _acceptable(self, version: int, kind: int, length: int) -> bool:
        if length < HEADER_LENGTH:
            self.abort(f"message of {length} bytes")
        elif not self._greeted and kind != MessageType.HELLO:
            self.abort(f"first message is of type {kind}, not HELLO")
        elif version != VERSION and kind not in (MessageType.HELLO, MessageType.ERROR):
            self.abort(f"message of version {version} after agreeing on {VERSION}")
        return self._reason is None

    def _dispatch(self, message: bytes) -> None:
        try:
            if not self._greeted and not self._greet(message):
                return
            if message[1] == MessageType.ECHO_REPLY and message[4:8] == b"\xff\xff\xff\xff":
                return  # the answer to our probe; that it came is all there is to know
            self.receiver.message(message)
        except DecodeError as error:
            self.abort(f"cannot decode message type {message[1]}, {len(message)} bytes: {error}")

    def _greet(self, hello: bytes) -> bool:
        versions = decode_hello(hello)
        self._greeted = VERSION in versions
        if not self._greeted:
            self._versions = versions
            offered = ", ".join(str(version) for version in sorted(versions))
            text = (
                f"the controller speaks OpenFlow 1.5 (version 6) only, the switch offers versions {offered}"
            )
            self.write(encode_hello_failed(hello, text))
            self.close(text)
        return self._greeted

    def _pull(self) -> None:
        self._pulling = False
        if self._paused or not self.is_open:
            return
        data = self.receiver.data_to_send()
        if data:
            self.write(data)
            # One chunk a turn: a bundle of 20,000 flows must not hold up the other switches.
            self._pulling = True
            self._loop.call_soon(self._pull)

    def _handshake_timeout(self) -> None:
        self.abort(f"no handshake within {self._timing.handshake:g} s")

    def _probe(self) -> None:
        silence = self._loop.time() - self._last_received
        if silence >= self._timing.dead:
            self.abort(f"silent for {silence:.1f} s")
            return
        if silence >= self._timing.probe:
            self.write(encode_echo_request(PROBE_XID))
            silence = 0.0
        self._arm(self._timing.probe - silence, self._probe)

    def _arm(self, delay: float, action: Callable[[], object]) -> None:
        self._cancel_timer()
        if self._transport is not None:
            self._timer = self._loop.call_later(delay, action)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _set_no_delay(transport: asyncio.Transport) -> None:
    # asyncio does so for plain TCP only; Unix sockets have no such option.
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
