# SPDX-License-Identifier: Apache-2.0
"""Order, batches, other writers, failures of the store, callers that give up."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from controller.errors import Conflict, IntentError, Overtaken, StoreUnavailable
from controller.intent.commands import Bind
from controller.intent.intent import Intent
from controller.intent.model import Kind
from controller.intent.service import MAX_BATCH, IntentService
from controller.intent.store import MemoryStore
from tests.unit.intent.builders import after, delete, fabric, host, network, port, put


class SlowStore(MemoryStore):
    """Commits when told to, and fails when told to: before storing, or after it and unseen for a while."""

    def __init__(self, intent=None):
        super().__init__(intent)
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()
        self.commits = []
        self.asked = 0
        self.fails = ""
        self.unseen = None

    async def commit(self, base, after, changes):
        self.asked += 1
        self.begun.set()
        await self.gate.wait()
        if self.fails == "before":
            raise StoreUnavailable("lost before")
        if self.fails == "after":
            self.unseen = after, changes
            raise StoreUnavailable("lost after")
        await super().commit(base, after, changes)
        if after is not base:
            self.commits.append([f"{change.kind}/{change.name}" for change in changes])

    def show(self):
        """Tell of the commit whose answer was lost."""
        (self.intent, changes), self.unseen = self.unseen, None
        for on_moved in self._followers:
            on_moved(self.intent, changes)


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
    assert store.intent == after(Intent(), put("blue", network(7)))


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
    stored = store.intent
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
    assert [len(commit) for commit in store.commits] == [
        1,
        *[MAX_BATCH] * (500 // MAX_BATCH),
        500 % MAX_BATCH,
    ]
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


async def test_a_commit_that_was_stored_after_all_is_published_when_the_store_tells():
    store = SlowStore(fabric())
    async with running(store) as service:
        told = []
        service.on_change = lambda before, now, changes: told.append([change.name for change in changes])
        store.fails = "after"
        with pytest.raises(StoreUnavailable):
            await service.submit(put("c", host("192.0.2.9")))
        assert told == []
        store.fails = ""
        store.show()
        assert told == [["c"]], "without anybody asking"
        again = await service.submit(put("c", host("192.0.2.9")))
        assert (again.created, again.changes) == (False, ())


async def test_services_on_one_store_see_each_other_and_callers_see_no_race():
    store = SlowStore()
    async with running(store) as one, running(store) as two:
        told = []
        two.on_change = lambda before, now, changes: told.append([change.name for change in changes])
        await one.submit(put("a", host("192.0.2.1")))
        assert two.intent is one.intent
        assert told == [["a"]]
        store.gate.clear()
        writers = [(one, put(f"p{number}", host(f"192.0.2.1{number}"))) for number in range(5)]
        writers += [(two, put(f"q{number}", host(f"192.0.2.2{number}"))) for number in range(5)]
        tasks = [asyncio.create_task(service.submit(command)) for service, command in writers]
        await asyncio.sleep(0)
        store.gate.set()
        results = await asyncio.gather(*tasks)
        assert {result.created for result in results} == {True}
        assert one.intent is two.intent is store.intent
        assert len({held.key for held in one.intent.hosts.values()}) == 11, "each decided on what was stored"


async def test_a_refusal_rests_on_what_is_stored():
    store = SlowStore(after(Intent(), put("blue", network(7))))
    async with running(store) as one, running(store) as two:
        store.gate.clear()
        second = asyncio.create_task(one.submit(delete("network/blue")))
        refused = asyncio.create_task(two.submit(put("red", network(7))))
        await asyncio.sleep(0)
        store.gate.set()
        await second
        assert (await refused).created, "network/blue was in its way when it was decided first"


async def test_a_batch_that_is_overtaken_over_and_over_shrinks():
    class Contested(SlowStore):
        left = 12

        async def commit(self, base, after, changes):
            if self.left:
                self.left -= 1
                raise Overtaken("again")
            await super().commit(base, after, changes)

    store = Contested()
    async with running(store) as service:
        hosts = [put(f"h{number}", host(f"192.0.2.{number + 1}")) for number in range(100)]
        results = await asyncio.gather(*map(service.submit, hosts))
        assert [result.revision for result in results] == list(range(1, 101)), "in the order they came"
        assert len(store.commits[0]) == 1


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
        assert service.intent is store.intent
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


async def test_what_follows_from_a_command_is_stored_with_it():
    store = SlowStore(fabric())
    async with running(store) as service:
        events = []
        service.on_change = lambda before, after, changes: events.append([c.kind for c in changes])
        result = await service.submit(put("p9", port("blue", 9)), then=Bind(port="p9", host="hv1"))
        assert service.intent.host_of("p9") == "hv1"
        assert result.revision == service.intent.revision
        assert result.object == service.intent.ports["p9"]
    assert store.commits == [["port/p9", "binding/p9"]]
    assert events == [[Kind.PORT, Kind.BINDING]]


async def test_what_follows_stands_and_falls_with_the_command_but_not_the_other_way_round():
    store = SlowStore(fabric())
    async with running(store) as service:
        await service.submit(put("p9", port("blue", 9)), then=Bind(port="p9", host="no-such-host"))
        assert service.intent.host_of("p9") is None
        with pytest.raises(IntentError):
            await service.submit(put("p9", port("no-such-network", 9)), then=Bind(port="p9", host="hv1"))
        assert service.intent.host_of("p9") is None
