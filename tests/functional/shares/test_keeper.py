# SPDX-License-Identifier: Apache-2.0
"""Keepers on a real ovsdb-server: every host has one holder, whoever comes, leaves, dies or hangs."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from controller.intent.ovsdb_store import DATABASE
from controller.shares import keeper as keeper_module
from controller.shares import table
from controller.shares.keeper import Keeper
from controller.shares.table import Progress
from ovs_geneve.ovsdb.client import OvsdbClient
from tests.functional.ovsdb.conftest import until

HOSTS = {f"hv{number}": number + 1 for number in range(30)}
PATIENCE = 20


class Log:
    """What every keeper was told to serve, in order."""

    def __init__(self):
        self.entries = []
        self.serving = {}

    def of(self, name):
        def serve(hosts):
            self.entries.append((name, hosts))
            self.serving[name] = hosts

        return serve

    @property
    def served(self):
        return [host for hosts in self.serving.values() for host in hosts]


class Member:
    """A keeper that can be killed: its tasks end and its connection breaks, without goodbye."""

    def __init__(self, remote, name, log, **rest):
        self.name = name
        self.keeper = Keeper(remote, DATABASE, name, log.of(name), **rest)
        self.keeper.declare(HOSTS)
        self.keeper.start()

    async def kill(self):
        for task in self.keeper._tasks:
            task.cancel()
        await asyncio.wait(self.keeper._tasks)
        if self.keeper._lapse is not None:
            self.keeper._lapse.cancel()


@pytest.fixture
async def log(database):
    """Watches that no lease ever goes from one holder to another with the same generation, or an older one."""
    log = Log()
    generations = {}

    def watch(changes):
        for change in changes:
            if change.table == table.LEASE and change.new is not None:
                host, generation = change.new["host"], change.new["generation"]
                assert generation >= generations.get(host, 0)
                if change.old is not None and change.new["controller"] not in (
                    None,
                    change.old["controller"],
                ):
                    assert generation > change.old["generation"]
                generations[host] = generation

    client = OvsdbClient(database.remote, DATABASE, table.MONITORED, on_change=watch)
    watching = asyncio.create_task(client.run())
    yield log
    assert not watching.done()
    await client.close()
    await watching


@asynccontextmanager
async def members(remote, log, *names, **rest):
    everyone = [Member(remote, name, log, **rest) for name in names]
    try:
        yield everyone
    finally:
        for one in everyone:
            await one.keeper.stop()


def shared(log, *names):
    """Tell whether these, together, serve every host once."""
    return sorted(host for name in names for host in log.serving.get(name, ())) == sorted(HOSTS)


async def settled(log, *names):
    await until(lambda: shared(log, *names), f"hosts shared by {names}", PATIENCE)


async def test_three_share_and_one_that_dies_is_replaced(database, log):
    async with members(database.remote, log, "a", "b", "c") as (a, b, c):
        await settled(log, "a", "b", "c")
        await until(lambda: all(log.serving.get(name) for name in "abc"), "a share for each")
        before = dict(log.serving)
        await a.kill()
        await settled(log, "b", "c")
        assert before["b"] <= log.serving["b"]
        assert before["c"] <= log.serving["c"]
        assert {b.keeper.holder_of(host) for host in HOSTS} == {"b", "c"}
        assert all(b.keeper.holder_of(host) == c.keeper.holder_of(host) for host in HOSTS)


async def test_one_that_stops_is_replaced_at_once_and_takes_its_share_back(database, log, monkeypatch):
    monkeypatch.setattr(keeper_module, "DEAD_SECONDS", 1000.0)  # nobody is taken for dead here
    async with members(database.remote, log, "a", "b") as (a, _):
        await settled(log, "a", "b")
        await until(lambda: log.serving.get("a") and log.serving.get("b"), "a share for each")
        share = log.serving["a"]
        await a.keeper.stop()
        assert log.serving["a"] == frozenset()
        await settled(log, "b")
        log.entries.clear()
        async with members(database.remote, log, "a"):
            await until(lambda: log.serving["a"] == share and shared(log, "a", "b"), "its share", PATIENCE)
            kept = set(HOSTS) - share
            assert all(kept <= hosts for name, hosts in log.entries if name == "b"), "no other host moved"
            first = next(index for index, (name, hosts) in enumerate(log.entries) if name == "a" and hosts)
            assert any(name == "b" for name, _ in log.entries[:first]), "given away before it was taken"


async def test_a_restart_under_the_same_name_replaces_what_the_killed_one_left(database, log, monkeypatch):
    monkeypatch.setattr(keeper_module, "DEAD_SECONDS", 1000.0)
    async with members(database.remote, log, "a") as (first,):
        await settled(log, "a")
        await first.kill()
        log.serving.clear()
        async with members(database.remote, log, "a"):
            await settled(log, "a")


async def test_a_second_one_of_the_same_name_serves_nothing(database, log, caplog):
    async with members(database.remote, log, "a") as (first,):
        await settled(log, "a")
        impostor = Keeper(database.remote, DATABASE, "a", log.of("impostor"))
        impostor._had_session = True
        impostor.declare(HOSTS)
        impostor.start()
        await until(lambda: "is named a as well" in caplog.text, "the complaint")
        assert not log.serving.get("impostor")
        assert first.keeper.served == frozenset(HOSTS)
        await impostor.stop()


class Line:
    """Between a keeper and the server; `hold` keeps everything back, in both directions."""

    def __init__(self, server, path):
        self._server, self._path = server, path
        self._open = asyncio.Event()
        self._open.set()
        self._ways = set()

    async def __aenter__(self):
        self._listener = await asyncio.start_unix_server(self._link, self._path)
        return self

    async def __aexit__(self, *_):
        self._listener.close()
        for way in self._ways:
            way.cancel()
        await asyncio.gather(*self._ways, return_exceptions=True)

    def hold(self):
        self._open.clear()

    def let_go(self):
        self._open.set()

    async def _link(self, reader, writer):
        self._ways.add(asyncio.current_task())
        ours, theirs = await asyncio.open_unix_connection(self._server)
        try:
            with suppress(ConnectionError):
                await asyncio.gather(self._carry(reader, theirs), self._carry(ours, writer))
        finally:
            for end in (theirs, writer):
                end.close()

    async def _carry(self, reader, writer):
        while data := await reader.read(1 << 16):
            await self._open.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


async def test_one_that_cannot_reach_the_store_has_stopped_when_others_take_over(database, log):
    server = database.remote.removeprefix("unix:")
    path = str(Path(server).with_name("line.sock"))
    async with (
        Line(server, path) as line,
        members(database.remote, log, "b"),
        members(f"unix:{path}", log, "a"),
    ):
        await settled(log, "a", "b")
        await until(lambda: log.serving.get("a"), "a share")
        log.entries.clear()
        line.hold()
        await settled(log, "b")
        assert log.entries[0] == ("a", frozenset()), "it stopped first"
        assert log.serving["a"] == frozenset()
        line.let_go()
        await until(lambda: log.serving["a"], "its share", PATIENCE)
        await settled(log, "a", "b")


async def test_hosts_go_on_when_the_server_restarts(database, log):
    async with members(database.remote, log, "a", "b"):
        await settled(log, "a", "b")
        await until(lambda: log.serving.get("a") and log.serving.get("b"), "a share for each")
        before = dict(log.serving)
        os.kill(database.pid, signal.SIGKILL)
        await asyncio.sleep(1)
        await until(lambda: log.serving == before, "the same shares", PATIENCE)


async def test_a_dedicated_one_has_its_host_and_gives_it_back(database, log):
    async with members(database.remote, log, "a", "b"):
        await settled(log, "a", "b")
        async with members(database.remote, log, "agent", dedicated=frozenset({"hv3"})):
            await until(lambda: log.serving.get("agent") == {"hv3"}, "its host", PATIENCE)
            await settled(log, "a", "b", "agent")
        await settled(log, "a", "b")


async def test_hosts_come_and_go(database, log, monkeypatch):
    monkeypatch.setattr(keeper_module, "LEAVE_SECONDS", 0.3)
    async with members(database.remote, log, "a", "b") as everyone:
        await settled(log, "a", "b")
        fewer = {host: revision for host, revision in HOSTS.items() if host != "hv7"}
        holder = next(one for one in everyone if "hv7" in one.keeper.served)
        for one in everyone:
            one.keeper.declare(fewer)
        assert "hv7" in holder.keeper.served, "until its flows had time to go"
        await until(lambda: "hv7" not in log.served, "its end")
        await until(lambda: holder.keeper.holder_of("hv7") is None, "the end of its lease")
        for one in everyone:
            one.keeper.declare({**HOSTS, "hv7": 99})
        await settled(log, "a", "b")


async def test_each_knows_how_far_the_others_are(database, log):
    async with members(database.remote, log, "a", "b") as (a, b):
        await settled(log, "a", "b")
        await until(lambda: log.serving.get("a") and log.serving.get("b"), "a share for each")
        mine, other = sorted(a.keeper.served)[:2]
        told = asyncio.Event()
        b.keeper.on_peers = told.set
        assert b.keeper.is_behind(mine, 7)
        a.keeper.progress = lambda: Progress(acknowledged=7, behind=frozenset({other}))
        a.keeper.progressed()
        async with asyncio.timeout(PATIENCE):
            await told.wait()
        assert not b.keeper.is_behind(mine, 7)
        assert b.keeper.is_behind(mine, 8)
        assert b.keeper.is_behind(other, 7)
        assert b.keeper.is_behind("unheard-of", 7)


async def test_a_host_without_a_lease_is_held_by_whoever_hears_its_agent(database, log):
    async with members(database.remote, log, "a", "b") as (a, b):
        await settled(log, "a", "b")
        told = asyncio.Event()
        b.keeper.on_peers = told.set
        await until(lambda: not b.keeper.may_be_held("lx1"), "b knows who is there", PATIENCE)
        a.keeper.progress = lambda: Progress(acknowledged=7, agents={"lx1": "all is well"})
        a.keeper.progressed()
        await until(lambda: told.is_set() and b.keeper.holder_of("lx1") == "a", "a hears it", PATIENCE)
        assert b.keeper.told_of("lx1") == "all is well"
        assert not b.keeper.is_behind("lx1", 7)
        assert b.keeper.is_behind("lx1", 8)
        assert a.keeper.holder_of("lx1") is None, "it knows itself what it hears"
        told.clear()
        a.keeper.progress = lambda: Progress(acknowledged=7)
        a.keeper.progressed()
        await until(lambda: told.is_set() and b.keeper.holder_of("lx1") is None, "it went", PATIENCE)


async def test_one_that_hears_agents_and_is_killed_hears_none(database, log):
    async with (
        members(database.remote, log, "b") as (b,),
        members(database.remote, log, "agent-lx1", dedicated=frozenset({"lx1"})) as (agent,),
    ):
        agent.keeper.progress = lambda: Progress(agents={"lx1": ""})
        agent.keeper.progressed()
        await until(lambda: b.keeper.holder_of("lx1") == "agent-lx1", "it is heard", PATIENCE)
        told = asyncio.Event()
        b.keeper.on_peers = told.set
        await agent.kill()
        await until(lambda: b.keeper.holder_of("lx1") is None, "it is taken for dead", PATIENCE)
        assert told.is_set()
        assert log.serving["b"] == frozenset(HOSTS), "it never had a lease"
