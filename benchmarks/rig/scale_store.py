# SPDX-License-Identifier: Apache-2.0
"""Fills an intent database with a layout before its controller starts: 100,000 PUTs would take longer than the rest.

    python -m benchmarks.rig.scale_store FOLDER HOSTS NETWORKS PORTS SPREAD BIG

Rows are those that the controller would have written; what it checks before it writes is left out.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from uuid import UUID, uuid4

from benchmarks.rig.children import tell
from benchmarks.rig.layout import Layout
from controller.intent.embedded import EmbeddedDatabase
from controller.intent.model import AnyObject, Kind
from controller.intent.ovsdb_store import DATABASE
from controller.intent.rows import TABLES, encode_row
from ovs_geneve.ovsdb.client import OvsdbClient
from ovs_geneve.ovsdb.operations import Commit, Input, Insert, NamedUuid

_BATCH = 2_000
"Rows a transaction."

_GLOBAL = "Global"


class Filler:
    """Writes objects to an empty database."""

    def __init__(self, client: OvsdbClient) -> None:
        self._client = client
        self._rows = dict[tuple[Kind, str], UUID]()
        self._last_key = 0

    async def write(self, batch: Sequence[AnyObject]) -> None:
        """Store objects; what they refer to is in the batch, or stored."""
        made = {(held.kind, held.name): NamedUuid(f"new{number}") for number, held in enumerate(batch)}

        def row_of(kind: Kind, name: str) -> UUID | NamedUuid:
            return made.get((kind, name)) or self._rows[kind, name]

        inserts = [
            Insert(TABLES[held.kind], encode_row(held, row_of), made[held.kind, held.name].name)
            for held in batch
        ]
        results = await self._client.transact(inserts)
        for held, result in zip(batch, results, strict=True):
            assert result.uuid is not None, "an insert tells its row"
            self._rows[held.kind, held.name] = result.uuid
            self._last_key = max(self._last_key, held.key)

    async def finish(self) -> int:
        """Make it an intent, with revision 1, and return how many objects it has."""
        row: dict[str, Input] = {"revision": 1, "last_key": self._last_key, "commit": uuid4()}
        await self._client.transact([Insert(_GLOBAL, row), Commit()])
        return len(self._rows)


async def fill(folder: Path, layout: Layout) -> None:
    """Store everything that a layout has."""
    async with EmbeddedDatabase(folder) as database:
        client = OvsdbClient(database.remote, DATABASE, {_GLOBAL: ["revision"]})
        following = asyncio.create_task(client.run())
        await client.ready()
        filler, objects = Filler(client), layout.objects()
        while batch := tuple(islice(objects, _BATCH)):
            await filler.write(batch)
        tell({"objects": await filler.finish()})
        await client.close()
        await following


if __name__ == "__main__":
    gc.disable()
    asyncio.run(fill(Path(sys.argv[1]), Layout(*map(int, sys.argv[2:]))))
