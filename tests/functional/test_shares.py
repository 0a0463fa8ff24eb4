# SPDX-License-Identifier: Apache-2.0
"""Controllers as they are started, on one store, and real Open vSwitch: who serves which host, and that it is right."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path

import httpx
import pytest

from controller.compiler.compile import Compiler
from controller.intent.intent import Intent, difference
from controller.intent.ovsdb_store import DATABASE
from controller.settings import Settings
from controller.shares.decide import Session, preference
from tests.functional.fabric import OvsHost, wanted
from tests.functional.intent.stores import load
from tests.functional.ovsdb.conftest import Daemons, free_port, listens

PATIENCE = 30.0


def until(true, what, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.05)


class Controller:
    """`ovs-geneve controller` as a process, and a client of its REST."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.state = folder
        self._options = options
        self._process: subprocess.Popen | None = None
        self.http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(folder / "rest.sock")), base_url="http://it", timeout=30
        )

    @property
    def name(self) -> str:
        return Settings(state_directory=self.state).name

    def start(self) -> None:
        (self.state / "rest.sock").unlink(missing_ok=True)
        rest = [] if "--host" in self._options else ["--rest", f"unix:{self.state}/rest.sock"]
        command = [sys.executable, "-m", "controller", "controller", "--state", str(self.state)]
        self._process = subprocess.Popen([*command, *rest, *self._options])
        until(self._answers, f"{self.name} answers")

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            assert process.wait(15) in (0, -how)

    def put(self, path: str, document: dict, **query: str) -> dict:
        answer = self.http.put(f"/v1/{path}", json=document, params=query)
        assert answer.is_success, answer.text
        return answer.json()

    def delete(self, path: str) -> None:
        self.http.delete(f"/v1/{path}").raise_for_status()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "it ended"
        return listens(self.state / "rest.sock") and self.http.get("/readyz").status_code == 200


