# SPDX-License-Identifier: Apache-2.0
"""Controllers as they are started, their store and real Open vSwitch hosts."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path

import httpx

from controller.compiler.compile import Compiler
from controller.intent.intent import Intent, difference
from controller.intent.ovsdb_store import DATABASE
from controller.settings import Settings
from tests.functional.fabric import OvsHost, wanted
from tests.functional.intent.stores import load
from tests.functional.ovsdb.conftest import Daemons, free_port, listens
from tests.patience import patient

PATIENCE = patient(30.0)


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

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

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
    port: int
    daemons: Daemons | None = None
    "The store's, where it has a server of its own."
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
        hosts = {name: host for name, host in self.hosts.items() if name in intent.hosts}
        for name, host in hosts.items():
            compiler.update_ofports(name, await asyncio.to_thread(ofports, host))
        compiler.update(intent, difference(Intent(), intent))
        for name, held in intent.ports.items():
            plugged = {
                host.name for host in hosts.values() if (held.spec.interface_id or name) in host.plugged
            }
            if plugged != {intent.host_of(name)} - {None}:
                return f"{name} is bound to {intent.host_of(name)} and plugged into {plugged}"
        for name, host in hosts.items():
            if not await asyncio.to_thread(host.bridge_is_there):
                return f"{name} has no bridge"
            should = await asyncio.to_thread(wanted, compiler.desired(name), self.folder)
            held = await asyncio.to_thread(host.held)
            if held != should:
                extra, missing = held.flows - should.flows, should.flows - held.flows
                return f"{name}: flows too many: {sorted(extra)}; missing: {sorted(missing)}"
        return ""

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
        if self.daemons is not None:
            self.daemons.end_all()

    def start_store(self) -> None:
        assert self.daemons is not None
        self.daemons.start_ovsdb(f"--remote=ptcp:{self.port}:127.0.0.1")


def store_server(folder: Path) -> World:
    """Start a store of its own, which outlives controllers."""
    port = free_port()
    made = World(folder, f"tcp:127.0.0.1:{port}", port, Daemons(folder / "store"))
    made.daemons.folder.mkdir()
    with as_file(files("controller.intent") / "schema.ovsschema") as schema:
        made.daemons.create_database(schema)
    made.start_store()
    return made


def ofports(host: OvsHost) -> dict[str, int]:
    text = host.daemons.vsctl("--format=json", "--columns=external_ids,ofport", "list", "Interface")
    rows = ((dict(ids[1]), number) for ids, number in json.loads(text)["data"])
    return {ids["iface-id"]: number for ids, number in rows if "iface-id" in ids and isinstance(number, int)}
