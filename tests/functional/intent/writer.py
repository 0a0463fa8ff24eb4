# SPDX-License-Identifier: Apache-2.0
"""A controller that only writes, to be killed: python -m tests.functional.intent.writer DIRECTORY LOG FIRST.

Logs "try NAME MAC" before and "done NAME REVISION" after each write, by unbuffered appends: what is in the log was
seen by somebody.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path

from controller.errors import StoreUnavailable
from controller.intent.embedded import EmbeddedDatabase
from controller.intent.ovsdb_store import OvsdbStore
from controller.intent.service import IntentService
from tests.unit.intent.builders import network, port, put

WRITERS = 8


async def write(directory: Path, log: Path, first: int) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    async with EmbeddedDatabase(directory) as database:
        store = OvsdbStore(database.remote)
        service = IntentService(store)
        await service.start()
        await service.submit(put("blue", network(7)))
        numbers = itertools.count(first)

        async def one() -> None:
            for number in numbers:
                os.write(descriptor, f"try p{number} {number}\n".encode())
                try:
                    result = await service.submit(put(f"p{number}", port("blue", number)))
                except StoreUnavailable:
                    continue
                os.write(descriptor, f"done p{number} {result.revision}\n".encode())

        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(one())


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
