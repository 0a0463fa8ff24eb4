# SPDX-License-Identifier: Apache-2.0
"""After any transactions the replica holds what OVS's own client library, the `ovs` IDL, holds."""

from __future__ import annotations

import random
import time

import ovs.db.idl
import ovs.poller
import pytest

from ovs_geneve.errors import TransactionFailed
from ovs_geneve.ovsdb.client import OvsdbClient
from ovs_geneve.ovsdb.operations import (
    Condition,
    Delete,
    Insert,
    Mutate,
    Mutation,
    NamedUuid,
    Operation,
    Update,
)
from tests.functional.ovsdb.conftest import SCHEMA, Daemons, running

METHODS = ("monitor_cond_since", "monitor_cond", "monitor")

COLUMNS = {
    "Open_vSwitch": (
        "bridges",
        "external_ids",
        "other_config",
        "next_cfg",
        "ovs_version",
        "dpdk_initialized",
    ),
    "Bridge": (
        *("name", "ports", "external_ids", "other_config", "fail_mode", "protocols", "flood_vlans"),
        *("stp_enable", "datapath_type", "datapath_id", "status"),
    ),
    "Port": (
        "name",
        "interfaces",
        "tag",
        "trunks",
        "external_ids",
        "bond_mode",
        "statistics",
        "bond_updelay",
    ),
    "Interface": (
        "name",
        "type",
        "options",
        "ofport",
        "ofport_request",
        "mac_in_use",
        "cfm_fault",
        "statistics",
    ),
}

WORDS = ["", "a", "b", "c", 'quote "', "brace }{", "é", "back \\", "line\n"]


def some(chance: random.Random, choices) -> list:
    return [one for one in choices if chance.random() < 0.4]


def text_map(chance: random.Random) -> dict[str, str]:
    return {key: chance.choice(WORDS) for key in some(chance, WORDS)}


COLUMN_VALUES = {
    "Bridge": {
        "external_ids": text_map,
        "other_config": text_map,
        "status": text_map,
        "fail_mode": lambda chance: chance.choice([None, "secure", "standalone"]),
        "protocols": lambda chance: set(some(chance, [f"OpenFlow1{digit}" for digit in range(6)])),
        "flood_vlans": lambda chance: set(some(chance, range(8))),
        "stp_enable": lambda chance: chance.random() < 0.5,
        "datapath_type": lambda chance: chance.choice(WORDS),
        "datapath_id": lambda chance: chance.choice([None, *WORDS]),
    },
    "Port": {
        "tag": lambda chance: chance.choice([None, 0, 1, 4095]),
        "trunks": lambda chance: set(some(chance, range(8))),
        "external_ids": text_map,
        "bond_mode": lambda chance: chance.choice([None, "balance-slb"]),
        "bond_updelay": lambda chance: chance.randint(-(2**63), 2**63 - 1),
        "statistics": lambda chance: {key: chance.randint(-5, 5) for key in some(chance, "rxyz")},
    },
    "Interface": {
        "type": lambda chance: chance.choice(WORDS),
        "options": text_map,
        "ofport": lambda chance: chance.choice([None, -1, 1]),
        "mac_in_use": lambda chance: chance.choice([None, "02:00:00:00:00:01"]),
        "cfm_fault": lambda chance: chance.choice([None, True, False]),
        "statistics": lambda chance: {key: chance.randint(0, 2**62) for key in some(chance, "rxyz")},
    },
}

SETS = {"Bridge": ["flood_vlans", "protocols"], "Port": ["trunks"]}
MAPS = {"Bridge": ["external_ids", "other_config"], "Port": ["external_ids"], "Interface": ["options"]}


def new_bridge(chance: random.Random, name: str) -> list[Operation]:
    ports = {f"port{index}": f"{name}p{index}" for index in range(chance.randint(0, 3))}
    operations: list[Operation] = []
    for row, port in ports.items():
        operations.append(Insert("Interface", {"name": port, **values(chance, "Interface")}, f"i{row}"))
        interfaces = {NamedUuid(f"i{row}")}
        operations.append(
            Insert("Port", {"name": port, "interfaces": interfaces, **values(chance, "Port")}, row)
        )
    named = {NamedUuid(row) for row in ports}
    operations.append(Insert("Bridge", {"name": name, "ports": named, **values(chance, "Bridge")}, "bridge"))
    operations.append(Mutate("Open_vSwitch", (), (Mutation("bridges", "insert", {NamedUuid("bridge")}),)))
    return operations


def values(chance: random.Random, table: str) -> dict:
    return {column: make(chance) for column, make in COLUMN_VALUES[table].items() if chance.random() < 0.6}


