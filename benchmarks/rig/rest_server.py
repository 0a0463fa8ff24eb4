# SPDX-License-Identifier: Apache-2.0
"""The controller as a process of its own, and a RAFT cluster that keeps its intent, for the benchmark `rest`."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from benchmarks.rig.daemons import cpu_seconds, wait_until
from benchmarks.rig.http_load import Address, request, run

ROOT = Path(__file__).parents[2]
DATABASE = "OVS_Geneve_Intent"
MEMBERS = 3


@dataclass
class Controller:
    """`ovs-geneve controller` on a state directory; its store is its own unless `store` names one. A context."""

    folder: Path
    store: str | None = None
    store_pids: list[int] = field(default_factory=list)
    "Of the servers of that store."
    address: Address = ("127.0.0.1", 0)
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Controller:
        self.folder.mkdir(parents=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it can store."""
        self.address = ("127.0.0.1", free_port())
        command = [sys.executable, "-m", "controller", "controller", "--state", str(self.folder / "state")]
        command += ["--rest", f"127.0.0.1:{self.address[1]}"]
        if self.store is not None:
            command += ["--store", self.store]
        with (self.folder / "controller.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(self._is_ready, "the controller answers", patience=60, pause=0.05)

    def kill(self) -> None:
        """Kill it, and with it the database that is its child."""
        os.kill(self.pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def cpu(self) -> tuple[float, float]:
        """Return the processor seconds that it, and the servers of its store, have used."""
        pids = self.store_pids or [int((self.folder / "state" / "db.pid").read_text())]
        return cpu_seconds(self.pid), sum(map(cpu_seconds, pids))

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError((self.folder / "controller.log").read_text())
        with suppress(OSError):
            return run(self.address, [request("GET", "/readyz")]).statuses[200] == 1
        return False


@dataclass
class Cluster:
    """Three ovsdb-servers on loopback, election timer as by default."""

    folder: Path
    remotes: list[str] = field(default_factory=list)
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def remote(self) -> str:
        """Where to dial its members."""
        return ",".join(self.remotes)

    @property
    def pids(self) -> list[int]:
        """The process ids of its members."""
        return [server.pid for server in self.servers]

    def start(self) -> None:
        """Make the database, start the members and wait until they agree on a leader."""
        self.folder.mkdir(parents=True)
        schema = str(files("controller.intent") / "schema.ovsschema")
        peers = [f"tcp:127.0.0.1:{free_port()}" for _ in range(MEMBERS)]
        for member, peer in enumerate(peers):
            database = str(self.folder / f"{member}.db")
            made = ["create-cluster", database, schema, peer]
            joined = ["join-cluster", database, DATABASE, peer, peers[0]]
            subprocess.run(["ovsdb-tool", *(joined if member else made)], check=True, capture_output=True)
            self._serve(member, free_port())
        wait_until(self._is_complete, "the cluster has a leader")

    def stop(self) -> None:
        """Kill its members."""
        for server in self.servers:
            server.kill()
            server.wait()

    def _serve(self, member: int, port: int) -> None:
        path = self.folder / str(member)
        command = ["ovsdb-server", f"{path}.db", f"--remote=ptcp:{port}:127.0.0.1", f"--unixctl={path}.ctl"]
        command += [f"--log-file={path}.log", "-vconsole:off", "-vsyslog:off"]
        environment = {**os.environ, "OVS_RUNDIR": str(self.folder)}
        with (self.folder / f"{member}.out").open("ab") as out:
            self.servers.append(
                subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            )
        self.remotes.append(f"tcp:127.0.0.1:{port}")

    def _is_complete(self) -> bool:
        told = [self._status(member) for member in range(MEMBERS)]
        members = all("Status: cluster member" in one and "Leader: unknown" not in one for one in told)
        return members and sum(bool(re.search("^Role: leader", one, re.MULTILINE)) for one in told) == 1

    def _status(self, member: int) -> str:
        command = ["ovs-appctl", "-t", str(self.folder / f"{member}.ctl"), "cluster/status", DATABASE]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@contextmanager
def clustered(folder: Path) -> Iterator[Controller]:
    """Run a controller whose intent a cluster keeps."""
    cluster = Cluster(folder / "cluster")
    try:
        cluster.start()
        with Controller(folder / "controller", cluster.remote, cluster.pids) as controller:
            yield controller
    finally:
        cluster.stop()


def free_port() -> int:
    """Return a TCP port of loopback that nobody listens on."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port
