# SPDX-License-Identifier: Apache-2.0
"""Where an agent gets what its kernel should hold when it follows the intent store itself (`source.Source`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Self

from controller.agent.beside_store import BesideStore
from controller.agent.source import Batch, SourceRefused, SourceUnavailable
from controller.errors import IntentError, StoreUnavailable
from controller.kernels.hosts import LinuxHosts
from controller.kernels.report import AgentReport
from controller.linux.part import Part

_LOOK_SECONDS = 3600.0
"Nobody hangs up here: waiting may take as long as it likes."


class StoreSource:
    """An intent store. An asynchronous context."""

    def __init__(self, beside: BesideStore, host: str) -> None:
        self._beside = beside
        self._host = host

    async def __aenter__(self) -> Self:
        await self._beside.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._beside.__aexit__(kind, error, trace)

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield the whole, then what changes."""
        hosts = await self._hosts()
        try:
            feed = hosts.follow(self._host)
        except IntentError as error:
            raise SourceRefused(error.code, error.reason) from error
        turn = feed.turn
        try:
            yield self._batch(hosts, hosts.compiler.parts(self._host), whole=True)
            while (parts := await feed.wait(turn, _LOOK_SECONDS)) is not None:
                if parts:
                    yield self._batch(hosts, parts, whole=False)
        finally:
            hosts.left(self._host, feed, turn)
        raise SourceUnavailable(f"host/{self._host} is no more")

    async def report(self, report: AgentReport) -> None:
        """Tell how the host is."""
        hosts = await self._hosts()
        try:
            hosts.report(self._host, report)
        except IntentError as error:
            raise SourceRefused(error.code, error.reason) from error

    async def _hosts(self) -> LinuxHosts:
        try:
            return await self._beside.hosts()
        except StoreUnavailable as error:
            raise SourceUnavailable(str(error)) from error

    def _batch(self, hosts: LinuxHosts, parts: Iterable[Part], *, whole: bool) -> Batch:
        states = {one.part: one.state for one in hosts.updates(self._host, parts)}
        return Batch(parts=states, whole=whole, generation=hosts.synced(self._host).generation)
