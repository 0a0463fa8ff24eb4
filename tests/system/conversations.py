# SPDX-License-Identifier: Apache-2.0
"""Do two workloads get to talk? Sockets of their kernels, made in their namespaces."""

from __future__ import annotations

import itertools
import resource
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from controller.lab import namespaces
from controller.lab.settings import workload_namespace
from tests.patience import patient
from tests.system.overlay import Endpoint, Overlay

T = TypeVar("T")

REFUSED_S = patient(0.4)
"A SYN that is dropped is sent again after a second: what takes so long was refused."

_ports = itertools.count(20_000)


def inside(overlay: Overlay, endpoint: Endpoint, make: Callable[[], T]) -> T:
    """Call something in a workload's namespace; a socket that it makes stays there."""
    return namespaces.inside(workload_namespace(overlay.lab.state.name, endpoint.name), make)


def tcp(overlay: Overlay, source: Endpoint, target: Endpoint, port: int, *, version: int = 4) -> bool:
    """Tell whether a connection comes about and carries bytes both ways."""
    address = _address(target, version)
    with ExitStack() as stack:
        listener = stack.enter_context(listen(overlay, target, address, port))
        try:
            client = stack.enter_context(connect(overlay, source, address, port))
        except TimeoutError:
            return False
        server = stack.enter_context(listener.accept()[0])
        server.settimeout(patient(5))
        for one, other in ((client, server), (server, client)):
            one.sendall(b"x" * 3000)
            while len(other.recv(3000, socket.MSG_PEEK | socket.MSG_WAITALL)) < 3000:
                pass
        return True


def listen(overlay: Overlay, target: Endpoint, address: str, port: int) -> socket.socket:
    """Return a socket that takes connections to a workload; `accept` waits no longer than 5 s."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = inside(overlay, target, lambda: socket.create_server((address, port), family=family, backlog=1024))
    made.settimeout(patient(5))
    return made


def connect(
    overlay: Overlay, source: Endpoint, address: str, port: int, timeout: float = REFUSED_S
) -> socket.socket:
    """Return a connection of a workload; TimeoutError where nobody answers."""
    made = inside(overlay, source, lambda: socket.create_connection((address, port), timeout))
    made.settimeout(patient(5))
    return made


def udp(
    overlay: Overlay,
    source: Endpoint,
    target: Endpoint,
    port: int,
    *,
    version: int = 4,
    question: bytes = b"question",
) -> tuple[bool, bool]:
    """Tell whether a datagram arrives, and whether an answer to it comes back."""
    with _datagrams(overlay, source, version) as client, _datagrams(overlay, target, version, port) as server:
        client.sendto(question, server.getsockname()[:2])
        try:
            _, whence = server.recvfrom(len(question))
        except TimeoutError:
            return False, False
        server.sendto(b"answer", whence)
        try:
            return True, client.recv(100) == b"answer"
        except TimeoutError:
            return True, False


def udp_refused(overlay: Overlay, source: Endpoint, target: Endpoint, *, version: int = 4) -> bool:
    """Tell whether who sends to a port where nobody listens hears of it (ICMP port unreachable)."""
    with _datagrams(overlay, source, version) as client:
        client.connect((_address(target, version), next(_ports)))
        client.send(b"question")
        return _hears_refusal(client)


def udp_answer_refused(overlay: Overlay, source: Endpoint, target: Endpoint, *, version: int = 4) -> bool:
    """Tell whether who answers hears that the one who asked is gone."""
    with _datagrams(overlay, target, version) as server:
        with _datagrams(overlay, source, version) as client:
            client.sendto(b"question", server.getsockname()[:2])
            _, whence = server.recvfrom(100)
        server.connect(whence)
        server.send(b"answer")
        return _hears_refusal(server)


def _datagrams(overlay: Overlay, end: Endpoint, version: int, port: int | None = None) -> socket.socket:
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    made = inside(overlay, end, lambda: socket.socket(family, socket.SOCK_DGRAM))
    made.bind((_address(end, version), next(_ports) if port is None else port))
    made.settimeout(REFUSED_S)
    return made


def _address(end: Endpoint, version: int) -> str:
    return end.ipv6 if version == 6 else end.ipv4


def _hears_refusal(end: socket.socket) -> bool:
    try:
        end.recv(100)
    except ConnectionRefusedError:
        return True
    except TimeoutError:
        return False
    raise AssertionError("somebody answered")


@contextmanager
def many_connections(
    overlay: Overlay, source: Endpoint, target: Endpoint, ports: Iterable[int], *, version: int = 4
) -> Iterator[None]:
    """Hold a TCP connection to each of these ports, the same one as often as it is named; bytes went both ways."""
    address = _address(target, version)
    ports = list(ports)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * len(ports) + 200)), hard))
    with ExitStack() as stack:
        listeners = {p: stack.enter_context(listen(overlay, target, address, p)) for p in set(ports)}
        for port in ports:
            client = stack.enter_context(connect(overlay, source, address, port, 5))
            server = stack.enter_context(listeners[port].accept()[0])
            for one, other in ((client, server), (server, client)):
                one.sendall(b"x")
                other.settimeout(patient(5))
                assert other.recv(1) == b"x"
        yield
