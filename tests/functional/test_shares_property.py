# SPDX-License-Identifier: Apache-2.0
"""Random changes while two controllers that share hosts are killed, stopped and paused, and their store crashes.

Commands go straight to the store, as a third controller without hosts would send them. Now and then, and at the end,
every bridge must hold what a compiler that starts from nothing says. OVS_GENEVE_SEED repeats a run.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from controller.errors import IntentError
from controller.intent.model import DatapathChoice, Kind
from controller.intent.service import IntentService
from tests.functional.controllers import Controller, World, store_server
from tests.functional.intent.stores import insist, serving
from tests.unit.compiler.operations import PORTS, Operations

OPERATIONS = 80
CHECK_EVERY = 20
DEFAULT_SEED = 20261
HOSTS = ("hv1", "hv2", "hv3")
INTERFACES = (*PORTS, *(f"if-{name}" for name in PORTS))


class Chaos:
    """What happens to the hosts, the controllers and the store."""

    def __init__(self, world: World, service: IntentService, random: Random) -> None:
        self._world, self._service, self._random = world, service, random

    async def submit(self, command) -> None:
        if getattr(command, "kind", None) is Kind.HOST and not hasattr(command, "spec"):
            # A bridge with other people's ports is not taken away, and then not ours any more.
            for interface_id in sorted(self._world.hosts[command.name].plugged):
                await asyncio.to_thread(self._world.hosts[command.name].unplug, interface_id)
        try:
            await insist(self._service, command)
        except IntentError:
            return

    async def move_interface(self) -> None:
        """Plug, unplug, or move: the new place comes first, as in a live migration."""
        interface_id = self._random.choice(INTERFACES)
        host = self._world.hosts[self._random.choice(HOSTS)]
        holders = [one for one in self._world.hosts.values() if interface_id in one.plugged]
        leaves = host in holders or self._random.random() < 0.2
        declared = host.name in self._service.intent.hosts
        if leaves or (declared and await asyncio.to_thread(host.plug, interface_id)):
            for holder in holders:
                await asyncio.to_thread(holder.unplug, interface_id)

    async def disturb(self) -> None:
        one = self._random.choice(self._world.controllers)
        what = self._random.choice((self._restart, self._restart, self._pause, self._crash_store))
        await what(one)

    async def _restart(self, controller: Controller) -> None:
        await asyncio.to_thread(controller.end, self._random.choice((signal.SIGTERM, signal.SIGKILL)))
        await asyncio.sleep(self._random.choice((0, 0.3, 3)))
        await asyncio.to_thread(controller.start)

    async def _pause(self, controller: Controller) -> None:
        controller.signal(signal.SIGSTOP)
        await asyncio.sleep(self._random.choice((0.5, 3)))
        controller.signal(signal.SIGCONT)

    async def _crash_store(self, _: Controller) -> None:
        await asyncio.to_thread(self._world.daemons.end, "ovsdb-server", signal.SIGKILL)
        await asyncio.sleep(self._random.choice((0, 0.5, 2.5)))
        await asyncio.to_thread(self._world.start_store)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="shares-"))
    made = store_server(folder)
    try:
        for name in HOSTS:
            await asyncio.to_thread(made.host, name)
        for name in ("a", "b"):
            await asyncio.to_thread(made.controller(name, "--store", made.store).start)
        yield made
    finally:
        await asyncio.to_thread(made.close)
    shutil.rmtree(folder)


async def test_bridges_are_right_whoever_dies(world: World) -> None:
    seed = int(os.environ.get("OVS_GENEVE_SEED", str(DEFAULT_SEED)))
    print(f"OVS_GENEVE_SEED={seed}")
    random = Random(seed)
    specs = {
        name: {"ovsdb": host.daemons.remote, "datapath": DatapathChoice.SYSTEM}
        for name, host in world.hosts.items()
    }
    operations = Operations(random, HOSTS, **specs)
    async with serving(world.store) as service:
        chaos = Chaos(world, service, random)
        for command in operations.world():
            await chaos.submit(command)
        await world.settle()
        for number in range(1, OPERATIONS + 1):
            await chaos.submit(operations.draw(binds=False))
            chance = random.random()
            if chance < 0.25:
                await chaos.move_interface()
            elif chance < 0.33:
                await chaos.disturb()
            if number % CHECK_EVERY == 0:
                await world.settle()
        for command in operations.world():
            await chaos.submit(command)
        await world.settle()
