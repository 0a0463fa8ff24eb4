# SPDX-License-Identifier: Apache-2.0
"""Own ovsdb-server and ovs-vswitchd (dummy datapath) for a test, in an own directory, ended by pid."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ovs_geneve.ovsdb.client import OvsdbClient
from tests.functional.ovsdb.pki import Authority

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")


@dataclass
class Daemons:
    """The OVS daemons of one test; sockets, logs and databases live in `folder`."""

    folder: Path
    processes: dict[str, subprocess.Popen] = field(default_factory=dict)

    @property
    def socket(self) -> Path:
        return self.folder / "db.sock"

    @property
    def remote(self) -> str:
        return f"unix:{self.socket}"

    @property
    def environment(self) -> dict[str, str]:
        where = str(self.folder)
        return dict(os.environ, OVS_RUNDIR=where, OVS_LOGDIR=where, OVS_DBDIR=where, OVS_SYSCONFDIR=where)

    def tool(self, *command: str) -> str:
        """Run a command to its end; give its output."""
        done = subprocess.run(
            command,
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def vsctl(self, *command: str) -> str:
        return self.tool("ovs-vsctl", f"--db={self.remote}", *command)

    def create_database(self, schema: Path = SCHEMA, name: str = "conf.db") -> Path:
        path = self.folder / name
        self.tool("ovsdb-tool", "create", str(path), str(schema))
        return path

    def start_ovsdb(self, *arguments: str, database: str = "conf.db", socket: str = "db.sock") -> None:
        """Start ovsdb-server on `socket`; further remotes and TLS files are `arguments`."""
        (self.folder / socket).unlink(missing_ok=True)
        self._start(
            "ovsdb-server",
            str(self.folder / database),
            f"--remote=punix:{self.folder / socket}",
            f"--unixctl={self.folder / 'ovsdb.ctl'}",
            *arguments,
        )
        self._wait_for(self.folder / socket, "ovsdb-server")

    def start_vswitchd(self) -> None:
        """Start ovs-vswitchd on dummy devices; it reaches nothing outside.

        `=system`, not `=override`: the latter makes dummies of tunnels too, and their options would go
        unread.
        """
        self._start(
            "ovs-vswitchd",
            "--enable-dummy=system",
            "--disable-system",
            f"--unixctl={self.folder / 'vswitchd.ctl'}",
            self.remote,
        )
        self._wait_for(self.folder / "vswitchd.ctl", "ovs-vswitchd")

    def end(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """End one daemon by its pid and wait for it."""
        process = self.processes.pop(name)
        process.send_signal(how)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def end_all(self) -> None:
        for name in list(self.processes):
            self.end(name)

    def _start(self, name: str, *arguments: str) -> None:
        log = (self.folder / f"{name}.out").open("ab")
        with log:
            self.processes[name] = subprocess.Popen(
                [name, *arguments], env=self.environment, cwd=self.folder, stdout=log, stderr=log
            )

    def _wait_for(self, path: Path, name: str) -> None:
        deadline = time.monotonic() + 10
        while not listens(path):
            assert self.processes[name].poll() is None, (self.folder / f"{name}.out").read_text()
            assert time.monotonic() < deadline, f"{name} made no {path.name}"
            time.sleep(0.01)


def listens(path: Path) -> bool:
    """Tell whether somebody serves the socket: its file is there a moment earlier."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    """Nothing runs yet; whatever the test starts is ended."""
    everything = Daemons(tmp_path)
    yield everything
    everything.end_all()


@pytest.fixture
def ovsdb(daemons: Daemons) -> Daemons:
    """A real ovsdb-server with an initialised, empty Open_vSwitch database."""
    daemons.create_database()
    daemons.start_ovsdb()
    daemons.vsctl("--no-wait", "init")
    return daemons


@pytest.fixture
def host(ovsdb: Daemons) -> Daemons:
    """As `ovsdb`, with an ovs-vswitchd on dummy devices."""
    ovsdb.start_vswitchd()
    return ovsdb


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def free_port() -> int:
    """Give a TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(condition: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    """Wait until the condition holds; it is only looked at, so the loop goes on."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - most of what is watched has no event to wait for
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(client: OvsdbClient) -> AsyncIterator[OvsdbClient]:
    """Run a client, ready, for the length of a block."""
    async with started(client):
        async with asyncio.timeout(10):
            await client.ready()
        yield client


@asynccontextmanager
async def started(client: OvsdbClient) -> AsyncIterator[OvsdbClient]:
    """Run a client for the length of a block, ready or not."""
    task = asyncio.create_task(client.run())
    try:
        yield client
    finally:
        await client.close()
        await task
