# SPDX-License-Identifier: Apache-2.0
"""What a controller is to the agent of one Linux host, beside that agent: no controller has to run.

intent store ─► LinuxHosts, of this host alone ─► the agent
the agent    ─► binder (where ports are), recorder (what the host can do) ─► intent store
             └► keeper: other controllers are told how far the host is
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from controller.errors import SetupError
from controller.intent.following import following
from controller.intent.intent import Intent, difference
from controller.intent.model import Change, Kind
from controller.intent.ovsdb_store import DATABASE
from controller.intent.service import IntentService
from controller.kernels.hosts import LinuxHosts
from controller.reconciler.binder import Binder
from controller.reconciler.recorder import Recorder
from controller.shares.keeper import Keeper
from controller.shares.sharing import progress, served_elsewhere, with_bridges
from controller.southbound.ports import HostReport
from controller.workers import working
from ovs_geneve.errors import NotSupported
from ovs_geneve.vport import GENEVE_PORT


class BesideStore:
    """Follows a store for one host. An asynchronous context."""

    def __init__(
        self, remote: str, host: str, tls: ssl.SSLContext | None = None, tunnel_port: int = GENEVE_PORT
    ) -> None:
        self._remote = remote
        self._host = host
        self._tls = tls
        self._tunnel_port = tunnel_port
        self._stack = AsyncExitStack()
        self._hosts: LinuxHosts | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def hosts(self) -> LinuxHosts:
        """Return what the store says of the host. Raises StoreUnavailable while it was never read, and SetupError.

        A store that goes away later is followed again by itself.
        """
        if self._hosts is None:
            async with AsyncExitStack() as stack:
                self._hosts = await self._begin(stack)
                self._stack = stack.pop_all()
        return self._hosts

    async def _begin(self, stack: AsyncExitStack) -> LinuxHosts:
        name = f"agent-{self._host}"
        service = await stack.enter_async_context(following(self._remote, name, self._tls))
        binder = Binder(lambda: service.intent, service.submit)
        hosts = LinuxHosts(binder, secrets.token_hex(4), self._tunnel_port, only=self._host)
        recorder = Recorder(lambda: service.intent, {}, _no_bridge, service.submit)
        keeper = self._keeper(name, service, hosts)
        stack.push_async_callback(keeper.stop)
        binder.elsewhere = served_elsewhere(keeper, hosts)
        recorder.linux = hosts.capability
        hosts.on_host = recorder.look_again
        hosts.on_progress = keeper.progressed
        _follow(service, hosts, binder, keeper)
        await stack.enter_async_context(working(binder, recorder))
        keeper.start()
        try:
            await keeper.ready()
        except NotSupported as error:
            raise SetupError(
                f"intent store {self._remote}: {error}", "convert it: ovsdb-client convert"
            ) from error
        return hosts

    def _keeper(self, name: str, service: IntentService, hosts: LinuxHosts) -> Keeper:
        # It takes no lease, not even of a host of this name that has Open vSwitch: no host can have this one.
        only = frozenset({f"kernel/{self._host}"})
        keeper = Keeper(self._remote, DATABASE, name, _serve_nothing, dedicated=only, tls=self._tls)
        keeper.progress = lambda: progress(service.intent.revision, frozenset(), {}, hosts)
        return keeper


def _follow(service: IntentService, hosts: LinuxHosts, binder: Binder, keeper: Keeper) -> None:
    """Have everybody told what is stored, from now on."""

    def changed(before: Intent, after: Intent, changes: Sequence[Change]) -> None:
        hosts.intent_changed(after, changes)
        binder.intent_changed(changes)
        if any(change.kind is Kind.HOST for change in changes):
            keeper.declare(with_bridges(after))
        keeper.progressed()

    service.on_change = changed
    changed(Intent(), service.intent, difference(Intent(), service.intent))


def _serve_nothing(hosts: frozenset[str]) -> None:
    """Take note of leases: there are none."""


def _no_bridge(host: str) -> HostReport:
    return HostReport()
