# SPDX-License-Identifier: Apache-2.0
"""Peers that come and go, over and over, in every manner: each end is noticed and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import struct
import threading
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import pytest

from ovs_geneve.errors import ConnectionLost, DecodeError
from ovs_geneve.ovsdb.client import ConnectionState, OvsdbClient
from ovs_geneve.ovsdb.listener import OvsdbListener
from ovs_geneve.ovsdb.operations import Comment
from ovs_geneve.ovsdb.rows import HOST_TABLES
from tests.functional.ovsdb.conftest import Daemons, running, started, until
from tests.functional.ovsdb.fake_server import Ending, Fakes
from tests.functional.ovsdb.pki import Authority

MONITOR = {"Bridge": ["name", "ports"]}

QUICK = [ending for ending in Ending if ending not in (Ending.SILENT, Ending.HALF_SILENT, Ending.NEVER)]


@dataclass(frozen=True)
class Footprint:
    """What this process holds."""

    tasks: int
    files: int
    threads: int
    objects: int

    @classmethod
    def now(cls) -> Footprint:
        gc.collect()
        return cls(
            len(asyncio.all_tasks()),
            len(os.listdir("/proc/self/fd")),
            threading.active_count(),
            len(gc.get_objects()),
        )


async def settled(before: Footprint) -> None:
    """Tasks, files and threads must be back at what they were; transports close a turn or two later."""
    with contextlib.suppress(TimeoutError):
        await until(lambda: _same(Footprint.now(), before), "nothing left over", seconds=2)
    now = Footprint.now()
    assert (now.tasks, now.files, now.threads) == (before.tasks, before.files, before.threads)


def _same(now: Footprint, before: Footprint) -> bool:
    return (now.tasks, now.files, now.threads) == (before.tasks, before.files, before.threads)


def restless(remote: str, **how) -> OvsdbClient:
    """A client that dials again at once."""
    return OvsdbClient(remote, "Open_vSwitch", MONITOR, min_backoff=0.0005, max_backoff=0.001, **how)


async def test_a_thousand_servers_that_end_in_every_manner(tmp_path: Path, caplog):
    path = str(tmp_path / "db.sock")
    caplog.set_level(logging.CRITICAL, logger="ovs_geneve")  # pytest keeps what is logged, with its frames
    fakes = Fakes([*islice(cycle(QUICK), 1000), Ending.NEVER])
    before = Footprint.now()
    server = await fakes.listen(path=path)
    states, reasons, objects = [], set(), []
    client = restless(f"unix:{path}")

    def note(state: ConnectionState) -> None:
        states.append(state)
        if state is ConnectionState.BACKOFF:
            reasons.add(type(client.last_error))
            if fakes.accepted in (200, 1000):
                objects.append(Footprint.now().objects)

    client._on_state = note
    async with started(client):
        await until(lambda: fakes.accepted == 1001, "the last server", seconds=30)
        async with asyncio.timeout(5):
            await client.ready()
        assert states.count(ConnectionState.BACKOFF) == 1000  # each end was noticed
        # Those that ended after their snapshot had been in service.
        in_service = [Ending.CLEAN, Ending.RESET, Ending.HALF_UPDATE, Ending.GARBAGE, Ending.BAD_UPDATE]
        expected = sum(ending in in_service for ending in islice(cycle(QUICK), 1000)) + 1
        assert abs(states.count(ConnectionState.READY) - expected) <= expected * 0.5
        assert reasons <= {ConnectionLost, DecodeError}
        assert {ConnectionLost, DecodeError} <= reasons
        assert len(client.replica.rows("Bridge")) == 1
        assert len(fakes.sessions) == 1
        # 800 connections later: no more objects but the states noted here.
        assert objects[1] - objects[0] < 200
    server.close()
    await server.wait_closed()
    del server
    await settled(before)


@pytest.mark.parametrize("ending", [Ending.SILENT, Ending.HALF_SILENT])
async def test_silent_servers_are_found_out(tmp_path: Path, ending):
    path = str(tmp_path / "db.sock")
    fakes = Fakes([ending] * 20 + [Ending.NEVER])
    before = Footprint.now()
    server = await fakes.listen(path=path)
    async with started(restless(f"unix:{path}", probe_interval=0.02)) as client:
        await until(lambda: fakes.accepted == 21, "the last server")
        assert "silent" in str(client.last_error) or client.connected
        async with asyncio.timeout(5):
            await client.ready()
        await asyncio.sleep(0.1)
        assert client.connected  # the one that answers probes is kept
    server.close()
    await server.wait_closed()
    await settled(before)


async def test_what_is_pending_when_the_server_goes_is_told(tmp_path: Path):
    path = str(tmp_path / "db.sock")
    fakes = Fakes([Ending.NEVER])
    server = await fakes.listen(path=path)
    async with running(restless(f"unix:{path}")) as client:
        waiting = [asyncio.create_task(client.transact([Comment("x")])) for _ in range(10)]
        await asyncio.sleep(0.02)
        next(iter(fakes.sessions)).transport.abort()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {ConnectionLost}
    server.close()
    await server.wait_closed()


async def test_tls_servers_that_end_in_every_manner(authority: Authority):
    """In the handshake of TLS as well: every other one hangs up after the first bytes."""
    identity = authority.issue("hv1")
    fakes = Fakes([*islice(cycle(QUICK), 60), Ending.NEVER])
    before = Footprint.now()
    inner = await fakes.listen(tls=authority.context(identity, server=True))
    inner_port = inner.sockets[0].getsockname()[1]
    outer = await asyncio.start_server(_hang_up_every_other(inner_port), "127.0.0.1", 0)
    remote = f"ssl:127.0.0.1:{outer.sockets[0].getsockname()[1]}"
    async with started(restless(remote, tls=authority.context(identity, server=False))) as client:
        await until(lambda: fakes.accepted == 61, "the last server", seconds=30)
        async with asyncio.timeout(5):
            await client.ready()
        assert client.peer_name == "hv1"
    for one in (outer, inner):
        one.close()
        await one.wait_closed()
    await settled(before)


def _hang_up_every_other(port: int):
    """Make a relay to the port that cuts every other connection after the client's first bytes."""
    calls = iter(range(1 << 30))

    async def relay(reader, writer) -> None:
        number = next(calls)
        first = await reader.read(4096)
        if number % 2:
            if number % 4 == 1:
                writer.transport.abort()
            writer.close()
            return
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        inner_writer.write(first)
        await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))

    return relay


