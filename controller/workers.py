# SPDX-License-Identifier: Apache-2.0
"""Loops that run beside others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol


class Worker(Protocol):
    """What works for ever."""

    async def run(self) -> None:
        """Work."""


@asynccontextmanager
async def working(*workers: Worker) -> AsyncIterator[None]:
    """Have workers run for the duration of the context; the last one ends first."""
    async with AsyncExitStack() as stack:
        for worker in workers:
            task = asyncio.create_task(worker.run(), name=type(worker).__name__.lower())
            stack.push_async_callback(_end, task)
        yield


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
