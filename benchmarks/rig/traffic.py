# SPDX-License-Identifier: Apache-2.0
"""Traffic between two workloads of a lab: many connections, one that is never idle, pings.

Sockets made in a namespace stay there (`namespaces.inside`): only iperf3 and ping are programs of their own.
"""

from __future__ import annotations

import json
import re
import resource
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread

from controller.lab import Lab, commands, namespaces
from controller.lab.settings import workload_namespace
from controller.lab.workload import INTERFACE

_PORTS = range(1024, 65024)
_BULK_PORT = 5201

_WINDOW = "128K"
"By default a seventh of all segments is lost in the buffers of ovs-vswitchd's AF_PACKET sockets."
_PIECE = bytes(1 << 18)
_PATIENCE = 10.0


@contextmanager
def connections(lab: Lab, source: str, target: str, address: str, count: int) -> Iterator[None]:
    """Hold TCP connections from one workload to as many ports of another; a byte has gone both ways on each.

    The ports are spread: of neighbouring ones OVS covers many by a prefix, and a flow that matches a port goes unseen.
    """
    allow_files(4 * count + 200)
    with ExitStack() as stack:
        ports = _PORTS[:: len(_PORTS) // count][:count]
        listeners = [_listen(lab, target, address, port, stack) for port in ports]
        clients = [_connect(lab, source, address, port, stack) for port in ports]
        for listener, client in zip(listeners, clients, strict=True):
            server = stack.enter_context(listener.accept()[0])
            server.settimeout(_PATIENCE)
            for one, other in ((client, server), (server, client)):
                one.sendall(b"x")
                other.recv(1)
        yield


@contextmanager
def stream(lab: Lab, source: str, target: str, address: str) -> Iterator[str]:
    """Send as fast as one TCP connection can; tell what sends: iperf3, or a socket where there is none."""
    if commands.find("iperf3") is None:
        with _socket_stream(lab, source, target, address):
            yield "a Python socket"
        return
    with ExitStack() as stack:
        _serve_iperf3(lab, target, stack)
        line = ["iperf3", "-c", address, "-t", "3600", "-w", _WINDOW]
        client = lab.popen(source, line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(_end, client)
        yield "iperf3"


def iperf3(lab: Lab, source: str, target: str, address: str, seconds: int) -> float:
    """Run iperf3 once; return the Mbit that arrived."""
    with ExitStack() as stack:
        _serve_iperf3(lab, target, stack)
        line = ["iperf3", "-c", address, "-t", str(seconds), "-J"]
        done = lab.exec(source, line, timeout=seconds + 30)
        return float(json.loads(done.stdout)["end"]["sum_received"]["bytes"]) * 8e-6


def received_bytes(lab: Lab, port: str) -> int:
    """Return how many bytes a workload's interface has received."""
    table = namespaces.inside(
        workload_namespace(lab.state.name, port), Path("/proc/thread-self/net/dev").read_text
    )
    found = re.search(rf"^ *{INTERFACE}: *(\d+)", table, re.MULTILINE)
    assert found is not None
    return int(found[1])


def ping(lab: Lab, source: str, address: str, count: int, interval: float = 0.01) -> list[float]:
    """Return the round-trip times of pings in milliseconds; RuntimeError if most were lost."""
    line = ["ping", "-n", "-c", str(count), "-i", str(interval), "-W", "1", address]
    done = lab.exec(source, line, timeout=count * interval + 30)
    times = [float(each) for each in re.findall(r"time=([\d.]+) ms", done.stdout)]
    if len(times) <= count / 2:
        raise RuntimeError(f"ping {address}: {done.stdout[-300:]}")
    return times


def allow_files(count: int) -> None:
    """Let this process hold so many open files, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(count, hard)), hard))


def _listen(lab: Lab, port: str, address: str, number: int, stack: ExitStack) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    space = workload_namespace(lab.state.name, port)
    made = namespaces.inside(space, lambda: socket.create_server((address, number), family=family))
    made.settimeout(_PATIENCE)
    return stack.enter_context(made)


def _connect(lab: Lab, port: str, address: str, number: int, stack: ExitStack) -> socket.socket:
    space = workload_namespace(lab.state.name, port)
    made = namespaces.inside(space, lambda: socket.create_connection((address, number), _PATIENCE))
    return stack.enter_context(made)


def _serve_iperf3(lab: Lab, target: str, stack: ExitStack) -> None:
    line = ["iperf3", "-s", "-1", "--forceflush"]
    server = lab.popen(target, line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    stack.callback(_end, server)
    assert server.stdout is not None
    if not any("listening" in words for words in server.stdout):
        raise RuntimeError("iperf3 does not listen")


@contextmanager
def _socket_stream(lab: Lab, source: str, target: str, address: str) -> Iterator[None]:
    with ExitStack() as stack:
        listener = _listen(lab, target, address, _BULK_PORT, stack)
        client = _connect(lab, source, address, _BULK_PORT, stack)
        server = stack.enter_context(listener.accept()[0])
        threads = [Thread(target=_send_on, args=(client,)), Thread(target=_receive_on, args=(server,))]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def _send_on(client: socket.socket) -> None:
    with suppress(OSError):
        while True:
            client.sendall(_PIECE)


def _receive_on(server: socket.socket) -> None:
    buffer = bytearray(len(_PIECE))
    with suppress(OSError):
        while server.recv_into(buffer):
            pass


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
