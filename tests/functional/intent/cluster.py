# SPDX-License-Identifier: Apache-2.0
"""A RAFT cluster of ovsdb-servers with the intent's schema."""

import os
import signal
import subprocess
import time
from importlib.resources import files

from controller.intent.ovsdb_store import DATABASE

SCHEMA = files("controller.intent") / "schema.ovsschema"
MEMBERS = 3


class Cluster:
    """Members on Unix sockets in one directory."""

    def __init__(self, directory):
        self._directory = directory
        self._servers = {}
        directory.mkdir()
        addresses = [f"unix:{directory}/{member}.raft" for member in range(MEMBERS)]
        for member, address in enumerate(addresses):
            database = directory / f"{member}.db"
            if member == 0:
                self._run("ovsdb-tool", "create-cluster", database, SCHEMA, address)
            else:
                self._run("ovsdb-tool", "join-cluster", database, DATABASE, address, addresses[0])
            self.start(member)

    @property
    def remote(self):
        return ",".join(f"unix:{self._directory}/{member}.sock" for member in range(MEMBERS))

    def start(self, member):
        path = self._directory / str(member)
        self._servers[member] = subprocess.Popen(
            [
                "ovsdb-server",
                f"{path}.db",
                f"--remote=punix:{path}.sock",
                f"--unixctl={path}.ctl",
                f"--log-file={path}.log",
                "-vconsole:off",
                "-vsyslog:off",
            ],
            env={**os.environ, "OVS_RUNDIR": str(self._directory)},
        )

    def kill_leader(self):
        (member,) = [member for member in self._servers if self._leads(member)]
        server = self._servers.pop(member)
        server.send_signal(signal.SIGKILL)
        server.wait()
        return member

    def wait_complete(self):
        deadline = time.monotonic() + 20
        while sum(map(self._leads, self._servers)) != 1 or not all(map(self._is_member, self._servers)):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self):
        for server in self._servers.values():
            server.kill()
            server.wait()

    def _leads(self, member):
        return "Role: leader" in self._status(member)

    def _is_member(self, member):
        status = self._status(member)
        return "Status: cluster member" in status and "Leader: unknown" not in status

    def _status(self, member):
        control = self._directory / f"{member}.ctl"
        told = subprocess.run(
            ["ovs-appctl", "-t", control, "cluster/status", DATABASE],
            capture_output=True,
            text=True,
            check=False,
        )
        return told.stdout

    @staticmethod
    def _run(*command):
        subprocess.run(command, check=True, capture_output=True)
