# SPDX-License-Identifier: Apache-2.0
"""Clustered databases: the difference after a reconnect, and staying with the leader."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest

from ovs_geneve.errors import ConnectionLost
from ovs_geneve.ovsdb.client import OvsdbClient
from ovs_geneve.ovsdb.operations import Comment, Insert, Mutate, Mutation, NamedUuid
from ovs_geneve.ovsdb.rows import HOST_TABLES, Bridge, each
from tests.functional.ovsdb.conftest import SCHEMA, Daemons, free_port, running, until

BULK = [f"bulk{number}" for number in range(50)]


def insert(name: str) -> Insert:
    return Insert("Bridge", {"name": name}, f"row_{name}")


def root_them(names: list[str]) -> Mutate:
    return Mutate(
        "Open_vSwitch", (), (Mutation("bridges", "insert", {NamedUuid(f"row_{name}") for name in names}),)
    )


def insert_bridge(name: str):
    return insert(name), root_them([name])


@pytest.fixture
def member(daemons: Daemons) -> Daemons:
    """A cluster of one."""
    daemons.tool("ovsdb-tool", "create-cluster", "conf.db", str(SCHEMA), f"tcp:127.0.0.1:{free_port()}")
    daemons.start_ovsdb()
    daemons.vsctl("--no-wait", "init")
    return daemons


@pytest.mark.parametrize("how", ["reconnect", "kill"])
async def test_only_the_difference_comes_after_a_reconnect(member: Daemons, how):
    updates, changes = [], []
    client = OvsdbClient(member.remote, "Open_vSwitch", HOST_TABLES, on_change=changes.extend)
    apply = client.replica.apply
    client.replica.apply = lambda update: updates.append(update) or apply(update)
    async with running(client):
        assert updates[0].snapshot
        # The server forgets history that is larger than the database: let that be large.
        await client.transact([insert(name) for name in BULK] + [root_them(BULK)])
        await client.transact(insert_bridge("br0"))
        assert client.replica.last_txn_id is not None
        updates.clear()
        changes.clear()
        if how == "kill":
            member.end("ovsdb-server", signal.SIGKILL)
            member.start_ovsdb()
        else:
            member.tool("ovs-appctl", "-t", str(member.folder / "ovsdb.ctl"), "ovsdb-server/reconnect")
            member.vsctl("--no-wait", "add-br", "br1")  # before we are back: our loop stood still
        async with asyncio.timeout(10):
            await until(lambda: updates, "the answer")
            await client.ready()
        assert not updates[0].snapshot
        assert updates[0].txn_id is not None
        rows = sum(len(rows) for rows in updates[0].tables.values())
        assert (rows, len(changes)) == ((0, 0) if how == "kill" else (4, 4))
        await client.transact([*insert_bridge("br2"), Comment("x")])
        names = {bridge.name for bridge in each(client.replica, Bridge)} - set(BULK)
        assert names == ({"br0", "br2"} if how == "kill" else {"br0", "br1", "br2"})


@pytest.fixture
def members(daemons: Daemons) -> Iterator[list[Daemons]]:
    """A cluster of three, each with a folder of its own."""
    raft = [f"tcp:127.0.0.1:{free_port()}" for _ in range(3)]
    everyone = [Daemons(daemons.folder / str(index)) for index in range(3)]
    for index, one in enumerate(everyone):
        one.folder.mkdir()
        if index == 0:
            timer = "--election-timer=1000"
            one.tool("ovsdb-tool", timer, "create-cluster", "conf.db", str(SCHEMA), raft[0])
        else:
            one.tool("ovsdb-tool", "join-cluster", "conf.db", "Open_vSwitch", raft[index], raft[0])
        one.start_ovsdb()
    for one in everyone:
        one.tool("ovsdb-client", "wait", one.remote, "Open_vSwitch", "connected")
    everyone[0].vsctl("--no-wait", "init")
    yield everyone
    for one in everyone:
        one.end_all()


async def test_leader_only_leaves_followers_and_finds_the_next_leader(members: list[Daemons]):
    remote = ",".join(one.remote for one in (members[1], members[2], members[0]))
    client = OvsdbClient(remote, "Open_vSwitch", HOST_TABLES, leader_only=True, max_backoff=0.3)
    async with running(client):
        await client.transact(insert_bridge("br0"))
        status = ("ovs-appctl", "-t", str(members[0].folder / "ovsdb.ctl"), "cluster/status", "Open_vSwitch")
        assert "Role: leader" in members[0].tool(*status)
        members[0].end("ovsdb-server", signal.SIGKILL)
        with pytest.raises(ConnectionLost):
            await client.transact(insert_bridge("br1"))
        await until(lambda: not client.connected, "the loss")
        async with asyncio.timeout(20):
            await client.ready()
        await client.transact(insert_bridge("br2"))
        assert {bridge.name for bridge in each(client.replica, Bridge)} >= {"br0", "br2"}
