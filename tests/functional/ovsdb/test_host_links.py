# SPDX-License-Identifier: Apache-2.0
"""Enrolled and released hosts on a real ovsdb-server: what may not be left behind, and what may not end a link."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controller.intent.model import HostSpec, Kind, Object, ObjectKey
from controller.settings import Settings
from controller.southbound.ovsdb import OvsdbHosts
from controller.southbound.ports import HostReport
from tests.functional.ovsdb.conftest import Daemons, until
from tests.unit.intent.builders import host as host_spec


class Events:
    """Keeps the last report of each host; raises when asked to."""

    def __init__(self) -> None:
        self.last: dict[str, HostReport] = {}
        self.faults: list[Exception] = []
        self.restored: set[str] = set()

    def interface_mtu(self, interface_id: str) -> int | None:
        return None

    def has_flows_back(self, name: str) -> bool:
        return name in self.restored

    def host_reported(self, name: str, report: HostReport) -> None:
        if self.faults:
            raise self.faults.pop()
        self.last[name] = report

    def provisioned(self, name: str) -> bool:
        return name in self.last and self.last[name].provisioned


class NoBridges:
    """Dials nothing."""

    def dial_unix(self, path: Path) -> NoBridges:
        return self

    async def close(self) -> None:
        pass


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
async def hosts(daemons: Daemons, events: Events) -> AsyncIterator[OvsdbHosts]:
    daemons.create_database()
    daemons.start_ovsdb("--remote=db:Open_vSwitch,Open_vSwitch,manager_options")
    daemons.vsctl(
        "--no-wait", "init", "--", "set", "Open_vSwitch", ".", f"external_ids:rundir={daemons.folder}"
    )
    everything = OvsdbHosts(Settings(state_directory=daemons.folder), NoBridges())
    everything.events = events
    await everything.start()
    yield everything
    await everything.close()


def hv1(**spec) -> Object[HostSpec]:
    return Object(kind=Kind.HOST, name="hv1", key=ObjectKey(3), spec=host_spec("192.0.2.1", **spec))


async def test_release_takes_the_bridge_away_for_good(
    daemons: Daemons, hosts: OvsdbHosts, events: Events
) -> None:
    hosts.enrol(hv1(ovsdb=daemons.remote))
    await until(lambda: events.provisioned("hv1"), "the bridge")
    assert daemons.vsctl("list-br") == "br-int"
    before = asyncio.all_tasks()
    hosts.release("hv1")
    left = asyncio.all_tasks() - before
    await asyncio.wait(left)
    assert daemons.vsctl("list-br") == ""


async def test_a_fault_does_not_end_the_link(
    daemons: Daemons, hosts: OvsdbHosts, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    events.faults.append(RuntimeError("a fault of ours"))
    hosts.enrol(hv1(ovsdb=daemons.remote))
    await until(lambda: events.provisioned("hv1"), "the bridge all the same")
    assert "a fault of ours" in caplog.text


async def test_a_host_may_get_its_system_id_after_it_called_in(
    daemons: Daemons, hosts: OvsdbHosts, events: Events
) -> None:
    hosts.enrol(hv1())
    daemons.vsctl("--no-wait", "set-manager", f"unix:{daemons.folder / 'ovsdb.sock'}")
    await until(hosts.strangers, "a stranger")
    daemons.vsctl("--no-wait", "set", "Open_vSwitch", ".", "external_ids:system-id=hv1")
    await until(lambda: events.provisioned("hv1"), "the bridge")
    assert hosts.strangers() == ()


async def test_a_host_that_was_dialled_for_a_while_is_reached_again_where_it_called_in(
    daemons: Daemons, hosts: OvsdbHosts, events: Events
) -> None:
    daemons.vsctl("--no-wait", "set", "Open_vSwitch", ".", "external_ids:system-id=hv1")
    daemons.vsctl("--no-wait", "set-manager", f"unix:{daemons.folder / 'ovsdb.sock'}")
    hosts.enrol(hv1())
    await until(lambda: events.provisioned("hv1"), "the bridge")
    hosts.enrol(hv1(ovsdb=daemons.remote))
    hosts.enrol(hv1())
    daemons.vsctl("--no-wait", "del-br", "br-int")
    await until(lambda: daemons.vsctl("list-br") == "br-int", "the bridge again")


async def test_a_wait_for_flows_ends_once_they_are_back(
    daemons: Daemons, hosts: OvsdbHosts, events: Events
) -> None:
    daemons.vsctl("--no-wait", "set", "Open_vSwitch", ".", "other_config:flow-restore-wait=true")
    hosts.enrol(hv1(ovsdb=daemons.remote))
    await until(lambda: events.provisioned("hv1"), "the bridge")
    assert events.last["hv1"].restoring
    events.restored.add("hv1")
    hosts.look_again("hv1")
    await until(lambda: not events.last["hv1"].restoring, "the end of the wait")
    assert "flow-restore-wait" not in daemons.vsctl("get", "Open_vSwitch", ".", "other_config")
