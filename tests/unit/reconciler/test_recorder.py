# SPDX-License-Identifier: Apache-2.0
"""What hosts can do is recorded when it is known, again when it changed, and never twice the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from controller.errors import StoreUnavailable
from controller.intent.model import CapabilitySpec
from controller.intent.service import IntentService
from controller.intent.store import MemoryStore
from controller.reconciler import recorder as module
from controller.reconciler.recorder import Recorder
from controller.southbound.ports import HostReport, LinkState
from ovs_geneve.openflow.tlv_table import TlvMap
from tests.unit.intent.builders import delete, host, put
from tests.unit.reconciler.test_programmer import Rig as Bridge
from tests.unit.reconciler.test_programmer import small_fabric

UP = HostReport(
    state=LinkState.CONNECTED, provisioned=True, ovs_version="3.1.0", datapath="netdev", kernel="6.1.0"
)
FOREIGN = TlvMap(0xFF77, 1, 4, 60)


class World:
    """One host with a bridge, and who records what it can do."""

    def __init__(self) -> None:
        self.service = IntentService(MemoryStore())
        self.bridge = Bridge(small_fabric())
        self.report = HostReport()
        self.unavailable = 0
        self.recorder = Recorder(
            lambda: self.service.intent,
            {"hv1": self.bridge.programmer},
            lambda host: self.report,
            self.submit,
        )

    async def submit(self, command) -> None:
        if self.unavailable:
            self.unavailable -= 1
            raise StoreUnavailable("not now")
        await self.service.submit(command)

    async def look(self) -> CapabilitySpec | None:
        self.recorder.look_again("hv1")
        await asyncio.sleep(0.02)
        held = self.service.intent.capabilities.get("hv1")
        return None if held is None else held.spec


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    await made.service.start()
    await made.service.submit(put("hv1", host("192.0.2.1")))
    task = asyncio.create_task(made.recorder.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await made.service.stop()


async def test_bridge_and_database_must_have_told(world: World) -> None:
    assert await world.look() is None
    world.report = UP
    assert await world.look() is None, "its bridge was not read"
    world.bridge.connect()
    world.bridge.channel.settle()
    assert await world.look() == CapabilitySpec(
        ovs_version="3.1.0",
        datapath="netdev",
        kernel="6.1.0",
        max_option_bytes=256,
        max_options=64,
        critical=True,
    )


async def test_a_reconnect_with_nothing_new_writes_nothing(world: World) -> None:
    world.report = UP
    world.bridge.connect()
    world.bridge.channel.settle()
    await world.look()
    revision = world.service.intent.revision
    world.bridge.connect()
    world.bridge.channel.settle()
    await world.look()
    assert world.service.intent.revision == revision


async def test_what_others_mapped_and_another_version_are_news(world: World) -> None:
    world.report = UP
    world.bridge.bridge.tlv_maps = frozenset({FOREIGN})
    world.bridge.connect()
    world.bridge.channel.settle()
    told = await world.look()
    assert told is not None
    assert told.foreign == (FOREIGN,), "and not what is ours"
    world.report = HostReport(state=LinkState.CONNECTED, provisioned=True, ovs_version="3.2.0")
    told = await world.look()
    assert told is not None
    assert told.ovs_version == "3.2.0"


async def test_a_host_that_went_and_a_store_that_was_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.01)
    world.report = UP
    world.bridge.connect()
    world.bridge.channel.settle()
    world.unavailable = 1
    await world.look()
    await asyncio.sleep(0.05)
    assert "hv1" in world.service.intent.capabilities, "it was tried again"
    await world.service.submit(delete("host/hv1"))
    assert await world.look() is None