async def _pump(reader, writer) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


CALLERS = {
    "hangs up": b"",
    "half a message": b'{"id":0,"result":{"na',
    "garbage": b"GET / HTTP/1.1\r\n\r\n",
    "a wrong answer": b'{"id":0,"result":[],"error":null}',
    "a refusal": b'{"id":0,"result":null,"error":"unknown database"}',
    "deep": b'{"id":0,"result":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
}


def _waits(number: int) -> bool:
    """Tell whether this caller says nothing that ends the call: it must hang up itself."""
    return number % len(CALLERS) < 2


async def test_three_hundred_callers_leave_nothing(tmp_path: Path):
    before = Footprint.now()
    endings = []
    tasks = set()

    async def serve(connection) -> None:
        client = OvsdbClient(None, "Open_vSwitch", MONITOR)
        endings.append(await client.serve(connection))
        assert connection.is_closed
        await client.close()

    listener = OvsdbListener("ptcp:0:127.0.0.1", lambda one: tasks.add(asyncio.create_task(serve(one))))
    await listener.start()
    for number, message in zip(range(300), cycle(CALLERS.values()), strict=False):
        _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(message)
        if number % 2:
            writer.transport.abort()
        else:
            await until(lambda wanted=number: len(endings) == wanted + 1 or _waits(wanted), "its end")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    await until(lambda: len(endings) == 300, "all ends")
    assert not listener.connections
    assert {type(ending).__name__ for ending in endings} == {
        "ConnectionLost",
        "DecodeError",
        "RequestRefused",
    }
    await listener.close()
    await asyncio.gather(*tasks)
    tasks.clear()
    del writer, _
    await settled(before)


async def test_callers_that_stop_in_the_tls_handshake_never_reach_us(authority: Authority, monkeypatch):
    monkeypatch.setattr("ovs_geneve.ovsdb.listener.TLS_HANDSHAKE_TIMEOUT", 0.3)
    before = Footprint.now()
    calls = []
    tls = authority.context(authority.issue("controller"), server=True)
    listener = OvsdbListener("pssl:0:127.0.0.1", calls.append, tls=tls)
    await listener.start()
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(20)
    silent = []
    for number in range(60):
        caller = socket.create_connection(("127.0.0.1", listener.port))
        caller.sendall([b"", hello, b"GET / HTTP/1.1\r\n\r\n", b'{"id":0}'][number % 4])
        if number % 3 == 0:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset
            caller.close()
        elif number % 3 == 1:
            caller.close()
        else:
            silent.append(caller)
        await asyncio.sleep(0)
    # Those that stay connected and silent are closed by us: the timeout frees their sockets on our side.
    for caller in silent:
        caller.setblocking(False)
    await until(lambda: all(_ended(caller) for caller in silent), "the end of the silent ones", seconds=5)
    for caller in silent:
        caller.close()
    assert not calls
    await listener.close()
    await settled(before)


def _ended(caller: socket.socket) -> bool:
    try:
        return caller.recv(4096) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


async def test_a_real_server_killed_and_restarted_thirty_times(ovsdb: Daemons):
    before = Footprint.now()
    states = []
    client = OvsdbClient(
        ovsdb.remote, "Open_vSwitch", HOST_TABLES, min_backoff=0.01, max_backoff=0.02, on_state=states.append
    )
    async with running(client):
        for number in range(30):
            how = signal.SIGKILL if number % 2 else signal.SIGTERM
            await asyncio.to_thread(ovsdb.end, "ovsdb-server", how)
            await until(lambda: not client.connected, "the loss")
            await asyncio.to_thread(ovsdb.start_ovsdb)
            async with asyncio.timeout(10):
                await client.ready()
            await client.transact([Comment("hello")])
        assert states.count(ConnectionState.READY) == 31
    now = Footprint.now()
    assert (now.tasks, now.files) == (before.tasks, before.files)


async def test_a_real_server_a_hundred_clients(ovsdb: Daemons):
    before = Footprint.now()
    for _ in range(100):
        async with running(OvsdbClient(ovsdb.remote, "Open_vSwitch", HOST_TABLES)) as client:
            assert client.connected
    await settled(before)
