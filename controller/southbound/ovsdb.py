# SPDX-License-Identifier: Apache-2.0
"""The OVSDB side of all hosts: those we dial, those that call in, and strangers nobody has declared."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace

from controller.intent.model import HostSpec, Object
from controller.settings import Settings
from controller.southbound.facts import system_of
from controller.southbound.host_link import DATABASE, SYSTEM_ID, BridgeDialling, HostLink
from controller.southbound.ports import HostEvents, WaitingHost
from ovs_geneve.ovsdb.client import OvsdbClient
from ovs_geneve.ovsdb.connection import OvsdbConnection
from ovs_geneve.ovsdb.listener import OvsdbListener
from ovs_geneve.ovsdb.rows import HOST_TABLES, OpenVSwitch

_log = logging.getLogger(__name__)


class _Caller:
    """A host on a connection that it opened; whose it is shows once its database was read."""

    def __init__(self, connection: OvsdbConnection, on_stranger: Callable[[], None]) -> None:
        self._on_stranger = on_stranger
        address = connection.peer_address
        self.remote = "unix" if address is None else address[0]
        self.link: HostLink | None = None
        self.client = OvsdbClient(
            None, DATABASE, HOST_TABLES, on_change=self._changed, on_state=self._changed, name=self.remote
        )

    @property
    def system(self) -> OpenVSwitch | None:
        """Return the row about the whole host, None until it was read."""
        return system_of(self.client.replica) if self.client.connected else None

    def _changed(self, _: object) -> None:
        if self.link is not None:
            self.link.look_again()
        elif self.client.connected:
            self._on_stranger()  # its system-id may have come now


class OvsdbHosts:
    """Implements HostLinks. `events` is told what hosts report; set it before the first host is enrolled."""

    events: HostEvents

    def __init__(self, settings: Settings, bridges: BridgeDialling) -> None:
        self._settings = settings
        self._bridges = bridges
        self._links: dict[str, HostLink] = {}
        self._callers: set[_Caller] = set()
        self._listeners: list[OvsdbListener] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to listen for hosts that call in."""
        self._settings.ovsdb_socket.unlink(missing_ok=True)
        remotes = [f"punix:{self._settings.ovsdb_socket}"]
        if self._settings.ovsdb is not None:
            remotes.append(self._settings.ovsdb)
        for remote in remotes:
            listener = OvsdbListener(remote, self._called_in)
            await listener.start()
            self._listeners.append(listener)

    async def close(self) -> None:
        """End all links and listeners."""
        for listener in self._listeners:
            await listener.close()
        while self._links:
            # One at a time: a host may be let go of meanwhile.
            _, link = self._links.popitem()
            await link.close()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def enrol(self, host: Object[HostSpec]) -> None:
        """Keep a host provisioned as declared from now on."""
        if host.name == self._settings.host:
            # We run beside it: its own socket is nearer than what others dial.
            host = replace(host, spec=replace(host.spec, ovsdb=self._settings.local_ovsdb))
        link = self._links.get(host.name)
        if link is None:
            link = self._links[host.name] = HostLink(host, self._settings, self.events, self._bridges)
        link.declare(host)
        if host.spec.ovsdb != link.dialled:
            link.dial(host.spec.ovsdb)
        self._match_callers()

    def release(self, name: str) -> None:
        """Take what is ours off a host, if it answers, and forget it."""
        link = self._detach(name)
        if link is not None:
            self._start(_let_go(link))

    def forget(self, name: str) -> None:
        """Let go of a host as it is: another controller serves it."""
        link = self._detach(name)
        if link is not None:
            self._start(link.close())

    def look_again(self, name: str) -> None:
        """Have a host's database looked at: what it should hold may have changed."""
        link = self._links.get(name)
        if link is not None:
            link.look_again()

    def strangers(self) -> tuple[WaitingHost, ...]:
        """Return the hosts that called in and are not declared."""
        waiting = [
            WaitingHost(
                system_id=system.external_ids.get(SYSTEM_ID, ""),
                remote=caller.remote,
                ovs_version=system.ovs_version or "",
            )
            for caller in self._callers
            if caller.link is None and (system := caller.system) is not None
        ]
        return tuple(sorted(waiting, key=lambda host: (host.system_id, host.remote)))

    def _detach(self, name: str) -> HostLink | None:
        link = self._links.pop(name, None)
        for caller in self._callers:
            if link is not None and caller.link is link:
                caller.link = None
        return link

    def _called_in(self, connection: OvsdbConnection) -> None:
        self._start(self._serve(connection))

    async def _serve(self, connection: OvsdbConnection) -> None:
        """Follow a host that called in until it hangs up."""
        caller = _Caller(connection, self._match_callers)
        self._callers.add(caller)
        try:
            reason = await caller.client.serve(connection)
            _log.info("OVSDB of %s hung up: %s", caller.remote, reason)
        finally:
            self._callers.discard(caller)
            if caller.link is not None:
                caller.link.look_again()

    def _match_callers(self) -> None:
        """Bring together hosts that called in and hosts that are declared."""
        expected = {
            link.host.spec.system_id or name: link
            for name, link in self._links.items()
            if link.host.spec.ovsdb is None
        }
        for caller in self._callers:
            system = caller.system
            if caller.link is not None and caller.link.dialled is not None:
                caller.link = None  # it is dialled from now on
            if caller.link is None and system is not None:
                caller.link = expected.get(system.external_ids.get(SYSTEM_ID, ""))
                if caller.link is not None:
                    caller.link.adopt(caller.client)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("a host's OVSDB: %s", error, exc_info=error)


async def _let_go(link: HostLink) -> None:
    await link.deprovision()
    await link.close()
