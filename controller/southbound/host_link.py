# SPDX-License-Identifier: Apache-2.0
"""One enrolled host's OVSDB: kept as declared, and read for what flows depend on.

Whatever changes only wakes the link; what is to be done it finds by looking at the database again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from controller.intent.model import HostSpec, Object
from controller.settings import Settings
from controller.southbound.facts import (
    bridge_socket,
    datapath_of,
    facts_of,
    problem_of,
    provision_of,
    run_directory,
    system_of,
    too_old,
)
from controller.southbound.offload import offload_operations, offload_state, vswitchd_process
from controller.southbound.ports import HostEvents, HostReport, LinkState, OffloadState, Problem
from ovs_geneve.errors import ConnectionLost, DecodeError, EncodeError, NotSupported, TransactionFailed
from ovs_geneve.ovsdb.client import OvsdbClient
from ovs_geneve.ovsdb.flow_restore import end_waiting, waits_for_flows
from ovs_geneve.ovsdb.provision import OWNER_KEY, NotOwned, plan_deprovision, plan_provision
from ovs_geneve.ovsdb.replica import Replica
from ovs_geneve.ovsdb.rows import HOST_TABLES

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5
_RESTART_LOOK_SECONDS = 2.0
DATABASE = "Open_vSwitch"
SYSTEM_ID = "system-id"

_MAX_BACKOFF = 2.0
"Seconds between two attempts to dial a host."


class Dialler(Protocol):
    """Keeps one connection to a bridge."""

    async def close(self) -> None:
        """Stop dialling."""


class BridgeDialling(Protocol):
    """Dials bridges (`ovs_geneve.openflow.endpoints.Endpoints`)."""

    def dial_unix(self, path: Path) -> Dialler:
        """Keep connected to a bridge's own socket."""