def change(chance: random.Random, client: OvsdbClient, serial: int) -> list[Operation]:
    """Make up a transaction; many rows may be in it, and it may be refused."""
    bridges = list(client.replica.rows("Bridge"))
    kind = chance.randrange(6)
    if kind == 0 or not bridges:
        return new_bridge(chance, f"br{serial}")
    if kind == 1:
        return [Mutate("Open_vSwitch", (), (Mutation("bridges", "delete", {chance.choice(bridges)}),))]
    table = chance.choice(sorted(COLUMN_VALUES))
    rows = list(client.replica.rows(table)) or bridges
    where = (Condition("_uuid", "==", chance.choice(rows)),) if chance.random() < 0.7 else ()
    if kind in (2, 3):
        return [Update(table, where, values(chance, table))]
    column = chance.choice(MAPS[table])
    mutations = [
        Mutation(column, "delete", set(some(chance, WORDS))),
        Mutation(column, "insert", text_map(chance)),
        Mutation(column, "delete", text_map(chance)),
    ]
    for members in SETS.get(table, ()):
        mutator = chance.choice(["insert", "delete"])
        mutations.append(Mutation(members, mutator, COLUMN_VALUES[table][members](chance)))
    return [
        Mutate(table, where, mutations),
        Mutate("Open_vSwitch", (), (Mutation("next_cfg", "+=", 1),)),
        Delete("Manager", ()),
    ]


def follow_with_idl(remote: str) -> ovs.db.idl.Idl:
    helper = ovs.db.idl.SchemaHelper(location=str(SCHEMA))
    for table, columns in COLUMNS.items():
        helper.register_columns(table, list(columns))
    return ovs.db.idl.Idl(remote, helper, leader_only=False)


def pump(idl: ovs.db.idl.Idl, serial: int) -> None:
    """Let the IDL catch up: until it has seen the number that the last transaction wrote."""
    deadline = time.monotonic() + 10
    while not any(row.next_cfg == serial for row in idl.tables["Open_vSwitch"].rows.values()):
        assert time.monotonic() < deadline, "the IDL does not catch up"
        if not idl.run():
            poller = ovs.poller.Poller()
            poller.timer_wait(20)
            idl.wait(poller)
            poller.block()


def idl_contents(idl: ovs.db.idl.Idl) -> dict:
    return {
        table: {
            uuid: {column: plain(row._data[column]) for column in columns}
            for uuid, row in idl.tables[table].rows.items()
        }
        for table, columns in COLUMNS.items()
    }


def plain(datum):
    if datum.type.value is not None:
        return {key.value: value.value for key, value in datum.values.items()}
    members = [key.value for key in datum.values]
    if datum.type.n_max > 1:
        return frozenset(members)
    return members[0] if members else None


def our_contents(client: OvsdbClient) -> dict:
    return {
        table: {uuid: dict(row.columns) for uuid, row in client.replica.rows(table).items()}
        for table in COLUMNS
    }


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", METHODS)
async def test_the_replica_equals_the_idl(ovsdb: Daemons, monkeypatch, method, seed):
    monkeypatch.setattr("ovs_geneve.ovsdb.client._METHODS", (method,))
    chance = random.Random(seed)
    idl = follow_with_idl(ovsdb.remote)
    stored = 0
    seen = {table: {} for table in COLUMNS}

    def observe(changes) -> None:
        for one in changes:
            assert seen[one.table].get(one.uuid) == one.old
            seen[one.table][one.uuid] = one.new

    try:
        async with running(OvsdbClient(ovsdb.remote, "Open_vSwitch", COLUMNS, on_change=observe)) as client:
            for serial in range(1, 121):
                try:
                    await client.transact(change(chance, client, serial))
                    stored += 1
                except TransactionFailed as error:
                    if error.error not in {"constraint violation", "referential integrity violation"}:
                        raise
                if serial % 20 == 0:
                    await client.transact([Update("Open_vSwitch", (), {"next_cfg": 1000 + serial})])
                    pump(idl, 1000 + serial)
                    assert our_contents(client) == idl_contents(idl)
            # Who only listens to the changes knows as much.
            left = {table: {uuid: row for uuid, row in rows.items() if row} for table, rows in seen.items()}
            assert left == {table: dict(client.replica.rows(table)) for table in COLUMNS}
            assert stored > 60
    finally:
        idl.close()


async def test_a_server_that_knows_only_rfc_7047_is_followed_too(ovsdb: Daemons, monkeypatch):
    """The names that newer servers know are tried first; the answer to an unknown one leads to the next."""
    monkeypatch.setattr("ovs_geneve.ovsdb.client._METHODS", ("monitor_from_the_future", "monitor"))
    async with running(OvsdbClient(ovsdb.remote, "Open_vSwitch", COLUMNS)) as client:
        assert len(client.replica.rows("Open_vSwitch")) == 1
