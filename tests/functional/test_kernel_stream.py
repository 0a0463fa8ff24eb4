# SPDX-License-Identifier: Apache-2.0
"""GET /v1/hosts/H/kernel as a stream, over real HTTP: all, then what changes, one agent at a time, slow ones too."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest

from controller.agent.source import Batch, RestSource, SourceRefused, SourceUnavailable
from controller.kernels.report import AgentReport, PluggedInterface
from ovs_geneve.kernel.objects import KernelState
from tests.functional.controllers import PATIENCE, Controller, until

PLUGGED = (PluggedInterface(interface_id="a1", name="tap1"),)


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    folder = tmp_path / "c1"
    folder.mkdir()
    running = Controller(folder)
    running.start()
    try:
        for number in (1, 2):
            document = {"kind": "linux", "endpoints": [{"address": f"192.0.2.{number}"}]}
            running.put(f"hosts/lx{number}", document)
        running.put("networks/blue", {"vni": 100})
        running.put("ports/a1", {"network": "blue", "mac": "02:00:00:00:00:01", "addresses": ["10.0.0.1"]})
        yield running
    finally:
        running.http.close()
        running.end()


class Follower:
    """An agent's end of the stream: what it would have its kernel hold."""

    def __init__(self, batches: AsyncIterator[Batch], source: RestSource) -> None:
        self._batches = batches
        self._source = source
        self.parts: dict[str, KernelState] = {}
        self.last: Batch | None = None

    async def next(self) -> Batch:
        async with asyncio.timeout(PATIENCE):
            batch = await anext(self._batches)
        self.parts = {} if batch.whole else self.parts
        for name, state in batch.parts.items():
            self.parts.pop(name, None)
            if state is not None:
                self.parts[name] = state
        self.last = batch
        return batch

    async def until_equal(self, controller: Controller) -> None:
        """Follow until the parts are what the controller shows."""
        while self.parts != await asyncio.to_thread(shown, controller):
            await self.next()

    async def act(self) -> None:
        """Follow and acknowledge, as an agent does, until the stream ends."""
        while True:
            await self.next()

    async def until_programmed(self, controller: Controller) -> None:
        """Be an agent until all is acknowledged."""

        async def act() -> None:
            while True:
                await self.report()
                await self.next()

        acting = asyncio.create_task(act())
        await asyncio.to_thread(
            until, lambda: condition(controller, "Programmed") == "True", "it is acknowledged"
        )
        acting.cancel()
        await asyncio.wait({acting})

    async def report(self) -> None:
        acknowledged = None if self.last is None else self.last.generation
        await self._source.report(AgentReport(interfaces=PLUGGED, kernel="6.1", acknowledged=acknowledged))


def shown(controller: Controller, host: str = "lx1") -> dict[str, KernelState]:
    parts = controller.http.get(f"/v1/hosts/{host}/kernel").json()["parts"]
    return msgspec.convert(parts, dict[str, KernelState])


def condition(controller: Controller, type_: str) -> str:
    conditions = controller.http.get("/v1/hosts/lx1").json()["status"]["conditions"]
    return {one["type"]: one["status"] for one in conditions}[type_]


@asynccontextmanager
async def follower(controller: Controller) -> AsyncIterator[Follower]:
    async with (
        RestSource(f"unix:{controller.state}/rest.sock", "lx1") as source,
        aclosing(source.batches()) as batches,  # type: ignore[type-var]
    ):
        yield Follower(batches, source)


async def test_all_then_what_changed_and_nothing_else(controller: Controller) -> None:
    async with follower(controller) as one:
        first = await one.next()
        assert first.whole
        await one.report()
        while "network/blue" not in one.parts:  # where a port is, is stored first
            await one.next()
        await one.until_equal(controller)
        await asyncio.to_thread(controller.put, "networks/red", {"vni": 200})
        document = {"network": "blue", "mac": "02:00:00:00:00:01", "addresses": ["10.0.0.7"]}
        await asyncio.to_thread(controller.put, "ports/a1", document)
        batch = await one.next()
        assert not batch.whole
        assert batch.parts
        assert not any("red" in name for name in batch.parts)
        assert batch.generation != first.generation
        await one.until_equal(controller)
        await asyncio.to_thread(controller.delete, "ports/a1")
        while "network/blue" in one.parts:
            await one.next()
        await one.until_equal(controller)
        assert not {"network/blue", "port/a1"} & one.parts.keys()


