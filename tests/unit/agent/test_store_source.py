# SPDX-License-Identifier: Apache-2.0
"""What an agent gets of a store that it follows itself: as over REST, and in the same words."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from controller.agent.source import SourceRefused, SourceUnavailable
from controller.agent.store_source import StoreSource
from controller.errors import StoreUnavailable
from controller.intent.commands import Command, evaluate
from controller.intent.intent import Intent
from controller.kernels.hosts import LinuxHosts
from controller.kernels.report import AgentReport, PluggedInterface
from tests.builders import bind, delete, host, network, port, put
from tests.unit.linux.builders import linux


class Plugged:
    """Notes what is plugged."""

    def __init__(self) -> None:
        self.interfaces: frozenset[str] | None = None

    def report(self, host: str, interfaces: frozenset[str]) -> None:
        assert host == "lx1"
        self.interfaces = interfaces

    def drop(self, host: str) -> None:
        self.interfaces = None


class Beside:
    """A store that can be away, and what follows it."""

    def __init__(self) -> None:
        self.is_up = True
        self.intent = Intent()
        self.plugged = Plugged()
        self.linux = LinuxHosts(self.plugged, "run", only="lx1")

    def do(self, *commands: Command) -> None:
        for command in commands:
            changes = evaluate(self.intent, command).changes
            self.intent = self.intent.with_changes(changes, self.intent.revision + 1)
            self.linux.intent_changed(self.intent, changes)

    async def hosts(self) -> LinuxHosts:
        if not self.is_up:
            raise StoreUnavailable("intent store tcp:it does not answer")
        return self.linux


@pytest.fixture
def beside() -> Beside:
    return Beside()


@pytest.fixture
def source(beside: Beside) -> StoreSource:
    return StoreSource(beside, "lx1")  # type: ignore[arg-type]


async def test_all_then_what_changed(beside: Beside, source: StoreSource) -> None:
    beside.do(put("lx1", linux("192.0.2.1")), put("lx2", linux("192.0.2.2")), put("blue", network(100)))
    beside.do(put("web1", port("blue", 1, "10.0.0.1")), bind("web1", "lx1"))
    async with aclosing(source.batches()) as batches:  # type: ignore[type-var]
        first = await anext(batches)
        assert first.whole
        assert set(first.parts) == {"host", "peer/lx2", "network/blue"}
        plugged = (PluggedInterface(interface_id="web1", name="tap1"),)
        await source.report(AgentReport(interfaces=plugged, kernel="6.1", acknowledged=first.generation))
        assert beside.plugged.interfaces == {"web1"}
        second = await anext(batches)
        assert not second.whole
        assert "port/web1" in second.parts
        assert beside.linux.is_behind("lx1", beside.intent.revision)
        await source.report(AgentReport(interfaces=plugged, kernel="6.1", acknowledged=second.generation))
        assert not beside.linux.is_behind("lx1", beside.intent.revision)
        beside.do(delete("port/web1"))
        third = await anext(batches)
        assert third.parts["port/web1"] is None
        assert beside.linux.heard() == {"lx1": ""}
    assert beside.linux.heard() == {}
    assert beside.plugged.interfaces is None


async def refusal(source: StoreSource) -> SourceRefused:
    with pytest.raises(SourceRefused) as refused:
        await anext(source.batches())
    with pytest.raises(SourceRefused, match=str(refused.value)):
        await source.report(AgentReport(interfaces=(), kernel="6.1"))
    return refused.value


async def test_a_host_that_is_not_declared(source: StoreSource) -> None:
    refused = await refusal(source)
    assert (refused.code, str(refused)) == ("not-found", "there is no host/lx1")


async def test_a_host_with_open_vswitch(beside: Beside, source: StoreSource) -> None:
    beside.do(put("lx1", host("192.0.2.1")))
    refused = await refusal(source)
    assert refused.code == "host-not-linux"
    assert str(refused) == "host/lx1 has Open vSwitch: its bridge is programmed instead"


async def test_a_host_that_goes_takes_nothing_with_it(beside: Beside, source: StoreSource) -> None:
    beside.do(put("lx1", linux("192.0.2.1")))
    batches = source.batches()
    await anext(batches)
    waiting = asyncio.create_task(anext(batches))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    beside.do(delete("host/lx1"))
    with pytest.raises(SourceUnavailable, match="host/lx1 is no more"):
        await waiting


async def test_a_store_that_never_answered(beside: Beside, source: StoreSource) -> None:
    beside.is_up = False
    with pytest.raises(SourceUnavailable, match="does not answer"):
        await anext(source.batches())
    with pytest.raises(SourceUnavailable, match="does not answer"):
        await source.report(AgentReport(interfaces=(), kernel="6.1"))
