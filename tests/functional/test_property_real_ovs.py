# SPDX-License-Identifier: Apache-2.0
"""500 random API operations with plugging, moving, crashes and restarts in between, on real Open vSwitch.

Now and then, and at the end, every bridge must hold exactly what a compiler that starts from nothing says, as
ovs-ofctl reads both, and another look at a bridge must send nothing. OVS_GENEVE_SEED repeats a run.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from controller.compiler.compile import Compiler
from controller.compiler.pipeline import TUNNEL_NAME
from controller.errors import IntentError, StoreUnavailable
from controller.intent.model import DatapathChoice, Kind
from controller.process import ControllerProcess, running
from controller.reconciler.programmer import Phase
from controller.settings import Settings
from tests.functional.fabric import OvsHost, wanted
from tests.unit.compiler.operations import PORTS, Operations

OPERATIONS = 500
CHECK_EVERY = 50
DEFAULT_SEED = 20260
SETTLE_SECONDS = 20.0
HOSTS = ("hv1", "hv2", "hv3")
INTERFACES = (*PORTS, *(f"if-{name}" for name in PORTS))


@dataclass
class World:
    """The controller, the hosts, and what happens to them."""

    folder: Path
    random: Random
    hosts: dict[str, OvsHost] = field(default_factory=dict)
    process: ControllerProcess | None = None
    done: int = 0
    _running: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self) -> None:
        self._running = AsyncExitStack()
        settings = Settings(state_directory=self.folder / "state")
        self.process = await self._running.enter_async_context(running(settings))

    async def stop(self) -> None:
        self.process = None
        await self._running.aclose()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def submit(self, command) -> None:
        """Send a command as the API does; random ones are often refused."""
        assert self.process is not None
        if getattr(command, "kind", None) is Kind.HOST and not hasattr(command, "spec"):
            await self._evacuate(self.hosts[command.name])
        try:
            result = await self.process.submit(command)
        except StoreUnavailable:
            raise
        except IntentError:
            return
        self.done += bool(result.changes)

    async def _evacuate(self, host: OvsHost) -> None:
        # A bridge with other people's ports is not taken away, and then not ours any more.
        for interface_id in sorted(host.plugged):
            await asyncio.to_thread(host.unplug, interface_id)

    async def move_interface(self) -> None:
        """Plug, unplug, or move: the new place comes first, as in a live migration."""
        interface_id, host = self.random.choice(INTERFACES), self._any_host()
        holders = [h for h in self.hosts.values() if interface_id in h.plugged]
        if host in holders or self.random.random() < 0.2:
            for holder in holders:
                await asyncio.to_thread(holder.unplug, interface_id)
            return
        assert self.process is not None
        if host.name in self.process.intent.hosts and await asyncio.to_thread(host.plug, interface_id):
            for holder in holders:
                await asyncio.to_thread(holder.unplug, interface_id)

    async def disturb(self) -> None:
        """Restart the controller, or kill a daemon of a host."""
        host = self._any_host()
        what = self.random.choice((self.restart, host.crash_vswitchd, host.crash_ovsdb))
        if what == self.restart:
            await self.restart()
        else:
            await asyncio.to_thread(what)

    def _any_host(self) -> OvsHost:
        return self.hosts[self.random.choice(HOSTS)]

    async def settle(self) -> None:
        """Wait until every host holds what it should; say what differs if that never comes."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while (difference := await self.difference()) is not None:
            assert time.monotonic() < deadline, difference
            await asyncio.sleep(0.1)

    async def difference(self) -> str | None:
        """Return what is not as it should be, None when everything is."""
        assert self.process is not None
        reconciler = self.process.reconciler
        misplaced = self._misplaced()
        if misplaced:
            return f"not bound to where they are plugged: {misplaced}"
        whole = Compiler.of(reconciler.compiler.snapshot())
        for name in HOSTS:
            programmer = reconciler.programmers.get(name)
            if name not in self.process.intent.hosts:
                if programmer is not None:
                    return f"{name} is not let go of"
                continue
            if (
                programmer is None
                or programmer.phase is not Phase.IDLE
                or programmer.behind_since is not None
            ):
                return f"{name} is not programmed: {programmer and (programmer.phase, programmer.refusals)}"
            assert whole.desired(name) == reconciler.compiler.desired(name)
            found = await self._host_difference(name, whole.desired(name))
            if found is not None:
                return f"{name}: {found}"
        return None

    def _misplaced(self) -> dict[str, tuple[str | None, set[str]]]:
        """Return ports with the host that the intent has them on, and those with their interface."""
        assert self.process is not None
        intent = self.process.intent
        found = {}
        for name, held in intent.ports.items():
            interface_id = held.spec.interface_id or name
            enrolled = {h.name for h in self.hosts.values() if interface_id in h.plugged} & set(intent.hosts)
            bound = intent.host_of(name)
            if enrolled != ({bound} - {None}):
                found[name] = bound, enrolled
        return found

    async def _host_difference(self, name: str, desired) -> str | None:
        """Compare with what the daemons say; the vport and the bridge's own settings included."""
        host = self.hosts[name]
        assert self.process is not None
        if not await asyncio.to_thread(host.bridge_is_there):
            return "no bridge"
        should = await asyncio.to_thread(wanted, desired, host.daemons.folder)
        held = await asyncio.to_thread(host.held)
        for what in ("flows", "groups", "tlv_maps", "meters"):
            extra = getattr(held, what) - getattr(should, what)
            missing = getattr(should, what) - getattr(held, what)
            if extra or missing:
                return f"{what} too many: {sorted(extra)}; missing: {sorted(missing)}"
        tunnels = await asyncio.to_thread(host.tunnels)
        if (
            tunnels
            != f'{TUNNEL_NAME},6081,"{{csum=""true"", df_default=""true"", key=flow, remote_ip=flow}}"'
        ):
            return f"vports: {tunnels}"
        dpid = f"{0x6E << 56 | self.process.intent.hosts[name].key:016x}"
        if await asyncio.to_thread(host.bridge, "datapath_id") != dpid:
            return "another dpid"
        if await asyncio.to_thread(host.bridge, "fail_mode") != "secure":
            return "fail_mode is not secure"
        return None

    async def look_again(self) -> None:
        """Compare every bridge anew: nothing may be sent."""
        assert self.process is not None
        programmers = self.process.reconciler.programmers
        before = {name: programmer.messages_sent for name, programmer in programmers.items()}
        for programmer in programmers.values():
            programmer.observe_again()
        assert any(p.phase is Phase.OBSERVING for p in programmers.values()) or not programmers
        await _until(lambda: all(p.phase is Phase.IDLE for p in programmers.values()))
        assert {name: p.messages_sent for name, p in programmers.items()} == before
        assert not any(
            p.refusals.objects or p.refusals.bridge or p.refusals.meters for p in programmers.values()
        )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    seed = int(os.environ.get("OVS_GENEVE_SEED", str(DEFAULT_SEED)))
    print(f"OVS_GENEVE_SEED={seed}")
    made = World(tmp_path, Random(seed))
    try:
        for name in HOSTS:
            made.hosts[name] = await asyncio.to_thread(OvsHost.start, name, tmp_path / name)
        await made.start()
        yield made
    finally:
        await made.stop()
        for host in made.hosts.values():
            await asyncio.to_thread(host.daemons.end_all)


async def test_hosts_hold_what_the_compiler_says(world: World) -> None:
    specs = {
        name: {"ovsdb": host.daemons.remote, "datapath": DatapathChoice.SYSTEM}
        for name, host in world.hosts.items()
    }
    operations = Operations(world.random, HOSTS, **specs)
    for command in operations.world():
        await world.submit(command)
    await world.settle()
    for number in range(1, OPERATIONS + 1):
        await world.submit(operations.draw(binds=False))
        chance = world.random.random()
        if chance < 0.2:
            await world.move_interface()
        elif chance < 0.23:
            await world.disturb()
        if number % CHECK_EVERY == 0:
            await world.settle()
            await world.look_again()
    for command in operations.world():
        await world.submit(command)
    await world.settle()
    await world.restart()
    await world.settle()
    assert {p.messages_sent for p in world.process.reconciler.programmers.values()} == {0}
    await world.look_again()
    assert (await world.process.recompute()).disagreements == ()
    assert world.done > OPERATIONS / 4, "most operations were refused: nothing was tested"


async def _until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a programmer has no event to wait for
            await asyncio.sleep(0.01)
