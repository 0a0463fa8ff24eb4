# SPDX-License-Identifier: Apache-2.0
"""The intent of a store in OVSDB, followed for as long as a process wants it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from controller.intent.ovsdb_store import OvsdbStore
from controller.intent.service import IntentService


@asynccontextmanager
async def following(
    remote: str, writer: str, tls: ssl.SSLContext | None = None
) -> AsyncIterator[IntentService]:
    """Follow the store at `remote`, and write there as `writer`. Raises StoreUnavailable or SetupError."""
    store = OvsdbStore(remote, writer=writer, tls=tls)
    try:
        service = IntentService(store)
        await service.start()
        try:
            yield service
        finally:
            await service.stop()
    finally:
        await store.close()