@dataclass
class World:
    """Hosts, the controllers and their store."""

    folder: Path
    store: str
    hosts: dict[str, OvsHost] = field(default_factory=dict)
    controllers: list[Controller] = field(default_factory=list)

    def host(self, name: str) -> None:
        self.hosts[name] = OvsHost.start(name, self.folder / name)

    def controller(self, name: str, *options: str) -> Controller:
        made = Controller(self.folder / name, *options)
        made.state.mkdir()
        self.controllers.append(made)
        return made

    def holders(self) -> dict[str, str]:
        """Return the holder of each host, as ovsdb-client reads it."""
        rows = {
            table: self._dump(table, columns)
            for table, columns in {"Controller": ("_uuid", "name"), "Lease": ("host", "controller")}.items()
        }
        names = {json.dumps(uuid): name for uuid, name in rows["Controller"]}
        return {host: names.get(json.dumps(uuid), "") for host, uuid in rows["Lease"]}

    def _dump(self, table: str, columns: tuple[str, ...]) -> list:
        done = subprocess.run(
            ["ovsdb-client", "--format=json", "dump", self.store, DATABASE, table, *columns],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        document = json.loads(done.stdout)
        order = [document["headings"].index(column) for column in columns]
        return [[row[index] for index in order] for row in document["data"]]

    async def difference(self) -> str:
        """Compare every bridge with what a compiler that starts from nothing says."""
        intent = await load(self.store)
        compiler = Compiler()
        for name, host in self.hosts.items():
            compiler.update_ofports(name, ofports(host))
        compiler.update(intent, difference(Intent(), intent))
        unbound = {
            name: plugged for name, plugged in self._plugged().items() if intent.host_of(name) != plugged
        }
        if unbound:
            return f"not where they are plugged: {unbound}"
        for name, host in self.hosts.items():
            if not host.bridge_is_there():
                return f"{name} has no bridge"
            should, held = wanted(compiler.desired(name), self.folder), host.held()
            if held != should:
                extra, missing = held.flows - should.flows, should.flows - held.flows
                return f"{name}: flows too many: {sorted(extra)}; missing: {sorted(missing)}"
        return ""

    def _plugged(self) -> dict[str, str]:
        return {port: name for name, host in self.hosts.items() for port in host.plugged}

    async def settle(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while found := await self.difference():
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.2)

    def close(self) -> None:
        for controller in self.controllers:
            controller.end()
            controller.http.close()
        for host in self.hosts.values():
            host.daemons.end_all()


def ofports(host: OvsHost) -> dict[str, int]:
    text = host.daemons.vsctl("--format=json", "--columns=external_ids,ofport", "list", "Interface")
    rows = ((dict(ids[1]), number) for ids, number in json.loads(text)["data"])
    return {ids["iface-id"]: number for ids, number in rows if "iface-id" in ids and isinstance(number, int)}


@pytest.fixture
def folder():
    path = Path(tempfile.mkdtemp(prefix="shares-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def world(folder):
    """A store of its own, which outlives controllers."""
    where = folder / "store"
    where.mkdir()
    daemons = Daemons(where)
    with as_file(files("controller.intent") / "schema.ovsschema") as schema:
        daemons.create_database(schema)
    port = free_port()
    daemons.start_ovsdb(f"--remote=ptcp:{port}:127.0.0.1")
    made = World(folder, f"tcp:127.0.0.1:{port}")
    try:
        yield made
    finally:
        made.close()
        daemons.end_all()


def names_shared_by(one: Controller, other: Controller) -> list[str]:
    """Choose names of hosts such that each controller gets two."""
    prefer = preference([Session(name=one.name), Session(name=other.name)])
    names = [f"hv{number}" for number in range(1, 100)]
    return [host for who in (one, other) for host in [n for n in names if prefer(n) == who.name][:2]]


def declare(world: World, *through: Controller) -> None:
    """Declare hosts, a network and a port on each host, in turn through the controllers; plug the ports in."""
    through[0].put("networks/blue", {"vni": 100})
    for number, (name, host) in enumerate(world.hosts.items(), start=1):
        to = through[number % len(through)]
        document = {"kind": "ovs", "endpoints": [{"address": f"192.0.2.{number}"}], "datapath": "system"}
        to.put(f"hosts/{name}", {**document, "ovsdb": host.daemons.remote})
        put_port(to, f"p-{name}", number)
    for name, host in world.hosts.items():
        until(host.bridge_is_there, f"{name} has its bridge")
        host.plug(f"p-{name}")


def put_port(to: Controller, name: str, number: int, **query: str) -> dict:
    mac = f"02:00:00:00:00:{number:02x}"
    document = {"network": "blue", "mac": mac, "addresses": [f"10.0.0.{number}"]}
    return to.put(f"ports/{name}", document, **query)


async def test_two_share_hosts_and_one_takes_over_from_one_that_is_killed(world):
    one = world.controller("a", "--store", world.store)
    two = world.controller("b", "--store", world.store)
    names = names_shared_by(one, two)
    shares = dict.fromkeys(names[:2], one.name) | dict.fromkeys(names[2:], two.name)
    for name in names:
        world.host(name)
    one.start()
    two.start()
    declare(world, one, two)
    await world.settle()
    assert world.holders() == shares
    for number, (name, through) in enumerate(zip(names, (two, one, one, two), strict=True), start=50):
        view = put_port(through, f"p-{name}", number, wait="programmed")
        conditions = {condition["type"]: condition["status"] for condition in view["status"]["conditions"]}
        assert conditions["Programmed"] == "True"
        assert await world.difference() == "", "who waits has waited for the bridges of both"

    one.end(signal.SIGKILL)
    put_port(two, "moved", 77)
    two.delete(f"ports/p-{names[2]}")
    world.hosts[names[2]].unplug(f"p-{names[2]}")
    world.hosts[names[0]].plug("moved")
    until(lambda: set(world.holders().values()) == {two.name}, "all hosts are held by the one that is left")
    await world.settle()

    one.start()
    until(lambda: world.holders() == shares, "each has its share again")
    put_port(one, "late", 88)
    world.hosts[names[3]].plug("late")
    world.hosts[names[0]].unplug("moved")
    world.hosts[names[1]].plug("moved")
    await world.settle()


async def test_whoever_is_asked_waits_for_hosts_that_another_serves(world):
    one = world.controller("a", "--store", world.store)
    two = world.controller("b", "--store", world.store)
    names = names_shared_by(one, two)
    for name in (names[0], names[2]):
        world.host(name)
    one.start()
    two.start()
    declare(world, one, two)
    await world.settle()
    document = {"network": "blue", "mac": "02:00:00:00:00:77", "addresses": ["10.0.0.77"]}
    for asked in (one, two):
        answer = asked.http.put("/v1/ports/late?wait=programmed&timeout=10s", json=document)
        assert answer.status_code in (200, 201), answer.text
        for host in world.hosts.values():
            assert "arp_tpa=10.0.0.77" in host.daemons.tool("ovs-ofctl", "dump-flows", "br-int"), host.name
        answer = asked.http.delete("/v1/ports/late?wait=programmed&timeout=10s")
        assert answer.status_code == 204
        for host in world.hosts.values():
            assert "arp_tpa=10.0.0.77" not in host.daemons.tool("ovs-ofctl", "dump-flows", "br-int"), (
                host.name
            )
    elsewhere = one.http.get(f"/v1/hosts/{names[2]}").json()["status"]["conditions"]
    assert [c["status"] for c in elsewhere] == ["True", "Unknown", "Unknown", "True"]
    assert all(two.name in c["message"] for c in elsewhere[1:])


async def test_one_joins_the_store_of_another_and_leaves(folder):
    port = free_port()
    world = World(folder, f"tcp:127.0.0.1:{port}")
    try:
        one = world.controller("a", "--store-listen", f"ptcp:{port}:127.0.0.1")
        two = world.controller("b", "--store", world.store)
        names = names_shared_by(one, two)
        for name in (names[0], names[2]):
            world.host(name)
        one.start()
        declare(world, one)
        await world.settle()
        two.start()
        until(lambda: world.holders()[names[2]] == two.name, "the one that joined has its share")
        put_port(two, "late", 88)
        world.hosts[names[2]].plug("late")
        await world.settle()
        two.end()
        assert world.holders()[names[2]] in ("", one.name), "it left at once"
        world.hosts[names[2]].unplug("late")
        until(lambda: set(world.holders().values()) == {one.name}, "its hosts are taken back")
        one.delete("ports/late")
        await world.settle()
    finally:
        world.close()


async def test_an_agent_serves_its_host_over_its_own_sockets(world):
    world.host("hv1")
    world.host("hv2")
    central = world.controller("a", "--store", world.store)
    agent = world.controller(
        "c", "--store", world.store, "--host", "hv2", "--local-ovsdb", world.hosts["hv2"].daemons.remote
    )
    central.start()
    agent.start()
    central.put(
        "hosts/hv2",
        # Nobody is there: the agent alone can reach this host.
        {
            "kind": "ovs",
            "endpoints": [{"address": "192.0.2.2"}],
            "datapath": "system",
            "ovsdb": "tcp:127.0.0.1:1",
        },
    )
    reachable = {"hv1": world.hosts["hv1"]}
    world.hosts, everyone = reachable, world.hosts
    declare(world, central)
    world.hosts = everyone
    put_port(agent, "p-hv2", 2)
    until(world.hosts["hv2"].bridge_is_there, "the agent made its bridge")
    world.hosts["hv2"].plug("p-hv2")
    await world.settle()
    assert world.holders() == {"hv1": central.name, "hv2": agent.name}
    agent.end(signal.SIGKILL)
    until(lambda: world.holders()["hv2"] == central.name, "its host is taken over")
    put_port(central, "late", 88)
    agent.start()
    world.hosts["hv2"].plug("late")
    await world.settle()
    assert world.holders()["hv2"] == agent.name


def test_a_port_that_is_taken_is_told(folder):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "controller", "controller", "--state", str(folder / "state")]
        command += ["--store-listen", f"ptcp:{port}:127.0.0.1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "cannot listen" in done.stderr
