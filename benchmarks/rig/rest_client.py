# SPDX-License-Identifier: Apache-2.0
"""A light HTTP/1.1 client: a benchmark that asks must not cost more than the controller that answers."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

_PATIENCE = 60.0
_BODILESS = (204, 304)

_IDLE = 2.0
"Seconds after which a connection is not used again: the controller ends those that rest for five."


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Decode the body."""
        return json.loads(self.body)


def encode(method: str, path: str, document: object = None) -> bytes:
    """Return a whole request, ready to be sent."""
    body = b"" if document is None else json.dumps(document).encode()
    head = f"{method} {path} HTTP/1.1\r\nhost: controller\r\ncontent-length: {len(body)}\r\n"
    if body:
        head += "content-type: application/json\r\n"
    return head.encode() + b"\r\n" + body


class RestClient:
    """One keep-alive connection to the controller's REST API. Use as a context."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = self._connected()
        self._used = time.monotonic()

    def __enter__(self) -> RestClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, method: str, path: str, document: object = None) -> Answer:
        """Send a request and wait for its answer."""
        return self.send(encode(method, path, document))

    def send(self, request: bytes) -> Answer:
        """Send an encoded request and wait for its answer."""
        if time.monotonic() - self._used > _IDLE:
            self._socket.close()
            self._socket = self._connected()
        self._socket.sendall(request)
        received = self._socket.recv(65536)
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        status = int(received[9:12])
        head = received[:end].lower()
        length = 0 if status in _BODILESS else int(head.partition(b"content-length:")[2].split(None, 1)[0])
        parts = [received[end + 4 :]]
        missing = length - len(parts[0])
        while missing > 0:
            parts.append(self._more())
            missing -= len(parts[-1])
        self._used = time.monotonic()
        return Answer(status, b"".join(parts))

    def _connected(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self._port), timeout=_PATIENCE)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _more(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the controller hung up")
        return data


def send_all(port: int, requests: Iterable[bytes], connections: int) -> None:
    """Send requests over several connections at once; raise when one is not answered with success."""
    source = iter(requests)
    lock = threading.Lock()
    failures: list[object] = []

    def work() -> None:
        try:
            with RestClient(port) as client:
                while not failures:
                    with lock:
                        request = next(source, None)
                    if request is None:
                        return
                    answer = client.send(request)
                    if answer.status >= 300:
                        failures.append((request, answer))
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"not answered with success: {failures[0]}")
