# SPDX-License-Identifier: Apache-2.0
"""Frames by hand: built with scapy here, sent and heard on a workload's own interface.

A socket made in a namespace stays there (`namespaces.inside`), so that no program has to be started in it. A frame
carries a token behind its last header; receivers look for that, whatever else is on their wire.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterable
from contextlib import ExitStack
from os import urandom
from types import TracebackType
from typing import Self

from scapy.packet import Packet

from controller.lab import Lab, namespaces
from controller.lab.settings import fabric_namespace, workload_namespace
from controller.lab.underlay import UNDERLAY_SWITCH
from tests.patience import patient

BROADCAST = "ff:ff:ff:ff:ff:ff"

_ETH_P_ALL = 3
_PACKET_OUTGOING = 4
_SO_RCVBUFFORCE = 33
"asm-generic/socket.h: SO_RCVBUF stops at net.core.rmem_max, room for a few hundred frames."
_BUFFER = 4 << 20


def token() -> bytes:
    """Return bytes that no other frame has."""
    return b"ovsg" + urandom(12)


def marked(frame: Packet, mark: bytes) -> bytes:
    """Return the frame's bytes with the token behind them: no ICMP error quotes it."""
    return bytes(frame) + mark


class Wire:
    """A workload's interface, or the underlay's switch, as raw frames."""

    def __init__(self, lab: Lab, port: str | None = None) -> None:
        name = fabric_namespace(lab.state.name) if port is None else workload_namespace(lab.state.name, port)
        interface = UNDERLAY_SWITCH if port is None else "eth0"

        def opened() -> socket.socket:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            made.bind((interface, _ETH_P_ALL))
            return made

        self.what = port or "fabric"
        self._socket = namespaces.inside(name, opened)
        self._heard: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, frame: bytes) -> None:
        self._socket.send(frame)

    def heard(self) -> list[bytes]:
        """Return all frames that came in so far, oldest first."""
        while select.select([self._socket], [], [], 0)[0]:
            frame, origin = self._socket.recvfrom(65536)
            if origin[2] != _PACKET_OUTGOING:
                self._heard.append(frame)
        return self._heard

    def count(self, mark: bytes) -> int:
        return sum(mark in frame for frame in self.heard())

    def wait_for(self, mark: bytes, timeout: float = patient(3.0)) -> bool:
        """Tell whether a frame with the token came in within so many seconds."""
        end = time.monotonic() + timeout
        while not self.count(mark):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._socket], [], [], left)[0]:
                return bool(self.count(mark))
        return True


class Wires:
    """The wires of several workloads, by name."""

    def __init__(self, lab: Lab, ports: Iterable[str]) -> None:
        self._stack = ExitStack()
        self._wires = {port: self._stack.enter_context(Wire(lab, port)) for port in ports}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __getitem__(self, port: str) -> Wire:
        return self._wires[port]

    def counts(self, mark: bytes) -> dict[str, int]:
        """Return who heard the token how often, who did not is left out."""
        return {name: count for name, wire in self._wires.items() if (count := wire.count(mark))}

    def counts_after(self, mark: bytes, listeners: Iterable[str], grace: float = 0.2) -> dict[str, int]:
        """Return who heard the token how often, once all `listeners` heard it and a moment more has passed."""
        for name in listeners:
            self._wires[name].wait_for(mark)
        time.sleep(patient(grace))
        return self.counts(mark)
