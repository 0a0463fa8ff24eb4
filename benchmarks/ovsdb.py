# SPDX-License-Identifier: Apache-2.0
"""How fast is a host's OVSDB read and written? Our client against the `ovs` package's IDL, on a real ovsdb-server.

Reading: connect, get the schema, monitor what the controller monitors of 10,000 interfaces. Writing: 1,000 ports
in one transaction (ports and interfaces inserted, the bridge's set of ports changed) until it is acknowledged.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TypeAlias

import ovs.json
from ovs.db.idl import Idl, SchemaHelper, Transaction
from ovs.poller import Poller

from benchmarks.rig.daemons import BRIDGE, SCHEMA, OvsHost, workspace
from benchmarks.rig.report import Report, progress
from ovs_geneve.ovsdb.client import OvsdbClient
from ovs_geneve.ovsdb.operations import (
    Condition,
    Input,
    Insert,
    Mutate,
    Mutation,
    NamedUuid,
    Operation,
)
from ovs_geneve.ovsdb.rows import HOST_TABLES, Port, each

READ_GOAL, WRITE_GOAL = 8, 5
INTERFACES, PORTS = 10_000, 1_000
ROUNDS = 5

DATABASE = "Open_vSwitch"
ON_BRIDGE = (Condition("name", "==", BRIDGE),)
MAC = "02:00:00:00:00:01"

Tables: TypeAlias = Mapping[str, Sequence[str]] | None
"Columns to monitor by table; None is all of all."


class DatabaseOnly(OvsHost):
    """A host without ovs-vswitchd: nobody else writes to its database."""

    def start_vswitchd(self) -> None:
        """Start nothing."""


@asynccontextmanager
async def followed(socket: Path) -> AsyncIterator[OvsdbClient]:
    """Connect our client as the controller does; give it once the replica is complete."""
    client = OvsdbClient(f"unix:{socket}", DATABASE, HOST_TABLES)
    runner = asyncio.create_task(client.run())
    try:
        await client.ready()
        yield client
    finally:
        await client.close()
        await runner


def helper(tables: Tables) -> SchemaHelper:
    """Tell the IDL what to monitor."""
    made = SchemaHelper(schema_json=ovs.json.from_file(str(SCHEMA)))
    if tables is None:
        made.register_all()
    else:
        for table, columns in tables.items():
            made.register_columns(table, [column.removesuffix("?") for column in columns])
    return made


def idl(socket: Path, wanted: SchemaHelper) -> Idl:
    """Connect the IDL; return it once it holds everything."""
    made = Idl(f"unix:{socket}", wanted)
    while not made.has_ever_connected():
        if not made.run():
            poller = Poller()
            made.wait(poller)
            poller.block()
    return made


def interface(name: str) -> dict[str, Input]:
    """Give an interface as an agent makes it."""
    return {"name": name, "external_ids": {"iface-id": name, "attached-mac": MAC}}


def seen_by_vswitchd(name: str, number: int) -> dict[str, Input]:
    """Give an interface with what ovs-vswitchd has told about it."""
    return {
        **interface(name),
        "ofport": number,
        "mac_in_use": MAC,
        "admin_state": "up",
        "link_state": "up",
        "mtu": 1500,
        "statistics": {"rx_bytes": 9_999, "rx_packets": 99, "tx_bytes": 9_999, "tx_packets": 99},
        "status": {"driver_name": "tun", "driver_version": "1.6"},
    }


def new_ports(interfaces: Sequence[dict[str, Input]]) -> list[Operation]:
    """Give the transaction that makes these interfaces and puts a port with each on the bridge."""
    operations: list[Operation] = []
    for place, row in enumerate(interfaces):
        operations += (
            Insert("Interface", row, f"interface{place}"),
            Insert(
                "Port", {"name": row["name"], "interfaces": NamedUuid(f"interface{place}")}, f"port{place}"
            ),
        )
    ports = frozenset(NamedUuid(f"port{place}") for place in range(len(interfaces)))
    return [*operations, Mutate("Bridge", ON_BRIDGE, (Mutation("ports", "insert", ports),))]


async def fill(socket: Path, count: int) -> None:
    """Put so many ports on the bridge, as they are where ovs-vswitchd runs."""
    async with followed(socket) as client:
        rows = [seen_by_vswitchd(f"port{number}", number) for number in range(1, count + 1)]
        for first in range(0, count, 1_000):
            await client.transact(new_ports(rows[first : first + 1_000]))


async def remove_new(socket: Path) -> None:
    """Take off the bridge what a repetition put there: rows that nothing refers to go."""
    async with followed(socket) as client:
        new = frozenset(port.uuid for port in each(client.replica, Port) if port.name.startswith("new"))
        await client.transact([Mutate("Bridge", ON_BRIDGE, (Mutation("ports", "delete", new),))])


async def read_by_client(socket: Path, count: int) -> float:
    """Connect and monitor; give the seconds that took."""
    began = time.perf_counter()
    async with followed(socket) as client:
        taken = time.perf_counter() - began
        assert len(client.replica.rows("Interface")) == count
    return taken


def read_by_idl(socket: Path, count: int, tables: Tables) -> float:
    """Connect and monitor; give the seconds that took."""
    wanted = helper(tables)
    began = time.perf_counter()
    with closing(idl(socket, wanted)) as made:
        taken = time.perf_counter() - began
        assert len(made.tables["Interface"].rows) == count
    return taken


async def write_by_client(socket: Path, names: Sequence[str]) -> float:
    """Add ports in one transaction; give the seconds from values to the replica that has them."""
    async with followed(socket) as client:
        before = len(client.replica.rows("Port"))
        began = time.perf_counter()
        await client.transact(new_ports([interface(name) for name in names]))
        taken = time.perf_counter() - began
        assert len(client.replica.rows("Port")) == before + len(names)
    return taken


def write_by_idl(socket: Path, names: Sequence[str]) -> float:
    """Add ports in one transaction; give the seconds from values to the IDL that has them."""
    with closing(idl(socket, helper(HOST_TABLES))) as made:
        before = len(made.tables["Port"].rows)
        bridge = next(iter(made.tables["Bridge"].rows.values()))
        began = time.perf_counter()
        transaction = Transaction(made)
        for name in names:
            row, port = (transaction.insert(made.tables[table]) for table in ("Interface", "Port"))
            row.name, row.external_ids = name, {"iface-id": name, "attached-mac": MAC}
            port.name, port.interfaces = name, [row]
            bridge.addvalue("ports", port)
        assert transaction.commit_block() == Transaction.SUCCESS, transaction.get_error()
        taken = time.perf_counter() - began
        assert len(made.tables["Port"].rows) == before + len(names)
    return taken


def measure(socket: Path, interfaces: int, names: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Read and write by turns, with so many interfaces there; give milliseconds by series."""
    ways: dict[str, Callable[[], float]] = {
        "monitor, own": lambda: asyncio.run(read_by_client(socket, interfaces)),
        "monitor, IDL": lambda: read_by_idl(socket, interfaces, HOST_TABLES),
        "monitor, IDL, all tables": lambda: read_by_idl(socket, interfaces, None),
        "transaction, own": lambda: asyncio.run(write_by_client(socket, names)),
        "transaction, IDL": lambda: write_by_idl(socket, names),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            gc.collect()  # what the other way left must not slow this one down
            taken[name].append(way() * 1e3)
            if name.startswith("transaction"):
                asyncio.run(remove_new(socket))
        told = ", ".join(f"{name} {values[-1]:.0f} ms" for name, values in taken.items())
        progress(f"ovsdb: {interfaces} there, {number + 1} of {rounds}: {told}")
    return taken


def main(*, quick: bool = False) -> None:
    """Measure and print."""
    interfaces, ports, rounds = (200, 50, 1) if quick else (INTERFACES, PORTS, ROUNDS)
    names = [f"new{number}" for number in range(ports)]
    with workspace() as folder, DatabaseOnly(folder / "hv1") as host:
        host.vsctl("--no-wait", "add-br", BRIDGE)
        few = measure(host.socket, 1, names, rounds)
        asyncio.run(fill(host.socket, interfaces))
        many = measure(host.socket, interfaces + 1, names, rounds)
    report = Report("ovsdb")
    medians = {
        (there, name): report.add_series(f"{name}, {there} interfaces", values, "ms")
        for there, taken in ((1, few), (interfaces, many))
        for name, values in taken.items()
    }
    report.note("parser of the ovs package", ovs.json.PARSER)
    report.at_least(
        f"connect and monitor {interfaces} interfaces, against the IDL, x",
        medians[interfaces, "monitor, IDL"] / medians[interfaces, "monitor, own"],
        READ_GOAL,
    )
    written = {
        there: medians[there, "transaction, IDL"] / medians[there, "transaction, own"]
        for there in (1, interfaces)
    }
    report.at_least(
        f"{ports} ports in one transaction, on an empty bridge, against the IDL, x", written[1], WRITE_GOAL
    )
    # There most of the time is the server's own, with either client.
    report.note(f"the same with {interfaces} there, x", round(written[interfaces], 2))
    report.print()


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
