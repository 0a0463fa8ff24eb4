# SPDX-License-Identifier: Apache-2.0
"""The client against a real ovsdb-server: channels, transactions, reconnects."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from uuid import UUID

import pytest

from ovs_geneve.errors import (
    ConnectionLost,
    DecodeError,
    EncodeError,
    NotSupported,
    TransactionFailed,
    WaitTimedOut,
)
from ovs_geneve.ovsdb.client import ConnectionState, OvsdbClient
from ovs_geneve.ovsdb.operations import (
    Abort,
    Comment,
    Commit,
    Condition,
    Delete,
    Insert,
    Mutate,
    Mutation,
    NamedUuid,
    Select,
    Update,
    Wait,
)
from ovs_geneve.ovsdb.rows import HOST_TABLES, Bridge, OpenVSwitch, by_name, each
from tests.functional.ovsdb.conftest import Daemons, free_port, running, started, until
from tests.functional.ovsdb.pki import Authority


def follow(remote, **how) -> OvsdbClient:
    return OvsdbClient(remote, "Open_vSwitch", HOST_TABLES, min_backoff=0.02, max_backoff=0.1, **how)


def insert_bridge(name: str, **columns):
    return (
        Insert("Bridge", {"name": name, **columns}, "row"),
        Mutate("Open_vSwitch", (), (Mutation("bridges", "insert", {NamedUuid("row")}),)),
    )


async def test_unix_socket(ovsdb: Daemons):
    async with running(follow(ovsdb.remote)) as client:
        assert client.connected
        assert (client.local_address, client.peer_name) == (None, None)
        (root,) = each(client.replica, OpenVSwitch)
        assert root.bridges == frozenset()


async def test_tcp_tells_where_the_peer_can_reach_us(daemons: Daemons):
    port = free_port()
    daemons.create_database()
    daemons.start_ovsdb(f"--remote=ptcp:{port}:127.0.0.1")
    async with running(follow(f"tcp:127.0.0.1:{port}")) as client:
        assert client.local_address is not None
        assert client.local_address[0] == "127.0.0.1"
        assert client.peer_address == ("127.0.0.1", port)
        assert client.peer_name is None


def start_with_tls(daemons: Daemons, authority: Authority) -> int:
    port = free_port()
    server = authority.issue("hv1")
    daemons.create_database()
    daemons.start_ovsdb(
        f"--remote=pssl:{port}:127.0.0.1",
        f"--private-key={server.key}",
        f"--certificate={server.certificate}",
        f"--ca-cert={authority.certificate}",
    )
    daemons.vsctl("--no-wait", "init")
    return port


async def test_tls_shows_the_name_in_the_certificate(daemons: Daemons, authority: Authority):
    port = start_with_tls(daemons, authority)
    tls = authority.context(authority.issue("controller"), server=False)
    async with running(follow(f"ssl:127.0.0.1:{port}", tls=tls)) as client:
        assert client.peer_name == "hv1"
        await client.transact(insert_bridge("br0"))
        assert by_name(client.replica, Bridge, "br0")


async def test_tls_takes_no_stranger(daemons: Daemons, authority: Authority, tmp_path):
    port = start_with_tls(daemons, authority)
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other", "other")
    client = follow(f"ssl:127.0.0.1:{port}", tls=stranger.context(stranger.issue("controller"), server=False))
    async with started(client):
        await until(lambda: client.last_error is not None, "an error")
        assert "certificate verify failed" in str(client.last_error).lower()
        assert not client.connected


def test_tls_without_a_context_cannot_be_built():
    with pytest.raises(EncodeError, match=r"ssl:127\.0\.0\.1:1"):
        follow("ssl:127.0.0.1:1")
    with pytest.raises(EncodeError, match="OvsdbListener"):
        follow("ptcp:1")


async def test_what_others_change_comes_as_one_change_a_transaction(ovsdb: Daemons):
    changes = []
    async with running(follow(ovsdb.remote, on_change=changes.append)) as client:
        changes.clear()
        await asyncio.to_thread(
            ovsdb.vsctl, *("--no-wait", "add-br", "br0", "--", "set", "bridge", "br0", "fail_mode=secure")
        )
        await until(lambda: changes, "a change")
        assert Counter(change.table for change in changes[0]) == {
            "Bridge": 1,
            "Port": 1,
            "Interface": 1,
            "Open_vSwitch": 1,
        }
        assert by_name(client.replica, Bridge, "br0").fail_mode == "secure"


async def test_results_come_one_an_operation(ovsdb: Daemons):
    async with running(follow(ovsdb.remote)) as client:
        made, rooted, _, updated, none, read = await client.transact(
            [
                *insert_bridge("br0", external_ids={"a": "b"}),
                Comment("made by a test"),
                Update("Bridge", (Condition("name", "==", "br0"),), {"fail_mode": "secure"}),
                Delete("Manager", ()),
                Select("Bridge", (), ["_uuid", "name", "external_ids", "fail_mode", "stp_enable"]),
            ]
        )
        assert isinstance(made.uuid, UUID)
        assert (rooted.count, updated.count, none.count) == (1, 1, 0)
        assert read.rows == (
            {
                "_uuid": made.uuid,
                "name": "br0",
                "external_ids": {"a": "b"},
                "fail_mode": "secure",
                "stp_enable": False,
            },
        )
        # The replica has it by the time `transact` returns.
        assert by_name(client.replica, Bridge, "br0").uuid == made.uuid


async def test_a_durable_commit(ovsdb: Daemons):
    async with running(follow(ovsdb.remote)) as client:
        assert len(await client.transact([*insert_bridge("br0"), Commit(durable=True)])) == 3


@pytest.mark.parametrize(
    ("operations", "error", "index"),
    [
        ([Insert("Bridge", {"nonsense": 1})], "unknown column", 0),
        ([Comment("x"), Insert("Nonsense", {})], "syntax error", 1),
        ([Comment("x"), Insert("Bridge", {"name": "b", "fail_mode": "x"})], "constraint violation", 1),
        ([*insert_bridge("taken")], "constraint violation", None),
        ([Update("Bridge", (), {"ports": {UUID(int=1)}})], "referential integrity violation", None),
        ([Comment("x"), Comment("y"), Abort()], "aborted", 2),
    ],
)
async def test_a_refused_transaction_names_the_culprit_and_stores_nothing(
    ovsdb: Daemons, operations, error, index
):
    async with running(follow(ovsdb.remote)) as client:
        await client.transact(insert_bridge("taken"))
        before = dict(client.replica.rows("Bridge"))
        with pytest.raises(TransactionFailed) as caught:
            await client.transact([*operations])
        assert (caught.value.error, caught.value.operation) == (error, index)
        assert not caught.value.retryable
        assert client.connected
        assert dict(client.replica.rows("Bridge")) == before


async def test_an_unfulfilled_wait_stores_nothing_and_may_be_tried_again(ovsdb: Daemons):
    async with running(follow(ovsdb.remote)) as client:
        nobody = Wait("Bridge", (), ("name",), "!=", ())
        with pytest.raises(WaitTimedOut) as caught:
            await client.transact([nobody, *insert_bridge("br0")])
        assert caught.value.operation == 0
        assert caught.value.retryable
        assert not client.replica.rows("Bridge")


async def test_a_wait_in_the_server_lets_later_transactions_pass(ovsdb: Daemons):
    async with running(follow(ovsdb.remote)) as client:
        until_named = Wait(
            *("Bridge", (Condition("name", "==", "br0"),), ("name",), "==", ({"name": "br0"},)), timeout=5000
        )
        waiting = asyncio.create_task(client.transact([until_named]))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await client.transact(insert_bridge("br0"))
        async with asyncio.timeout(2):
            await waiting


async def test_a_cancelled_transaction_is_given_up_by_the_server_too(ovsdb: Daemons):
    async with running(follow(ovsdb.remote)) as client:
        never = Wait("Bridge", (), ("name",), "==", ({"name": "x"},), timeout=None)
        waiting = asyncio.create_task(client.transact([never, *insert_bridge("late")]))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await client.transact(insert_bridge("x"))
        await client.transact([Comment("a round trip")])
        assert [bridge.name for bridge in each(client.replica, Bridge)] == ["x"]


async def test_overlapping_transactions_keep_their_order(ovsdb: Daemons):
    async with running(follow(ovsdb.remote)) as client:
        await client.transact(insert_bridge("br0"))
        seen = []
        client._on_change = lambda changes: seen.extend(change.new["external_ids"]["n"] for change in changes)
        async with asyncio.TaskGroup() as group:
            for number in range(200):
                row = {"external_ids": {"n": str(number)}}
                group.create_task(client.transact([Update("Bridge", (), row)]))
        assert seen == sorted(seen, key=int)
        assert seen[-1] == "199"


async def test_a_missing_column_reaches_who_waits(ovsdb: Daemons):
    client = OvsdbClient(ovsdb.remote, "Open_vSwitch", {"Bridge": ["name", "nonsense"]})
    async with started(client):
        with pytest.raises(NotSupported, match=r"column Bridge\.nonsense"):
            await client.ready()


async def test_an_unknown_database_is_an_error_but_not_the_end(ovsdb: Daemons):
    client = OvsdbClient(ovsdb.remote, "Nonsense", {})
    async with started(client):
        await until(lambda: client.last_error, "an error")
        assert "unknown database" in str(client.last_error)


async def test_a_killed_server_comes_back_and_only_changes_are_seen(ovsdb: Daemons):
    """kill -9 in mid-service; while the client is away one bridge goes, one comes, one stays."""
    changes, states = [], []
    async with running(follow(ovsdb.remote, on_change=changes.extend, on_state=states.append)) as client:
        for name in ("stays", "goes"):
            await client.transact(insert_bridge(name))
        stays = by_name(client.replica, Bridge, "stays")
        row = client.replica.get("Bridge", stays.uuid)
        changes.clear()

        ovsdb.end("ovsdb-server", signal.SIGKILL)
        await until(lambda: not client.connected, "the loss")
        with pytest.raises(ConnectionLost):
            await client.transact([Comment("x")])
        assert by_name(client.replica, Bridge, "goes")  # what was known stays known

        ovsdb.start_ovsdb("--remote=punix:" + str(ovsdb.folder / "aside.sock"), socket="side.sock")
        side = f"--db=unix:{ovsdb.folder / 'side.sock'}"
        await asyncio.to_thread(
            ovsdb.tool, "ovs-vsctl", side, "--no-wait", "del-br", "goes", "--", "add-br", "comes"
        )
        ovsdb.end("ovsdb-server", signal.SIGKILL)
        assert not changes
        ovsdb.start_ovsdb()
        async with asyncio.timeout(10):
            await client.ready()
        bridges = [change for change in changes if change.table == "Bridge"]
        assert {(one.old and one.old["name"], one.new and one.new["name"]) for one in bridges} == {
            ("goes", None),
            (None, "comes"),
        }
        assert client.replica.get("Bridge", stays.uuid) is row
        assert states[-3:] == [ConnectionState.CONNECTING, ConnectionState.SYNCING, ConnectionState.READY]
        await client.transact(insert_bridge("again"))


async def test_what_is_in_flight_when_the_server_dies_is_lost(ovsdb: Daemons):
    async with running(follow(ovsdb.remote)) as client:
        never = Wait("Bridge", (), ("name",), "==", ({"name": "x"},), timeout=None)
        waiting = asyncio.create_task(client.transact([never]))
        await asyncio.sleep(0.05)
        ovsdb.end("ovsdb-server", signal.SIGKILL)
        with pytest.raises(ConnectionLost):
            await waiting


async def test_a_stopped_server_is_noticed_by_its_silence(ovsdb: Daemons):
    async with running(follow(ovsdb.remote, probe_interval=0.1)) as client:
        await asyncio.sleep(0.5)
        assert client.connected  # it answered probes
        ovsdb.processes["ovsdb-server"].send_signal(signal.SIGSTOP)
        try:
            await until(lambda: not client.connected, "the silence", seconds=2)
            await until(lambda: "silent" in str(client.last_error), "its reason", seconds=2)
        finally:
            ovsdb.processes["ovsdb-server"].send_signal(signal.SIGCONT)
        async with asyncio.timeout(10):
            await client.ready()


async def test_probes_of_the_server_are_answered(ovsdb: Daemons):
    """A server that probes every second leaves a client that is silent for two."""
    port = free_port()
    ovsdb.vsctl(
        "--no-wait",
        "--",
        "--id=@m",
        "create",
        "Manager",
        f'target="ptcp:{port}:127.0.0.1"',
        "inactivity_probe=1000",
        "--",
        "add",
        "Open_vSwitch",
        ".",
        "manager_options",
        "@m",
    )
    ovsdb.tool(
        "ovs-appctl",
        "-t",
        str(ovsdb.folder / "ovsdb.ctl"),
        "ovsdb-server/add-remote",
        "db:Open_vSwitch,Open_vSwitch,manager_options",
    )
    states = []
    async with running(follow(f"tcp:127.0.0.1:{port}", probe_interval=0, on_state=states.append)) as client:
        await asyncio.sleep(3.5)
        assert client.connected
        assert ConnectionState.BACKOFF not in states[states.index(ConnectionState.READY) :]


async def test_an_observer_that_fails_is_heard(ovsdb: Daemons):
    def observe(_changes):
        raise LookupError("a bug")

    client = follow(ovsdb.remote, on_change=observe)
    errors = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    with pytest.raises(LookupError, match="a bug"):
        async with asyncio.timeout(5):
            await client.run()
    assert client.state is ConnectionState.CLOSED
    assert len(errors) == 1


async def test_a_message_over_the_limit_ends_the_connection(ovsdb: Daemons):
    """The schema alone is larger than this."""
    async with started(follow(ovsdb.remote, max_message=10_000)) as client:
        await until(lambda: client.last_error, "an error")
        assert isinstance(client.last_error, DecodeError)
        assert "over 10000 bytes" in str(client.last_error)
