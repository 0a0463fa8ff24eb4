# SPDX-License-Identifier: Apache-2.0
"""A RAFT cluster as the store: its leader is killed, writes go on, none is lost or doubled."""

import asyncio

from controller.errors import StoreUnavailable
from tests.functional.intent.stores import load, serving
from tests.unit.intent.builders import network, port, put


async def test_writes_outlive_two_leaders(cluster):
    acknowledged, attempted, refused = dict[str, int](), set[str](), list[str]()
    ending = asyncio.Event()

    async def write(service, numbers):
        for number in numbers:
            attempted.add(f"p{number}")
            try:
                result = await service.submit(put(f"p{number}", port("blue", number)))
            except StoreUnavailable as error:
                refused.append(str(error))
                continue
            acknowledged[f"p{number}"] = result.revision
            if ending.is_set():
                return

    async with serving(cluster.remote) as service:
        await service.submit(put("blue", network(7)))
        numbers = iter(range(1_000_000))
        writers = [asyncio.create_task(write(service, numbers)) for _ in range(10)]
        for _ in range(2):
            wanted = len(acknowledged) + 100
            async with asyncio.timeout(15):
                while len(acknowledged) < wanted:  # noqa: ASYNC110  ten writers move it
                    await asyncio.sleep(0.01)
            member = await asyncio.to_thread(cluster.kill_leader)
            await asyncio.sleep(0.5)
            cluster.start(member)
            await asyncio.to_thread(cluster.wait_complete)
        ending.set()
        await asyncio.gather(*writers)
        intent = service.intent
    there = await load(cluster.remote)
    assert refused == []
    assert there == intent
    assert {name: there.ports[name].revision for name in acknowledged} == acknowledged
    assert set(there.ports) <= attempted
