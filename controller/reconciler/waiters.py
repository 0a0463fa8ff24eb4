# SPDX-License-Identifier: Apache-2.0
"""Those who wait until something is known of a host."""

from __future__ import annotations

import asyncio
from collections.abc import Container


class Waiters:
    """One future a host, for all who wait for it."""

    def __init__(self) -> None:
        self._futures: dict[str, asyncio.Future[None]] = {}

    async def wait(self, host: str) -> None:
        """Return when a host's waiters are woken next."""
        future = self._futures.get(host)
        if future is None:
            future = self._futures[host] = asyncio.get_running_loop().create_future()
        await asyncio.shield(future)

    def wake(self, host: str) -> None:
        """Wake who waits for a host."""
        future = self._futures.pop(host, None)
        if future is not None and not future.done():
            future.set_result(None)

    def wake_others(self, hosts: Container[str]) -> None:
        """Wake who waits for any other host than these."""
        for host in [host for host in self._futures if host not in hosts]:
            self.wake(host)