async def test_who_comes_back_gets_all_of_it_and_owes_nothing(controller: Controller) -> None:
    async with follower(controller) as one:
        await one.next()
        await one.until_programmed(controller)
    until(lambda: condition(controller, "Connected") == "False", "it went")
    document = {"network": "blue", "mac": "02:00:00:00:00:02", "addresses": ["10.0.0.2"]}
    await asyncio.to_thread(controller.put, "ports/a1", document)
    assert condition(controller, "Programmed") == "False"
    async with follower(controller) as again:
        batch = await again.next()
        assert batch.whole
        assert again.parts == shown(controller)
        await again.until_programmed(controller)


async def test_of_several_agents_of_a_host_the_last_is_followed(controller: Controller) -> None:
    async with follower(controller) as first:
        await first.next()
        async with follower(controller) as second:
            await second.next()
            with pytest.raises(SourceUnavailable, match="ended the stream"):
                await first.next()
            await second.report()
            await second.until_equal(controller)
            assert condition(controller, "Connected") == "True"
    until(lambda: condition(controller, "Connected") == "False", "both went")


async def test_a_host_that_is_forgotten_ends_its_stream(controller: Controller) -> None:
    async with follower(controller) as one:
        await one.next()
        await asyncio.to_thread(controller.delete, "hosts/lx1")
        with pytest.raises(SourceUnavailable, match="ended the stream"):
            await one.act()
    async with follower(controller) as again:
        with pytest.raises(SourceRefused) as refused:
            await again.next()
    assert refused.value.code == "not-found"


def test_a_slow_reader_holds_nobody_up_and_gets_what_is_then(controller: Controller) -> None:
    """It reads nothing while much changes: others are served, and in the end it is told how things are, not were."""
    with socket.socket(socket.AF_UNIX) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(f"{controller.state}/rest.sock")
        request = "GET /v1/hosts/lx1/kernel HTTP/1.1\r\nHost: c\r\nAccept: text/event-stream\r\n\r\n"
        slow.sendall(request.encode())
        until(lambda: condition(controller, "Connected") == "True", "it follows")
        told = {"interfaces": [{"interface_id": "a1", "name": "tap1"}], "kernel": "6.1"}
        controller.http.post("/v1/hosts/lx1/report", json=told).raise_for_status()
        rounds = 300
        for number in range(rounds):
            addresses = [f"10.0.{number % 250}.{one}" for one in range(1, 41)]
            document = {"network": "blue", "mac": "02:00:00:00:00:01", "addresses": addresses}
            controller.put("ports/a1", document)
        text, synced = read(slow, lambda text: f'"10.0.{(rounds - 1) % 250}.40/32"' in text)
    assert 1 < synced < rounds, "what changed while it did not read is told once"
    assert text.count("event: synced") == synced


def read(reader: socket.socket, is_last) -> tuple[str, int]:
    reader.settimeout(5)
    text, deadline = "", time.monotonic() + PATIENCE
    while not (is_last(text) and text.rstrip().endswith("}")):
        assert time.monotonic() < deadline, "the last state was not told"
        text += reader.recv(1 << 16).decode()
    return text, text.count("event: synced")


def test_without_asking_for_a_stream_it_is_one_document(controller: Controller) -> None:
    answer = controller.http.get("/v1/hosts/lx1/kernel", headers={"Accept": "application/json"})
    assert set(answer.json()) == {"revision", "generation", "parts"}
    assert isinstance(answer, httpx.Response)