class HostLink:
    """Keeps one host provisioned over the client it has at the moment, dialled or called in."""

    def __init__(
        self, host: Object[HostSpec], settings: Settings, events: HostEvents, bridges: BridgeDialling
    ) -> None:
        self.host = host
        self.client: OvsdbClient | None = None
        self._settings = settings
        self._events = events
        self._bridges = bridges
        self._bridge: tuple[Path, Dialler] | None = None
        self._report = HostReport()
        self._wake = asyncio.Event()
        self._worker = asyncio.create_task(self._work(), name=f"host {host.name}")
        self.dialled: str | None = None
        "The remote that is dialled; None for a host that calls in."
        self._dialling: asyncio.Task[None] | None = None

    def declare(self, host: Object[HostSpec]) -> None:
        """Take what is declared of the host from now on."""
        self.host = host
        self.look_again()

    def dial(self, remote: str | None) -> None:
        """Reach the host by dialling; None ends that, for a host that calls in from now on."""
        self._hang_up()
        self.dialled = remote
        self.client = None
        if remote is not None:
            self.client = OvsdbClient(
                remote,
                DATABASE,
                HOST_TABLES,
                on_change=self._changed,
                on_state=self._changed,
                max_backoff=_MAX_BACKOFF,
                name=self.host.name,
            )
            self._dialling = asyncio.create_task(self.client.run(), name=f"dial {self.host.name}")
            self._dialling.add_done_callback(self._dialling_ended)
        self.look_again()

    def adopt(self, client: OvsdbClient) -> None:
        """Reach the host over the connection on which it called in."""
        self.client = client
        self.look_again()

    def look_again(self) -> None:
        """Have the database looked at: something about it changed."""
        self._wake.set()

    async def deprovision(self) -> None:
        """Take what is ours off the host, if it answers."""
        # The worker would take what goes for a loss, and put it back.
        await self._rest()
        client = self.client
        if client is None or not client.connected:
            return
        try:
            owner = self._settings.owner
            operations = [
                *plan_deprovision(client.replica, owner),
                *offload_operations(None, client.replica, owner, None),
            ]
            if operations:
                await client.transact(operations)
        except (ConnectionLost, TransactionFailed, NotSupported) as error:
            _log.warning("host %s keeps what is ours: %s", self.host.name, error)

    async def close(self) -> None:
        """End the link; a dialled client is closed, a called-in one is its listener's."""
        await self._rest()
        await self._dial_bridge(None)
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.wait({self._dialling})

    async def _rest(self) -> None:
        self._worker.cancel()
        await asyncio.wait({self._worker})

    def _hang_up(self) -> None:
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None

    def _changed(self, _: object) -> None:
        self.look_again()

    def _dialling_ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("host %s is no longer dialled: %s", self.host.name, error, exc_info=error)

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                self._tell(await self._look_or_say_why_not())
            except Exception:  # whatever it is, it must not be the last time that this host is looked at
                _log.exception("host %s: cannot make sense of its database", self.host.name)
                asyncio.get_running_loop().call_later(_RETRY_SECONDS, self.look_again)

    async def _look_or_say_why_not(self) -> HostReport:
        try:
            return await self._look()
        except ConnectionLost:
            return self._away()
        except TransactionFailed as error:
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self.look_again)
            problem = Problem(reason="ProvisioningFailed", message=str(error))
            return replace(self._report, provisioned=False, problem=problem)

    def _tell(self, report: HostReport) -> None:
        if report != self._report:
            self._events.host_reported(self.host.name, report)
            self._report = report

    async def _look(self) -> HostReport:
        client = self.client
        if client is None or not client.connected:
            return self._away()
        replica = client.replica
        system = system_of(replica)
        report = HostReport(
            state=LinkState.CONNECTED,
            ovs_version="" if system is None else system.ovs_version or "",
            system_id="" if system is None else system.external_ids.get(SYSTEM_ID, ""),
            run_directory=run_directory(replica, self.host) if client.local_address is None else None,
            restoring=system is not None and waits_for_flows(system),
        )
        if client.local_address is None:
            report = replace(report, kernel=os.uname().release)  # its socket is on this machine
        if old := too_old(system):
            return replace(report, problem=old)
        try:
            target = self._openflow_target(client)
            socket = None if target is not None else bridge_socket(replica, self.host)
            desired = provision_of(
                self.host,
                replica,
                owner=self._settings.owner,
                controller=target,
                tunnel_port=self._settings.tunnel_port,
                mtus=self._mtus(facts_of(replica, self.host.spec.bridge).ofports),
            )
            operations = plan_provision(desired, replica)
            operations += offload_operations(
                self.host.spec.offload, replica, self._settings.owner, vswitchd_process(report.run_directory)
            )
            if system is not None and report.restoring and self._events.has_flows_back(self.host.name):
                operations.append(end_waiting(system))
        except NotOwned as error:
            mark = f"external_ids:{OWNER_KEY}={self._settings.owner}"
            message = f"{error}; to hand it over: ovs-vsctl set {error.table} {error.name} {mark}"
            return replace(report, problem=Problem(reason=f"{error.table}NotOwned", message=message))
        except (NotSupported, DecodeError, EncodeError) as error:
            return replace(report, problem=Problem(reason="CannotProvision", message=str(error)))
        facts = facts_of(replica, self.host.spec.bridge)
        if operations:
            # What is there already serves while the rest is on its way.
            self._tell(replace(report, facts=facts))
            await client.transact(operations)
            facts = facts_of(replica, self.host.spec.bridge)
        await self._dial_bridge(socket)
        report = replace(report, datapath=datapath_of(replica, self.host.spec.bridge))
        return replace(
            report,
            facts=facts,
            provisioned=True,
            problem=problem_of(replica),
            offload=self._offload(replica, report.run_directory),
        )

    def _offload(self, replica: Replica, run_directory: Path | None) -> OffloadState | None:
        process = vswitchd_process(run_directory)
        state = offload_state(self.host.spec.offload, replica, self._settings.owner, process)
        if state is None or run_directory is None or state.running == state.configured:
            return state
        if state.wanted is not None or state.running is not None:
            # No row tells that ovs-vswitchd was started anew.
            asyncio.get_running_loop().call_later(_RESTART_LOOK_SECONDS, self.look_again)
        return state

    def _mtus(self, interface_ids: Iterable[str]) -> dict[str, int]:
        wanted = ((one, self._events.interface_mtu(one)) for one in interface_ids)
        return {one: mtu for one, mtu in wanted if mtu is not None}

    async def _dial_bridge(self, socket: Path | None) -> None:
        """Keep the bridge's own OpenFlow socket dialled, where the bridge cannot dial us."""
        if self._bridge is not None and self._bridge[0] != socket:
            await self._bridge[1].close()
            self._bridge = None
        if self._bridge is None and socket is not None:
            self._bridge = socket, self._bridges.dial_unix(socket)

    def _away(self) -> HostReport:
        error = None if self.client is None else self.client.last_error
        problem = None if error is None else Problem(reason="HostUnreachable", message=str(error))
        return replace(self._report, state=LinkState.WAITING, problem=problem)

    def _openflow_target(self, client: OvsdbClient) -> str | None:
        """Return where the host's bridge finds us: at the address at which its OVSDB did; None on this machine."""
        if self._settings.advertise is not None:
            return self._settings.advertise
        if client.local_address is None:
            return None
        if self._settings.openflow is None:
            raise NotSupported("a host over TCP", "--openflow ADDRESS:PORT, for its bridge to dial")
        address = client.local_address[0]
        port = self._settings.openflow.rpartition(":")[2]
        return f"tcp:[{address}]:{port}" if ":" in address else f"tcp:{address}:{port}"
