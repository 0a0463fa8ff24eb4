# SPDX-License-Identifier: Apache-2.0
"""Declares a layout in an intent store before its controller starts: 100,000 PUTs would take longer than the rest.

    python -m benchmarks.scale_store FOLDER HOSTS NETWORKS PORTS SPREAD BIG

The commands are evaluated and stored as those of REST are; only HTTP is left out.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from itertools import islice
from pathlib import Path

from benchmarks.children import tell
from benchmarks.layout import Layout
from controller.intent.embedded import EmbeddedDatabase
from controller.intent.ovsdb_store import OvsdbStore
from controller.intent.service import MAX_BATCH, IntentService


async def fill(folder: Path, layout: Layout) -> None:
    """Store everything that a layout has."""
    async with EmbeddedDatabase(folder) as database:
        store = OvsdbStore(database.remote)
        service = IntentService(store)
        await service.start()
        commands = layout.commands()
        while batch := tuple(islice(commands, MAX_BATCH)):
            await asyncio.gather(*(service.submit(command) for command in batch))
        tell({"revision": service.intent.revision, "ports": len(service.intent.ports)})
        await service.stop()
        await store.close()


if __name__ == "__main__":
    gc.disable()
    asyncio.run(fill(Path(sys.argv[1]), Layout(*map(int, sys.argv[2:]))))
