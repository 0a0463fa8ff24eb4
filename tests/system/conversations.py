# SPDX-License-Identifier: Apache-2.0
"""Do two workloads get to talk? Sockets of their kernels, made in their namespaces."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from controller.lab import namespaces
from controller.lab.settings import workload_namespace
from tests.system.overlay import Endpoint, Overlay

T = TypeVar("T")

REFUSED_S = 0.4
"A SYN that is dropped is sent again after a second: what takes so long was refused."

_ports = itertools.count(20_000)


def inside(overlay: Overlay, endpoint: Endpoint, make: Callable[[], T]) -> T:
    """Call something in a workload's namespace; a socket that it makes stays there."""
    return namespaces.inside(workload_namespace(overlay.lab.state.name, endpoint.name), make)


def tcp(overlay: Overlay, source: Endpoint, target: Endpoint, port: int, *, version: int = 4) -> bool:
    """Tell whether a connection comes about and carries bytes both ways."""
    address = target.ipv6 if version == 6 else target.ipv4
    with ExitStack() as stack:
        listener = stack.enter_context(listen(overlay, target, address, port))
        try:
            client = stack.enter_context(connect(overlay, source, address, port))
        except TimeoutError:
            return False
        server = stack.enter_context(listener.accept()[0])
        server.settimeout(5)
        for one, other in ((client, server), (server, client)):
            one.sendall(b"x" * 3000)
            while len(other.recv(3000, socket.MSG_PEEK | socket.MSG_WAITALL)) < 3000:
                pass
        return True


def listen(overlay: Overlay, target: Endpoint, address: str, port: int) -> socket.socket:
    """Return a socket that takes connections to a workload; `accept` waits no longer than 5 s."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = inside(overlay, target, lambda: socket.create_server((address, port), family=family, backlog=1024))
    made.settimeout(5)
    return made


def connect(
    overlay: Overlay, source: Endpoint, address: str, port: int, timeout: float = REFUSED_S
) -> socket.socket:
    """Return a connection of a workload; TimeoutError where nobody answers."""
    made = inside(overlay, source, lambda: socket.create_connection((address, port), timeout))
    made.settimeout(5)
    return made


def udp(
    overlay: Overlay, source: Endpoint, target: Endpoint, port: int, *, version: int = 4
) -> tuple[bool, bool]:
    """Tell whether a datagram arrives, and whether an answer to it comes back."""
    address = target.ipv6 if version == 6 else target.ipv4
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    with ExitStack() as stack:
        client, server = (
            stack.enter_context(inside(overlay, end, lambda: socket.socket(family, socket.SOCK_DGRAM)))
            for end in (source, target)
        )
        server.bind((address, port))
        client.bind((source.ipv6 if version == 6 else source.ipv4, next(_ports)))
        for end in (client, server):
            end.settimeout(REFUSED_S)
        client.sendto(b"question", (address, port))
        try:
            _, whence = server.recvfrom(100)
        except TimeoutError:
            return False, False
        server.sendto(b"answer", whence)
        try:
            return True, client.recv(100) == b"answer"
        except TimeoutError:
            return True, False
