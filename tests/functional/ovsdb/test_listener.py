# SPDX-License-Identifier: Apache-2.0
"""Hosts that call in: `ovs-vsctl set-manager` is all that is done on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ovs_geneve.errors import ConnectionLost, DecodeError, EncodeError
from ovs_geneve.ovsdb.client import ConnectionState, OvsdbClient
from ovs_geneve.ovsdb.connection import OvsdbConnection
from ovs_geneve.ovsdb.listener import OvsdbListener
from ovs_geneve.ovsdb.operations import Mutate, Mutation
from ovs_geneve.ovsdb.rows import HOST_TABLES, OpenVSwitch, each
from tests.functional.ovsdb.conftest import Daemons, until
from tests.functional.ovsdb.pki import Authority


class Reception:
    """Serves every caller with the one client, as long as its block lasts."""

    def __init__(self, listener_of, **how) -> None:
        self.client = OvsdbClient(None, "Open_vSwitch", HOST_TABLES, **how)
        self.calls: list[OvsdbConnection] = []
        self.endings: list[Exception] = []
        self.tasks: set[asyncio.Task] = set()
        self.listener = listener_of(self.welcome)

    def welcome(self, connection: OvsdbConnection) -> None:
        self.calls.append(connection)
        self.tasks.add(asyncio.create_task(self.serve(connection)))

    async def serve(self, connection: OvsdbConnection) -> None:
        self.endings.append(await self.client.serve(connection))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Reception]:
        await self.listener.start()
        try:
            yield self
        finally:
            await self.client.close()
            await self.listener.close()
            await asyncio.gather(*self.tasks)


def call_in(daemons: Daemons, target: str, *arguments: str) -> None:
    """Start an ovsdb-server that calls its managers, and give it one."""
    daemons.create_database()
    daemons.start_ovsdb("--remote=db:Open_vSwitch,Open_vSwitch,manager_options", *arguments)
    daemons.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", "external_ids:system-id=hv1")
    daemons.vsctl("--no-wait", "set-manager", target)


async def test_a_host_calls_in_over_tcp(daemons: Daemons):
    async with Reception(lambda welcome: OvsdbListener("ptcp:0:127.0.0.1", welcome)).open() as reception:
        await asyncio.to_thread(call_in, daemons, f"tcp:127.0.0.1:{reception.listener.port}")
        async with asyncio.timeout(10):
            await reception.client.ready()
        (root,) = each(reception.client.replica, OpenVSwitch)
        assert root.external_ids["system-id"] == "hv1"
        assert reception.client.local_address == ("127.0.0.1", reception.listener.port)
        await reception.client.transact([Mutate("Open_vSwitch", (), (Mutation("next_cfg", "+=", 1),))])
        assert daemons.vsctl("get", "Open_vSwitch", ".", "next_cfg") == "1"


async def test_a_host_shows_its_certificate(daemons: Daemons, authority: Authority):
    host, controller = authority.issue("hv1"), authority.issue("controller")
    files = (
        f"--private-key={host.key}",
        f"--certificate={host.certificate}",
        f"--ca-cert={authority.certificate}",
    )

    def listen(welcome) -> OvsdbListener:
        tls = authority.context(controller, server=True)
        return OvsdbListener("pssl:0:127.0.0.1", welcome, tls=tls)

    async with Reception(listen).open() as reception:
        await asyncio.to_thread(call_in, daemons, f"ssl:127.0.0.1:{reception.listener.port}", *files)
        async with asyncio.timeout(10):
            await reception.client.ready()
        assert reception.calls[0].peer_name == "hv1"
        assert reception.client.peer_name == "hv1"


async def test_a_host_that_calls_again_replaces_its_lost_connection(daemons: Daemons):
    changes = []
    reception = Reception(
        lambda welcome: OvsdbListener("ptcp:0:127.0.0.1", welcome), on_change=changes.extend
    )
    async with reception.open():
        await asyncio.to_thread(call_in, daemons, f"tcp:127.0.0.1:{reception.listener.port}")
        async with asyncio.timeout(10):
            await reception.client.ready()
        changes.clear()
        control = ("ovs-appctl", "-t", str(daemons.folder / "ovsdb.ctl"), "ovsdb-server/reconnect")
        await asyncio.to_thread(daemons.tool, *control)
        await until(lambda: len(reception.calls) == 2, "the second call")
        async with asyncio.timeout(10):
            await reception.client.ready()
        assert {change.table for change in changes} <= {"Manager"}  # it notes there that it was cut off
        assert isinstance(reception.endings[0], ConnectionLost)
        assert not reception.calls[1].is_closed


async def test_the_newest_call_is_served_even_if_the_old_one_seems_alive(ovsdb: Daemons, tmp_path: Path):
    """A host may vanish without a word and call again long before its old connection is found silent."""
    path = tmp_path / "in.sock"

    async def bridge_over() -> asyncio.Task:
        """Call in on behalf of a host: bytes go both ways until one side ends."""
        ends = [await asyncio.open_unix_connection(at) for at in (path, ovsdb.socket)]
        return asyncio.create_task(_splice(*ends))

    async with Reception(lambda welcome: OvsdbListener(f"punix:{path}", welcome)).open() as reception:
        first = await bridge_over()
        async with asyncio.timeout(5):
            await reception.client.ready()
        second = await bridge_over()
        await until(lambda: reception.calls[0].is_closed, "the end of the first")
        async with asyncio.timeout(5):
            await reception.client.ready()
        assert not reception.calls[1].is_closed
        assert reception.listener.connections == {reception.calls[1]}
    await asyncio.gather(first, second)
    assert not path.exists()


async def _splice(left, right) -> None:
    async def pump(source, sink) -> None:
        while data := await source.read(1 << 16):
            sink.write(data)
        sink.close()

    try:
        await asyncio.gather(pump(left[0], right[1]), pump(right[0], left[1]))
    finally:
        for _, writer in (left, right):
            writer.close()


async def test_a_stranger_that_speaks_http_is_shown_out():
    async with Reception(lambda welcome: OvsdbListener("ptcp:0:127.0.0.1", welcome)).open() as reception:
        _, writer = await asyncio.open_connection("127.0.0.1", reception.listener.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: reception.endings, "the end")
        assert isinstance(reception.endings[0], DecodeError)
        writer.close()
        assert reception.client.state is ConnectionState.IDLE


async def test_a_caller_that_says_nothing_useful_is_left(tmp_path: Path):
    """It answers our probes, so it is not silent, but never tells its schema."""

    path = tmp_path / "in.sock"

    def listen(welcome) -> OvsdbListener:
        return OvsdbListener(f"punix:{path}", welcome, probe_interval=0.05)

    async with Reception(listen, sync_timeout=0.4).open() as reception:
        reader, writer = await asyncio.open_unix_connection(path)
        answering = asyncio.create_task(_answer_probes(reader, writer))
        await until(lambda: reception.endings, "the end", seconds=3)
        assert "no contents" in str(reception.endings[0])
        await answering


async def _answer_probes(reader, writer) -> None:
    while data := await reader.read(4096):
        if b'"echo"' in data:
            writer.write(b'{"id":"echo","result":[],"error":null}')
    writer.close()


async def test_a_welcome_that_fails_closes_that_call_alone():
    errors = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))
    calls = []

    def welcome(connection: OvsdbConnection) -> None:
        calls.append(connection)
        if len(calls) == 1:
            raise LookupError("a bug")

    listener = OvsdbListener("ptcp:0:127.0.0.1", welcome)
    await listener.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    assert await reader.read() == b""
    other, other_writer = await asyncio.open_connection("127.0.0.1", listener.port)
    await until(lambda: len(calls) == 2, "the second call")
    assert listener.connections == {calls[1]}
    await listener.close()
    assert await other.read() == b""
    assert [type(error) for error in errors] == [LookupError]
    for one in (writer, other_writer):
        one.close()


def test_what_a_listener_cannot_listen_on():
    with pytest.raises(EncodeError, match="OvsdbClient"):
        OvsdbListener("tcp:127.0.0.1:1", lambda _: None)
    with pytest.raises(EncodeError, match="SSLContext"):
        OvsdbListener("pssl:0", lambda _: None)
