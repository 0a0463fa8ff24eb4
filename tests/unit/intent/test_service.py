# SPDX-License-Identifier: Apache-2.0
"""One writer: order, batches, failures of the store, callers that give up."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from controller.errors import Conflict, StoreUnavailable
from controller.intent import service as service_module
from controller.intent.intent import Intent
from controller.intent.service import MAX_BATCH, IntentService
from controller.intent.store import MemoryStore
from tests.unit.intent.builders import after, delete, fabric, host, network, port, put


class SlowStore(MemoryStore):
    """Commits when told to, and fails when told to: before storing, or after it."""

    def __init__(self, intent=None):
        super().__init__(intent)
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()
        self.commits = []
        self.loads = 0
        self.away = False
        self.fails = ""

    async def load(self):
        self.loads += 1
        if self.away:
            raise StoreUnavailable("away")
        return await super().load()

    async def commit(self, changes, base, revision, last_key):
        self.begun.set()
        await self.gate.wait()
        if self.fails == "before":
            raise StoreUnavailable("lost before")
        await super().commit(changes, base, revision, last_key)
        self.commits.append([f"{change.kind}/{change.name}" for change in changes])
        if self.fails == "after":
            raise StoreUnavailable("lost after")


@asynccontextmanager
async def running(store, **rest):
    service = IntentService(store, **rest)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


async def test_a_command_is_answered_once_stored_and_published():
    store = SlowStore()
    events = []
    async with running(store) as service:
        service.on_change = lambda before, now, changes: events.append(
            (before.revision, now.revision, [change.name for change in changes])
        )
        store.gate.clear()
        task = asyncio.create_task(service.submit(put("blue", network(7))))
        await store.begun.wait()
        assert service.intent == Intent()
        assert not task.done()
        store.gate.set()
        result = await task
        assert service.intent.networks["blue"] is result.object
        assert (result.created, result.revision, result.object.revision) == (True, 1, 1)
        assert events == [(0, 1, ["blue"])]
        again = await service.submit(put("blue", network(7)))
        assert (again.created, again.changes, again.object) == (False, (), result.object)
        assert len(store.commits) == len(events) == 1
    assert await store.load() == after(Intent(), put("blue", network(7)))


async def test_what_waits_shares_a_commit_and_a_refusal_is_alone():
    store = SlowStore()
    async with running(store) as service:
        store.gate.clear()
        first = asyncio.create_task(service.submit(put("a", host("192.0.2.1"))))
        await store.begun.wait()
        commands = [
            put("b", host("192.0.2.2")),
            put("c", host("192.0.2.2")),
            put("d", host("192.0.2.4")),
            delete("host/b"),
            put("c", host("192.0.2.2")),
        ]
        others = [asyncio.create_task(service.submit(command)) for command in commands]
        await asyncio.sleep(0)
        store.gate.set()
        results = await asyncio.gather(first, *others, return_exceptions=True)
    assert isinstance(results[2], Conflict)
    assert results[2].holder == "host/b"
    assert [result.revision for result in results if result is not results[2]] == [1, 2, 3, 4, 5]
    assert store.commits == [["host/a"], ["host/d", "host/c"]], "b came and went within the batch"
    stored = await store.load()
    assert (stored.revision, stored.last_key, set(stored.hosts)) == (5, 4, {"a", "c", "d"})


async def test_an_object_that_comes_and_goes_at_once_uses_its_key_up():
    store = SlowStore()
    async with running(store) as service:
        both = await asyncio.gather(
            service.submit(put("a", host("192.0.2.1"))), service.submit(delete("host/a"))
        )
        assert both[0].object.key == 1
        assert store.commits == [[]]
        assert (await service.submit(put("b", host("192.0.2.1")))).object.key == 2


async def test_many_go_in_batches_of_bounded_size():
    store = SlowStore(after(Intent(), put("blue", network(7))))
    async with running(store) as service:
        count = 2 * MAX_BATCH + 1
        await asyncio.gather(*(service.submit(put(f"p{i}", port("blue", i))) for i in range(count)))
        assert [len(commit) for commit in store.commits] == [MAX_BATCH, MAX_BATCH, 1]
        assert len(service.intent.ports) == count


async def test_a_burst_takes_few_commits_and_the_first_waits_for_no_other():
    """Whoever comes alone is stored alone, at once; those who come meanwhile share what follows."""
    store = SlowStore(fabric())
    async with running(store) as service:
        first = asyncio.create_task(service.submit(put("p0", port("blue", 1000))))
        await store.begun.wait()
        burst = [service.enqueue(put(f"p{n}", port("blue", 1000 + n))) for n in range(1, 501)]
        results = await asyncio.gather(first, *burst)
    assert [len(commit) for commit in store.commits] == [1, MAX_BATCH, 500 - MAX_BATCH]
    assert all(result.created for result in results)


async def test_a_failed_commit_fails_its_batch_and_nothing_is_seen_of_it():
    store = SlowStore(fabric())
    async with running(store) as service:
        before = service.intent
        store.fails = "before"
        commands = [
            put("c", host("192.0.2.9")),
            put("d", host("192.0.2.9")),
            put("hv2", before.hosts["hv2"].spec),
        ]
        results = await asyncio.gather(*map(service.submit, commands), return_exceptions=True)
        assert [type(result) for result in results] == [StoreUnavailable] * 3
        assert service.intent is before
        store.fails = ""
        assert (await service.submit(commands[0])).created
        assert store.loads == 2, "after a failure the store is looked at again"


async def test_a_commit_that_was_stored_after_all_is_found_and_published(monkeypatch):
    monkeypatch.setattr(service_module, "RELOAD_SECONDS", 0.01)
    store = SlowStore(fabric())
    seen = asyncio.Event()
    async with running(store) as service:
        told = []

        def on_change(before, now, changes):
            told.append([change.name for change in changes])
            seen.set()

        service.on_change = on_change
        store.fails = "after"
        store.away = True
        with pytest.raises(StoreUnavailable):
            await service.submit(put("c", host("192.0.2.9")))
        with pytest.raises(StoreUnavailable, match="away"):
            await service.submit(put("d", host("192.0.2.10")))
        assert told == []
        store.fails, store.away = "", False
        await asyncio.wait_for(seen.wait(), 5)
        assert told == [["c"]], "without anybody asking"
        again = await service.submit(put("c", host("192.0.2.9")))
        assert (again.created, again.changes) == (False, ())


async def test_a_caller_that_gives_up_harms_nobody():
    store = SlowStore()
    async with running(store) as service:
        store.gate.clear()
        first = asyncio.create_task(service.submit(put("a", host("192.0.2.1"))))
        await store.begun.wait()
        waiting = [
            asyncio.create_task(service.submit(put(f"h{number}", host(f"192.0.2.1{number}"))))
            for number in range(3)
        ]
        await asyncio.sleep(0)
        for task in (first, waiting[1]):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        store.gate.set()
        assert [(await waiting[index]).created for index in (0, 2)] == [True, True]
        assert service.intent == await store.load()
        assert set(service.intent.hosts) == {"a", "h0", "h1", "h2"}


async def test_a_fault_of_ours_hits_its_command_alone():
    store = SlowStore()
    async with running(store) as service:
        broken = put("a", host("192.0.2.1"), labels=None)
        results = await asyncio.gather(
            service.submit(broken), service.submit(put("b", host("192.0.2.2"))), return_exceptions=True
        )
        assert isinstance(results[0], TypeError)
        assert results[1].created


async def test_an_observer_that_fails_is_reported_and_the_writer_goes_on():
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    def on_change(*_):
        raise ZeroDivisionError

    async with running(SlowStore()) as service:
        service.on_change = on_change
        assert (await service.submit(put("a", host("192.0.2.1")))).created
        assert (await service.submit(put("b", host("192.0.2.2")))).created
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError] * 2


async def test_stop_ends_what_is_under_way_and_refuses_the_rest():
    store = SlowStore()
    service = IntentService(store)
    await service.start()
    store.gate.clear()
    first = asyncio.create_task(service.submit(put("a", host("192.0.2.1"))))
    await store.begun.wait()
    second = asyncio.create_task(service.submit(put("b", host("192.0.2.2"))))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(service.stop())
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="stopping"):
        await service.submit(put("c", host("192.0.2.3")))
    store.gate.set()
    await stopping
    assert (await first).created
    with pytest.raises(StoreUnavailable, match="stopping"):
        await second
    await service.stop()
    assert len(asyncio.all_tasks()) == 1


async def test_revision_can_be_demanded_of_every_writer():
    async with running(SlowStore(fabric()), require_match=True) as service:
        with pytest.raises(Exception, match="say which revision"):
            await service.submit(put("hv1", host("192.0.2.7")))
        held = service.intent.hosts["hv1"]
        await service.submit(put("hv1", host("192.0.2.7"), if_match=held.revision))
