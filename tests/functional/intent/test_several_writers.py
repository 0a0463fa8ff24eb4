# SPDX-License-Identifier: Apache-2.0
"""Several controllers write at random to one database: all see the same, and what each was told is so."""

import asyncio
import os
import random
import signal
from contextlib import AsyncExitStack

import pytest

from controller.errors import IntentError, StoreUnavailable
from controller.intent.commands import Put
from tests.functional.intent.stores import load, serving
from tests.unit.compiler.operations import Operations
from tests.unit.intent.builders import network, port, put

COMMANDS = 400
WRITERS = 4


class Witness:
    """Folds what a service tells of its changes into an intent of its own."""

    def __init__(self, service):
        self.service = service
        self.intent = service.intent
        service.on_change = self._changed

    def _changed(self, before, after, changes):
        # What comes and goes within one commit is not told, but moves the revision and uses up a key.
        assert self.sees(before)
        assert after.revision >= before.revision
        assert len({(change.kind, change.name) for change in changes}) == len(changes)
        for change in changes:
            assert change.old == before.get(change.kind, change.name)
        self.intent = self.intent.with_changes(changes, after.revision)

    def sees(self, intent):
        return (self.intent.tables, self.intent.index) == (intent.tables, intent.index)


class Users:
    """Draw commands, send them to one service, and keep what was acknowledged."""

    def __init__(self, service, randomness, number):
        self.service = service
        self.operations = Operations(randomness)
        self.name = f"u{number}"
        self.first_mac = 1000 * (number + 1)
        self.kept = {}
        self.unclear = set()
        self.left = COMMANDS

    async def write(self):
        while self.left:
            self.left -= 1
            number = self.left
            await self._keep(put(f"{self.name}-{number}", port("own", self.first_mac + number)))
            try:
                await self.service.submit(self.operations.draw())
            except (IntentError, StoreUnavailable):
                continue

    async def _keep(self, command: Put):
        try:
            result = await self.service.submit(command)
        except StoreUnavailable:
            self.unclear.add(command.name)
        else:
            assert result.created
            self.kept[command.name] = result.revision


async def compete(remote, disturb, services=2):
    """Let services write until all are done; check what they and a fresh one see."""
    randomness = random.Random(6081)
    async with AsyncExitStack() as stack:
        running = [await stack.enter_async_context(serving(remote)) for _ in range(services)]
        await running[0].submit(put("own", network(9999)))
        witnesses = [Witness(service) for service in running]
        users = [Users(service, randomness, number) for number, service in enumerate(running)]
        disturbance = asyncio.create_task(disturb(users))
        await asyncio.gather(*(one.write() for one in users for _ in range(WRITERS)))
        await disturbance
        async with asyncio.timeout(30):
            while len({service.intent.revision for service in running}) > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        intent = running[0].intent
        for service, witness in zip(running, witnesses, strict=True):
            assert service.intent == intent
            assert witness.sees(intent)
    there = await load(remote)
    assert there == intent
    for one in users:
        assert {name: there.ports[name].revision for name in one.kept} == one.kept
        mine = {name for name in there.ports if name.startswith(f"{one.name}-")}
        assert mine <= one.kept.keys() | one.unclear
    return users


async def test_two_controllers_at_once(database):
    users = await compete(database.remote, lambda users: asyncio.sleep(0))
    assert all(not one.unclear for one in users), "nobody is told of a race"


async def test_two_controllers_while_the_server_is_killed(database):
    async def disturb(users):
        for progress in range(5):
            while sum(one.left for one in users) > 2 * COMMANDS * (5 - progress) / 6:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            if database.pid is not None:
                os.kill(database.pid, signal.SIGKILL)

    users = await compete(database.remote, disturb)
    assert all(not one.unclear for one in users), "what was stored is known whoever wrote since"


@pytest.mark.parametrize("services", [3])
async def test_controllers_on_a_cluster_that_loses_its_leader(cluster, services):
    async def disturb(users):
        for progress in range(2):
            while sum(one.left for one in users) > services * COMMANDS * (2 - progress) / 3:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            member = await asyncio.to_thread(cluster.kill_leader)
            await asyncio.sleep(0.5)
            cluster.start(member)
            await asyncio.to_thread(cluster.wait_complete)

    await compete(cluster.remote, disturb, services)
