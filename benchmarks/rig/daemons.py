# SPDX-License-Identifier: Apache-2.0
"""Real ovsdb-server and ovs-vswitchd (dummy datapath) for benchmarks, each host in a folder of its own.

Nothing of the machine's own Open vSwitch is touched; every process is ended by its pid, also after an error.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
BRIDGE = "br-int"

_HZ = os.sysconf("SC_CLK_TCK")
_PATIENCE = 30.0


def cpu_seconds(pid: int) -> float:
    """Return user and system seconds that a process has used; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _HZ


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


@contextmanager
def workspace() -> Iterator[Path]:
    """Make a short-named folder (Unix sockets have short paths) that goes away afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ogb"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class OvsHost:
    """One host: its own ovsdb-server and ovs-vswitchd on dummy devices. Use as a context."""

    folder: Path
    name: str = "hv1"
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> OvsHost:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.run("ovsdb-tool", "create", str(self.folder / "conf.db"), str(SCHEMA))
        self.start_ovsdb()
        self.vsctl(
            "--no-wait",
            "init",
            "--",
            "set",
            "Open_vSwitch",
            ".",
            f"external_ids:system-id={self.name}",
            f"external_ids:rundir={self.folder}",
        )
        self.start_vswitchd()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
        self.processes.clear()

    @property
    def socket(self) -> Path:
        """Where its OVSDB is dialled."""
        return self.folder / "db.sock"

    @property
    def management(self) -> Path:
        """Where its bridge is dialled for OpenFlow."""
        return self.folder / f"{BRIDGE}.mgmt"

    @property
    def vswitchd(self) -> int:
        """The pid of its ovs-vswitchd."""
        return self.processes["ovs-vswitchd"].pid

    @property
    def pids(self) -> list[int]:
        """The pids of its daemons."""
        return [process.pid for process in self.processes.values()]

    def start_ovsdb(self) -> None:
        """Start its ovsdb-server and wait until it can be dialled."""
        self._start(
            "ovsdb-server",
            str(self.folder / "conf.db"),
            f"--remote=punix:{self.socket}",
            f"--unixctl={self.folder / 'ovsdb.ctl'}",
        )
        wait_until(lambda: listens(self.socket), "ovsdb-server listens")

    def start_vswitchd(self) -> None:
        """Start its ovs-vswitchd and wait until it answers."""
        self.launch_vswitchd()
        wait_until((self.folder / "vswitchd.ctl").exists, "ovs-vswitchd answers")

    def launch_vswitchd(self) -> None:
        """Start its ovs-vswitchd; it does not answer yet."""
        self._start(
            "ovs-vswitchd",
            # `=system`, not `=override`, which would make dummies of tunnels too and read none of their options.
            "--enable-dummy=system",
            "--disable-system",
            f"--unixctl={self.folder / 'vswitchd.ctl'}",
            f"unix:{self.socket}",
        )

    def kill_vswitchd(self) -> None:
        """Kill its ovs-vswitchd with SIGKILL and take its sockets away."""
        process = self.processes.pop("ovs-vswitchd")
        process.send_signal(signal.SIGKILL)
        process.wait()
        for left in (self.folder / "vswitchd.ctl", self.management):
            left.unlink(missing_ok=True)

    def vsctl(self, *arguments: str) -> str:
        """Run ovs-vsctl on its database."""
        return self.run("ovs-vsctl", f"--db=unix:{self.socket}", *arguments)

    def ofctl(self, *arguments: str) -> str:
        """Run ovs-ofctl, OpenFlow 1.5."""
        return self.run("ovs-ofctl", "-O", "OpenFlow15", *arguments)

    def appctl(self, *arguments: str) -> str:
        """Run ovs-appctl on its ovs-vswitchd."""
        return self.run("ovs-appctl", "-t", str(self.folder / "vswitchd.ctl"), *arguments)

    def run(self, *command: str) -> str:
        """Run a command in its environment; give its output, raise with its errors."""
        done = subprocess.run(
            command, env=self._environment(), cwd=self.folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        names = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")
        return {**os.environ, **dict.fromkeys(names, str(self.folder))}

    def _start(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [name, *arguments, "-vconsole:off", "-vsyslog:off"],
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


@contextmanager
def hosts(folder: Path, names: Sequence[str]) -> Iterator[list[OvsHost]]:
    """Run several hosts."""
    started: list[OvsHost] = []
    try:
        for name in names:
            host = OvsHost(folder / name, name)
            started.append(host)
            host.__enter__()
        yield started
    finally:
        for host in started:
            host.__exit__()


def listens(path: Path) -> bool:
    """Tell whether somebody accepts connections on a Unix socket: its file is there a moment before."""
    with socket.socket(socket.AF_UNIX) as trial:
        return trial.connect_ex(str(path)) == 0


def wait_until(
    condition: Callable[[], object], what: str, patience: float = _PATIENCE, pause: float = 0.005
) -> None:
    """Wait for a condition; raise TimeoutError that says what did not come."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {patience} s")
        time.sleep(pause)
