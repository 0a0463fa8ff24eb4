# SPDX-License-Identifier: Apache-2.0
"""The setting of a machine on a real database, and what a real ovs-vswitchd makes of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from controller.intent.model import OffloadChoice
from controller.southbound.offload import offload_operations, offload_state, vswitchd_process
from ovs_geneve.ovsdb.client import OvsdbClient
from ovs_geneve.ovsdb.offload import NOTE_KEY, OffloadSetting
from ovs_geneve.ovsdb.rows import HOST_TABLES, OpenVSwitch, each
from tests.functional.ovsdb.conftest import Daemons, running, until

OFF, ON = OffloadSetting(enabled=False), OffloadSetting(enabled=True)


async def follow(daemons: Daemons):
    return running(OvsdbClient(daemons.remote, "Open_vSwitch", HOST_TABLES))


async def declare(client: OvsdbClient, choice: OffloadChoice | None, folder: Path) -> None:
    """Do what a link does, and do nothing the second time."""
    operations = offload_operations(choice, client.replica, "fabric1", vswitchd_process(folder))
    await client.transact(operations)
    assert offload_operations(choice, client.replica, "fabric1", vswitchd_process(folder)) == []


def configuration(client: OvsdbClient) -> dict[str, str]:
    (root,) = each(client.replica, OpenVSwitch)
    kept = ("hw-offload", "tc-policy")
    return {key: value for key, value in root.other_config.items() if key in kept}


def note_keys(client: OvsdbClient) -> set[str]:
    (root,) = each(client.replica, OpenVSwitch)
    return set(root.external_ids)


def name_process(host: Daemons) -> None:
    """Write the pid file that ovs-vswitchd writes where it detaches."""
    pid = host.processes["ovs-vswitchd"].pid
    (host.folder / "ovs-vswitchd.pid").write_text(f"{pid}\n", encoding="ascii")


async def test_it_is_set_and_put_back(host: Daemons) -> None:
    name_process(host)
    await asyncio.to_thread(host.vsctl, "set", "open", ".", "other_config:tc-policy=skip_sw")
    async with await follow(host) as client:
        await declare(client, OffloadChoice.SKIP_HW, host.folder)
        assert configuration(client) == {"hw-offload": "true", "tc-policy": "skip_hw"}
        await declare(client, OffloadChoice.OFF, host.folder)
        assert configuration(client)["hw-offload"] == "false"
        await declare(client, None, host.folder)
        assert configuration(client) == {"tc-policy": "skip_sw"}
        state = offload_state(None, client.replica, "fabric1", vswitchd_process(host.folder))
        assert (state.configured, state.running) == (OFF, OffloadSetting(enabled=True, policy="skip_hw"))
        assert NOTE_KEY in note_keys(client)

        host.end("ovs-vswitchd")
        host.start_vswitchd()
        name_process(host)
        await declare(client, None, host.folder)
        state = offload_state(None, client.replica, "fabric1", vswitchd_process(host.folder))
        assert (state.configured, state.running) == (OFF, OFF)
        assert NOTE_KEY not in note_keys(client)


async def test_a_host_that_is_let_go_keeps_nothing_of_ours(host: Daemons) -> None:
    name_process(host)
    async with await follow(host) as client:
        await declare(client, OffloadChoice.ON, host.folder)
        await declare(client, None, host.folder)
        assert NOTE_KEY in note_keys(client)
        await client.transact(offload_operations(None, client.replica, "fabric1", None))
        assert NOTE_KEY not in note_keys(client)
        assert configuration(client) == {}


async def test_ovs_looks_once_and_we_know(host: Daemons) -> None:
    name_process(host)
    log = host.folder / "ovs-vswitchd.out"
    async with await follow(host) as client:
        await declare(client, OffloadChoice.ON, host.folder)
        # ovs-vswitchd says once that it is enabled, at run time, and takes no other policy after that.
        await until(lambda: "Flow API Enabled" in log.read_text(), "offload enabled without a restart")
        state = offload_state(OffloadChoice.ON, client.replica, "fabric1", vswitchd_process(host.folder))
        assert (state.configured, state.running) == (ON, ON)
        await declare(client, OffloadChoice.OFF, host.folder)
        state = offload_state(OffloadChoice.OFF, client.replica, "fabric1", vswitchd_process(host.folder))
        assert (state.configured, state.running) == (OFF, ON)

        host.end("ovs-vswitchd")
        assert vswitchd_process(host.folder) is None
        host.start_vswitchd()
        name_process(host)
        state = offload_state(OffloadChoice.OFF, client.replica, "fabric1", vswitchd_process(host.folder))
        assert (state.configured, state.running) == (OFF, OFF)
        assert log.read_text().count("Flow API Enabled") == 1


async def test_another_fabric_s_setting_stays(host: Daemons) -> None:
    async with await follow(host) as client:
        await client.transact(offload_operations(OffloadChoice.ON, client.replica, "others", None))
        assert offload_operations(OffloadChoice.OFF, client.replica, "fabric1", None) == []
        state = offload_state(OffloadChoice.OFF, client.replica, "fabric1", None)
        assert (state.kept_by, state.running) == ("others", None)
        assert configuration(client)["hw-offload"] == "true"
