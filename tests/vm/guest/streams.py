# SPDX-License-Identifier: Apache-2.0
"""What the guest says over its virtio-serial ports: two outputs, each up to a mark, and an exit code.

A port that the guest closes loses nothing, but tells nobody that it was closed: hence the mark.
"""

from __future__ import annotations

import selectors
import socket
import subprocess
import time
from collections.abc import Sequence
from typing import IO

from tests.vm.debian import Unavailable

MARK = b"\x00guest-end\x00"
"Behind the last byte of an output."

TIMED_OUT = 124
"The exit code of timeout(1)."

_EVERY = 0.5


class Output:
    """Bytes of one output; those that may begin the mark are held back until they turn out to be none."""

    def __init__(self) -> None:
        self.ended = False
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Take what came, return what is to be passed on."""
        data = self._held + data
        cut = data.find(MARK)
        if cut >= 0:
            self.ended, self._held = True, b""
            return data[:cut]
        kept = next((n for n in range(len(MARK) - 1, 0, -1) if data.endswith(MARK[:n])), 0)
        self._held = data[len(data) - kept :]
        return data[: len(data) - kept]


def follow(
    ports: Sequence[socket.socket], sinks: Sequence[IO[bytes]], qemu: subprocess.Popen[bytes], timeout: float
) -> int:
    """Pass both outputs on and return the exit code; TIMED_OUT after so many seconds. Raises Unavailable."""
    outputs, answer = [Output(), Output()], b""
    end = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        for number, port in enumerate(ports):
            selector.register(port, selectors.EVENT_READ, number)
        while not (all(output.ended for output in outputs) and b"\n" in answer):
            if time.monotonic() > end:
                return TIMED_OUT
            ready = selector.select(_EVERY)
            for key, _ in ready:
                number = int(key.data)
                data = _received(ports[number])
                if not data:
                    selector.unregister(ports[number])
                elif number == len(outputs):
                    answer += data
                else:
                    sinks[number].write(outputs[number].feed(data))
                    sinks[number].flush()
            if (not ready or not selector.get_map()) and qemu.poll() is not None:
                raise Unavailable(f"the guest ended before its command did (qemu: exit {qemu.returncode})")
    return int(answer.split()[0])


def _received(port: socket.socket) -> bytes:
    try:
        return port.recv(1 << 16)
    except ConnectionError:
        return b""
