# SPDX-License-Identifier: Apache-2.0
"""The agent's loop, against a kernel in memory: it converges whatever happens, and says so."""

import asyncio
import random

import pytest

from controller.agent.agent import Agent
from controller.agent.kept import Kept
from controller.agent.kernel import Sight
from controller.agent.offload import OffloadState
from controller.agent.source import Batch, SourceRefused, SourceUnavailable
from controller.errors import SetupError
from controller.kernels.report import KernelProblem, PluggedInterface, SeenFilters
from ovs_geneve.kernel.objects import BridgeLink, Fdb, KernelState, Link, joined
from ovs_geneve.kernel.steps import subject


def bridge(number):
    link = Link(name=f"og-b{number:06x}", kind=BridgeLink(), alias="ovs-geneve test", mtu=1500)
    return KernelState(
        links=frozenset({link}), fdb=frozenset({Fdb(device=link.name, mac="02:00:00:00:00:01")})
    )


class MemoryKernel:
    """Holds what it is told to, but for what it refuses."""

    def __init__(self):
        self.state = KernelState()
        self.refuses = set()
        self.interfaces = ()
        self.offload = None
        self.looks = 0

    async def converge(self, desired):
        self.looks += 1
        problems = ()
        if desired is not None:
            refused = {one for one in desired.links if one.name in self.refuses}
            self.state = KernelState(links=desired.links - refused, fdb=desired.fdb)
            problems = tuple(
                KernelProblem(object=subject(one), reason="KernelRefused", message="make: EBUSY: busy")
                for one in refused
            )
        return Sight(interfaces=self.interfaces, problems=problems, release="6.1", offload=self.offload)


class MemorySource:
    """A controller that can go away."""

    def __init__(self):
        self.parts = {}
        self.number = 0
        self.reports = []
        self.is_up = True
        self.refusal = None
        self._queue = asyncio.Queue()

    def put(self, **parts):
        self.number += 1
        for name, state in parts.items():
            self.parts.pop(name, None)
            if state is not None:
                self.parts[name] = state
        self._queue.put_nowait(Batch(parts=parts, whole=False, generation=f"run.{self.number}"))

    def hang_up(self):
        self._queue.put_nowait(None)

    async def batches(self):
        if self.refusal is not None:
            raise self.refusal
        if not self.is_up:
            raise SourceUnavailable("away")
        self._queue = asyncio.Queue()
        yield Batch(parts=dict(self.parts), whole=True, generation=f"run.{self.number}")
        while (batch := await self._queue.get()) is not None:
            yield batch
        raise SourceUnavailable("hung up")

    async def report(self, report):
        if not self.is_up:
            raise SourceUnavailable("away")
        self.reports.append(report)

    @property
    def acknowledged(self):
        return self.reports[-1].acknowledged if self.reports else None


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # what is waited for tells nobody
            await asyncio.sleep(0.01)


class Running:
    def __init__(self, source, kernel, directory):
        self.source, self.kernel, self.directory = source, kernel, directory

    def start(self):
        self.agent = Agent(self.source, Kept(self.directory))
        self.task = asyncio.create_task(self.agent.run(self.kernel))

    async def kill(self):
        self.task.cancel()
        await asyncio.wait({self.task})

    async def settle(self):
        wanted = f"run.{self.source.number}"
        parts = self.source.parts.values()
        await until(lambda: self.source.acknowledged == wanted and self.kernel.state == joined(parts))


@pytest.fixture
async def running(tmp_path):
    one = Running(MemorySource(), MemoryKernel(), tmp_path)
    yield one
    await one.kill()


async def test_it_makes_the_kernel_equal_and_acknowledges(running):
    running.source.put(blue=bridge(1))
    running.start()
    await running.settle()
    running.source.put(red=bridge(2), blue=None)
    await running.settle()


async def test_a_source_that_is_away_changes_nothing_and_a_boot_restores_what_was(running):
    running.source.put(blue=bridge(1))
    running.start()
    await running.settle()
    await running.kill()
    running.source.is_up = False
    running.kernel = MemoryKernel()
    running.start()
    await until(lambda: running.kernel.state == bridge(1))


async def test_a_host_that_is_not_declared_any_more_stays_as_it_is(running):
    running.source.put(blue=bridge(1))
    running.start()
    await running.settle()
    running.source.refusal = SourceRefused("not-found", "there is no host/lx1")
    running.source.hang_up()
    looks = running.kernel.looks
    running.agent.kernel_changed()
    await until(lambda: running.kernel.looks > looks)
    assert running.kernel.state == bridge(1)


async def test_beside_open_vswitch_it_ends(running):
    running.source.refusal = SourceRefused("host-not-linux", "host/hv1 has Open vSwitch")
    running.start()
    await asyncio.wait({running.task}, timeout=20)
    with pytest.raises(ExceptionGroup) as raised:
        running.task.result()
    assert raised.group_contains(SetupError, match="beside Open vSwitch")


async def test_what_the_kernel_refuses_is_told_with_its_part_and_the_rest_is_there(running):
    running.kernel.refuses.add("og-b000001")
    running.source.put(blue=bridge(1), red=bridge(2))
    running.start()
    await until(lambda: running.source.reports and running.source.reports[-1].problems)
    (problem,) = running.source.reports[-1].problems
    assert (problem.object, problem.part) == ("bridge device og-b000001", "blue")
    assert bridge(2).links <= running.kernel.state.links
    running.kernel.refuses.clear()
    await until(lambda: running.source.reports[-1].problems == ())
    await running.settle()


async def test_interfaces_that_come_are_told(running):
    running.start()
    await until(lambda: running.source.reports)
    running.kernel.interfaces = (PluggedInterface(interface_id="web1", name="tap1"),)
    running.agent.kernel_changed()
    await until(lambda: running.source.reports[-1].interfaces)


async def test_what_matters_for_offload_is_told_when_it_is_another(running):
    running.kernel.offload = OffloadState(filters={("og-b000001", False, 0, 1, 1): False})
    running.source.put(**{"network/blue": bridge(1)})
    running.start()
    await running.settle()
    looks = running.kernel.looks
    running.agent.kernel_changed()
    await until(lambda: running.kernel.looks > looks)
    (report,) = running.source.reports
    assert report.sight.filters == (SeenFilters("og-b000001", False, "network/blue", 1, 0),)
    running.kernel.offload = OffloadState(filters={("og-b000001", False, 0, 1, 1): True})
    running.agent.kernel_changed()
    await until(lambda: len(running.source.reports) > 1)
    assert running.source.reports[-1].sight.filters[0].in_hardware == 1


async def test_random_operations_with_kills_leave_what_is_wanted(running):
    draw = random.Random(5)
    running.start()
    for _ in range(500):
        match draw.randrange(6):
            case 0 | 1:
                running.source.put(**{f"n{(number := draw.randrange(8))}": bridge(number)})
            case 2:
                running.source.put(**{f"n{draw.randrange(8)}": None})
            case 3:
                running.kernel.state = KernelState()
                running.agent.kernel_changed()
            case 4:
                running.source.hang_up()
            case _:
                await running.kill()
                running.start()
        if draw.random() < 0.1:
            await running.settle()
    running.agent.kernel_changed()
    running.source.put(last=bridge(9))
    await running.settle()
