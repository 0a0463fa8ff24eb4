# SPDX-License-Identifier: Apache-2.0
"""Against a real ovsdb-server: what was acknowledged is there, nothing else is, whoever dies when."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import Overtaken, StoreUnavailable
from controller.intent.commands import Bind
from controller.intent.embedded import EmbeddedDatabase
from controller.intent.intent import Intent, difference
from ovs_geneve.errors import TransactionFailed
from tests.functional.intent.stores import Followed, followed, insist, load, serving, stored
from tests.unit.intent.builders import after, delete, fabric, host, network, policy, port, put, schema

WRITES = 2000
KILLS = 7


async def test_what_is_committed_is_loaded(database):
    assert await load(database.remote) == Intent()
    intent = after(
        fabric(),
        put("hv1", host("192.0.2.1", "2001:db8::1"), labels=(("rack", "a1"), ("row", ""))),
        Bind(port="web1", host="hv1"),
        Bind(port="far1", host="hv2"),
    )
    async with stored(database.remote) as store:
        told = await followed(store)
        intent = replace(intent, last_key=99)
        await store.commit(told.intent, intent, difference(told.intent, intent))
        assert told.intent is intent, "what was prepared is what is told"
        assert (await load(database.remote)).last_key == 99
        # Delete and make anew, move, rename, unplug: all in one transaction.
        later = after(
            intent,
            delete("port/web1"),
            put("web1", port("blue", 1, "10.0.0.1")),
            delete("option-policy/tier2-only"),
            delete("port/db1"),
            put("db2", port("blue", 2, "10.0.0.2", values={"context.tier": 9})),
            put("next", schema(3)),
            put("blue", network(100, "next", "context")),
            put("to-db2", policy("blue", {"context.tier": (1, 1), "next.zone": (0, 0xFF)}, to_port="db2")),
            Bind(port="far1", host="hv1"),
            Bind(port="db2", host="hv2"),
            delete("host/hv2"),
        )
        await store.commit(intent, later, difference(intent, later))
    assert await load(database.remote) == later


async def test_mac_and_vni_swap_in_one_transaction(database):
    before = after(
        Intent(),
        put("a", network(1)),
        put("b", network(2)),
        put("p", port("a", 1)),
        put("q", port("a", 2)),
        put("c", network(3)),
    )
    swapped = after(before, put("q", port("a", 3)), put("p", port("a", 2)), put("q", port("a", 1)))
    swapped = after(swapped, put("b", network(4)), put("c", network(2)), put("b", network(3)))
    async with stored(database.remote) as store:
        told = await followed(store)
        await store.commit(told.intent, before, difference(told.intent, before))
        await store.commit(before, swapped, difference(before, swapped))
    assert await load(database.remote) == swapped


async def test_the_database_itself_refuses_what_would_break_it(database):
    intent = fabric()
    async with stored(database.remote) as store:
        told = await followed(store)
        await store.commit(told.intent, intent, difference(told.intent, intent))
        without_network = [change for change in difference(intent, Intent()) if change.name == "blue"]
        with pytest.raises(TransactionFailed, match="referential integrity"):
            await store.commit(
                intent, intent.with_changes(without_network, intent.revision + 1), without_network
            )
        assert told.intent is intent
    assert await load(database.remote) == intent


async def test_a_commit_that_was_overtaken_is_not_stored(database):
    async with stored(database.remote) as one, stored(database.remote) as two:
        first, second = await followed(one), await followed(two)
        base = second.intent
        mine, theirs = after(base, put("a", network(1))), after(base, put("b", network(1)))
        await one.commit(first.intent, mine, difference(first.intent, mine))
        with pytest.raises(Overtaken):
            await two.commit(base, theirs, difference(base, theirs))
        assert second.intent == mine, "the reason is known when the answer comes"
        with pytest.raises(Overtaken):
            await two.commit(base, base, ())
        await two.commit(second.intent, second.intent, ())


async def test_writers_see_each_other_and_are_refused_for_true_reasons_alone(database):
    async with serving(database.remote) as one, serving(database.remote) as two:
        await one.submit(put("a", network(1)))
        await two.submit(put("p", port("a", 1)))
        with pytest.raises(Exception, match="taken by network/a"):
            await two.submit(put("b", network(1)))
        await asyncio.gather(one.submit(put("c", network(3))), two.submit(put("b", network(2))))
        await one.submit(delete("port/p"))
        await two.submit(delete("network/a"))
        await one.submit(put("a", network(4)))
        assert set(one.intent.networks) == {"a", "b", "c"}
    assert await load(database.remote) == one.intent


async def test_nobody_there(directory):
    async with stored(f"unix:{directory}", patience=0.3) as store:
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await store.follow(Followed())
    assert len(asyncio.all_tasks()) == 1


class Cutter:
    """Stands between a store and its server, and can cut the line around the next commit."""

    def __init__(self, server: Path, path: Path) -> None:
        self._server_path, self._path = server, path
        self.cut = ""
        self.away = False
        self.commits = 0
        self._links = set()

    async def __aenter__(self):
        self._listener = await asyncio.start_unix_server(self._link, self._path)
        return self

    async def __aexit__(self, *_):
        self._listener.close()
        await asyncio.gather(*self._links)

    async def _link(self, reader, writer):
        if self.away:
            writer.close()
            return
        self._links.add(asyncio.current_task())
        ours, theirs = await asyncio.open_unix_connection(self._server_path)
        ways = {asyncio.create_task(self._up(reader, theirs)), asyncio.create_task(self._down(ours, writer))}
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for end in (theirs, writer):
            end.close()
            await end.wait_closed()
        await asyncio.wait(ways)

    async def _up(self, reader, writer):
        while data := await reader.read(1 << 20):
            commit = b'"durable":true' in data
            self.commits += commit
            if commit and self.cut == "before":
                self.cut = ""
                return
            writer.write(data)
            await writer.drain()

    async def _down(self, reader, writer):
        while data := await reader.read(1 << 20):
            if self.cut == "after" and (b"update" in data or b'"count":1' in data):
                self.cut = ""
                return
            writer.write(data)
            await writer.drain()


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_an_unanswered_commit_is_stored_once(database, directory, cut):
    server, path = directory / "db.sock", directory / "cut.sock"
    async with Cutter(server, path) as cutter, serving(f"unix:{path}") as service:
        await service.submit(put("a", network(1)))
        cutter.cut = cut
        sent = cutter.commits
        result = await service.submit(put("b", network(2)))
        assert cutter.cut == "", "the line was cut"
        assert cutter.commits == sent + (2 if cut == "before" else 1), "sent again only if it was not stored"
        assert result.revision == 2
        # What was learnt of the rows still holds: change and delete the object.
        await service.submit(put("b", network(3)))
        await service.submit(put("p", port("b", 1)))
        assert await load(database.remote) == service.intent
        assert service.intent.revision == 4


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_commit_whose_fate_is_open_is_cleared_up_later(database, directory, cut):
    server, path = directory / "db.sock", directory / "cut.sock"
    async with Cutter(server, path) as cutter, serving(f"unix:{path}", patience=0.3) as service:
        await service.submit(put("a", network(1)))
        held = service.intent.networks["a"]
        told = []
        service.on_change = lambda before, now, changes: told.append([change.name for change in changes])
        commands = [put("b", network(2)), put("hv1", host("192.0.2.1")), put("p", port("a", 1))]
        cutter.cut, cutter.away = cut, True
        refused = await asyncio.gather(*map(service.submit, commands), return_exceptions=True)
        assert [type(error) for error in refused] == [StoreUnavailable] * 3
        assert told == []
        cutter.away = False
        results = [await insist(service, command) for command in commands]
        assert [result.created for result in results] == [cut == "before"] * 3
        assert sorted(name for names in told for name in names) == ["b", "hv1", "p"]
        assert service.intent.networks["a"] == held
        assert (service.intent.networks["a"] is held) == (cut == "before"), "only news are read"
        await service.submit(Bind(port="p", host="hv1"))
        await service.submit(put("b", network(3)))
        await service.submit(delete("port/p"))
        assert await load(database.remote) == service.intent


async def test_rows_of_an_unanswered_commit_are_found(database, directory):
    """Ports and where they are plugged, old and new, in the one commit whose answer is lost."""
    before = after(fabric(), Bind(port="web1", host="hv1"))
    later = after(
        before,
        put("p", port("blue", 9)),
        Bind(port="p", host="hv1"),
        Bind(port="db1", host="hv2"),
        put("o", policy("blue", to_port="p")),
        delete("port/web1"),
    )
    server, path = directory / "db.sock", directory / "cut.sock"
    async with Cutter(server, path) as cutter, stored(f"unix:{path}") as store:
        told = await followed(store)
        await store.commit(told.intent, before, difference(told.intent, before))
        cutter.cut = "after"
        await store.commit(before, later, difference(before, later))
        assert cutter.cut == ""
        assert told.intent == later
        last = after(later, delete("option-policy/o"), delete("port/p"), Bind(port="db1", host="hv1"))
        await store.commit(told.intent, last, difference(later, last))
    assert await load(database.remote) == last


async def test_every_acknowledged_write_outlives_the_server(database):
    """2,000 writes while the server is killed at random moments."""
    randomness = random.Random(8926)
    acknowledged = dict[str, int]()
    attempted = set[str]()
    unclear = 0
    kills = 0

    async def write(service, numbers):
        nonlocal unclear
        for number in numbers:
            name = f"p{number}"
            attempted.add(name)
            try:
                result = await service.submit(put(name, port("blue", number)))
            except StoreUnavailable:
                unclear += 1
            else:
                acknowledged[name] = result.revision

    async def kill_at(progress):
        nonlocal kills
        while len(acknowledged) + unclear < progress:  # noqa: ASYNC110  ten writers move it
            await asyncio.sleep(0.001)
        await asyncio.sleep(randomness.uniform(0, 0.003))
        if database.pid is not None:
            os.kill(database.pid, signal.SIGKILL)
            kills += 1

    async def kill():
        for progress in sorted(randomness.sample(range(WRITES - 100), KILLS)):
            await kill_at(progress)

    async with serving(database.remote) as service:
        await service.submit(put("blue", network(7)))
        killer = asyncio.create_task(kill())
        numbers = iter(range(WRITES))
        await asyncio.gather(*(write(service, numbers) for _ in range(10)))
        await killer
        intent = service.intent
    there = await load(database.remote)
    assert there == intent
    assert kills >= KILLS // 2
    assert {name: there.ports[name].revision for name in acknowledged} == acknowledged
    assert set(there.ports) <= attempted
    assert len(acknowledged) + unclear == WRITES


async def test_every_acknowledged_write_outlives_the_controller(directory):
    """Controller and database are killed at random moments; the next controller goes on from there."""
    randomness = random.Random(6081)
    log = directory.with_name("log")
    log.touch()
    for round_number in range(4):
        first = str(round_number * 100_000)
        command = [sys.executable, "-m", "tests.functional.intent.writer", directory, log, first]
        child = subprocess.Popen(command)  # noqa: ASYNC220  nothing else runs in this loop
        before = log.stat().st_size
        while log.stat().st_size < before + 2000:
            assert child.poll() is None
            await asyncio.sleep(0.01)
        await asyncio.sleep(randomness.uniform(0.0, 0.2))
        pids = [child.pid, int((directory / "db.pid").read_text())]
        randomness.shuffle(pids)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it died with the other
            await asyncio.sleep(randomness.choice([0, 0.005]))
        assert child.wait(5) == -signal.SIGKILL
    async with EmbeddedDatabase(directory) as database:
        there = await load(database.remote)
    lines = [line.split() for line in log.read_text().splitlines()]
    done = {name: int(revision) for word, name, revision in lines if word == "done"}
    tried = {name: int(number) for word, name, number in lines if word == "try"}
    assert len(done) > 100
    assert {name: there.ports[name].revision for name in done} == done
    assert {name: held.spec.mac & 0xFFFFFFFFFF for name, held in there.ports.items()}.items() <= tried.items()
