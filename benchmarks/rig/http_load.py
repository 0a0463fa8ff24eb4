# SPDX-License-Identifier: Apache-2.0
"""A light HTTP/1.1 load: keep-alive connections, one request each in flight, answers hardly looked at.

Requests are bytes made beforehand, so that the generator costs a fraction of what it measures (`Load.cpu`).
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from benchmarks.rig.report import percentile

Address = tuple[str, int]

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


@dataclass
class Load:
    """What came of a series of requests."""

    latencies: list[float] = field(default_factory=list)
    "Seconds from the write of each request to the end of its answer, in the order of the answers."
    answered: list[tuple[bytes, bytes]] = field(default_factory=list)
    "Requests with a 2xx answer, and its body."
    statuses: Counter[int] = field(default_factory=Counter)
    elapsed: float = 0.0
    cpu: float = 0.0
    "Processor seconds of the generator itself."

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.elapsed

    def milliseconds(self, percent: float) -> float:
        """Return a percentile of the latencies."""
        return percentile(self.latencies, percent) * 1000


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """Make the bytes of a request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: controller\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def run(
    address: Address,
    requests: Iterable[bytes],
    connections: int = 1,
    *,
    on_answer: Callable[[Load], None] | None = None,
) -> Load:
    """Send all requests over a number of connections; return when all are answered, or the server is gone.

    `on_answer` is called after each answer.
    """
    waiting = deque(requests)
    gc.collect()
    gc.freeze()
    gc.disable()  # the generator's own pauses are not what is asked for
    try:
        return asyncio.run(_run(address, waiting, connections, on_answer))
    finally:
        gc.enable()
        gc.unfreeze()


async def _run(
    address: Address, waiting: deque[bytes], connections: int, on_answer: Callable[[Load], None] | None
) -> Load:
    load = Load()
    loop = asyncio.get_running_loop()
    clients = [_Client(waiting, load, loop.create_future(), on_answer) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(partial(_same, client), *address)
    began, cpu = time.perf_counter(), time.process_time()
    for client in clients:
        client.send_next()
    await asyncio.wait([client.done for client in clients])
    load.elapsed, load.cpu = time.perf_counter() - began, time.process_time() - cpu
    for client in clients:
        client.close()
    return load


def _same(client: _Client) -> _Client:
    return client


class _Client(asyncio.Protocol):
    """One connection that takes the next waiting request when its last one is answered."""

    def __init__(
        self,
        waiting: deque[bytes],
        load: Load,
        done: asyncio.Future[None],
        on_answer: Callable[[Load], None] | None,
    ) -> None:
        self.done = done
        self._waiting = waiting
        self._load = load
        self._on_answer = on_answer
        self._received = b""
        self._request = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = self._received.find(_HEAD_END)
        if head < 0:
            return
        body = head + len(_HEAD_END)
        if len(self._received) < body + self._length(head):
            return
        self._take(int(self._received[9:12]), self._received[body:])
        self._received = b""
        self.send_next()

    def connection_lost(self, error: Exception | None) -> None:
        self._finish()

    def send_next(self) -> None:
        """Write the next request; without one this connection is done."""
        assert self._transport is not None
        if not self._waiting or self._transport.is_closing():
            self._finish()
            return
        self._request = self._waiting.popleft()
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)

    def close(self) -> None:
        """Hang up."""
        assert self._transport is not None
        self._transport.close()

    def _take(self, status: int, body: bytes) -> None:
        self._load.latencies.append(time.perf_counter() - self._sent_at)
        self._load.statuses[status] += 1
        if 200 <= status < 300:
            self._load.answered.append((self._request, body))
        if self._on_answer is not None:
            self._on_answer(self._load)

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def _length(self, head: int) -> int:
        at = self._received.find(_LENGTH, 0, head)
        return int(self._received[at + len(_LENGTH) : self._received.find(b"\r", at)]) if at >= 0 else 0
