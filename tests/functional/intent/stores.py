# SPDX-License-Identifier: Apache-2.0
"""Stores and services for the length of a block, and what a fresh one finds."""

import asyncio
from contextlib import asynccontextmanager

from controller.errors import StoreUnavailable
from controller.intent.ovsdb_store import OvsdbStore
from controller.intent.service import IntentService


class Followed:
    """What a store has told so far."""

    intent = None

    def __call__(self, intent, changes):
        self.intent = intent


async def followed(store):
    told = Followed()
    await store.follow(told)
    return told


@asynccontextmanager
async def stored(remote, **rest):
    store = OvsdbStore(remote, **rest)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def serving(remote, **rest):
    async with stored(remote, **rest) as store:
        service = IntentService(store)
        await service.start()
        try:
            yield service
        finally:
            await service.stop()


async def load(remote):
    async with stored(remote) as store:
        return (await followed(store)).intent


async def insist(service, command):
    """Do what clients are told to do: send it again."""
    while True:
        try:
            return await service.submit(command)
        except StoreUnavailable:
            await asyncio.sleep(0.05)
