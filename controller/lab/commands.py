# SPDX-License-Identifier: Apache-2.0
"""Programs: are they installed, run one inside a namespace, end one by its pid."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from controller.lab import namespaces
from controller.lab.errors import LabError

_SEARCH = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"]
)

_PACKAGES = {
    "nsenter": "util-linux",
    "ovs-appctl": "openvswitch-common",
    "ovs-ofctl": "openvswitch-common",
    "ovs-vsctl": "openvswitch-switch",
    "ovs-vswitchd": "openvswitch-switch",
    "ovsdb-server": "openvswitch-switch",
    "ovsdb-tool": "openvswitch-common",
    "tcpdump": "tcpdump",
}

NEEDED = ("nsenter", "ovs-appctl", "ovs-ofctl", "ovs-vsctl", "ovs-vswitchd", "ovsdb-server", "ovsdb-tool")
"What every lab runs."

_DAEMONS = frozenset({"ovsdb-server", "ovs-vswitchd", "ovsdb-tool", "ovs-vsctl", "tcpdump", "nsenter"})


def find(name: str) -> str | None:
    """Return the path of a program, or None."""
    return shutil.which(name, path=_SEARCH)


def program(name: str) -> str:
    """Return the path of a program, or raise LabError naming the Debian package that has it."""
    path = find(name)
    if path is None:
        package = _PACKAGES.get(name)
        raise LabError(f"{name} is not installed", f"apt install {package}" if package else "install it")
    return path


def require(names: Iterable[str]) -> None:
    """Raise LabError unless all of these programs are installed."""
    for name in names:
        program(name)


def require_root() -> None:
    """Raise LabError unless this process may make network namespaces."""
    if os.geteuid() != 0:
        raise LabError("a lab needs root: it makes network namespaces", "run it with sudo")


def run(
    arguments: Sequence[str],
    *,
    namespace: str | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 30.0,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, perhaps inside a namespace. Raises LabError when it fails or is too slow."""
    line = argv(arguments, namespace)
    try:
        done = subprocess.run(
            line,
            env=variables(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(arguments)}: no end after {timeout:g} s", "give it more time") from error
    if check and done.returncode:
        raise LabError(f"{' '.join(arguments)}: {(done.stderr or done.stdout).strip()}")
    return done


def argv(arguments: Sequence[str], namespace: str | None) -> list[str]:
    """Return the command line for a program inside a namespace, with full paths."""
    line = [program(arguments[0]), *arguments[1:]]
    if namespace is None:
        return line
    return [program("nsenter"), *namespaces.command(namespace, line)[1:]]


def variables(more: Mapping[str, str] | None) -> dict[str, str]:
    """Return this process's environment with these added."""
    return {**os.environ, "PATH": _SEARCH, **(more or {})}


def read_pid(pid_file: Path) -> int | None:
    """Return the living process a pid file names, or None: the pid may be another program's by now."""
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None
    return pid if any(str(pid_file) in word for word in command_line(pid)) else None


def command_line(pid: int) -> list[str]:
    """Return a process's command line; empty when it has ended."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return raw.decode(errors="replace").split("\0")[:-1]


def daemons_of(directory: Path) -> frozenset[int]:
    """Return the programs a lab starts that name a file below this directory, wherever they run."""
    inside = f"{directory}/"
    found = set()
    for entry in os.listdir("/proc"):
        words = command_line(int(entry)) if entry.isdigit() else []
        if words and Path(words[0]).name in _DAEMONS and any(inside in word for word in words):
            found.add(int(entry))
    return frozenset(found)


def controllers_of(directory: Path) -> frozenset[int]:
    """Return the controllers whose state directory this is."""
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return frozenset(pid for pid in pids if {"controller", str(directory)} <= set(command_line(pid)))


def end(pids: Iterable[int], sig: signal.Signals = signal.SIGKILL, timeout: float = 10.0) -> None:
    """Send a signal to these processes and wait until they have ended. Raises LabError when one does not."""
    descriptors = {pid: fd for pid in pids if (fd := _open(pid)) is not None}
    try:
        for pid, descriptor in descriptors.items():
            _signal(pid, descriptor, sig)
        for pid, descriptor in descriptors.items():
            # A pidfd turns readable when its process ends, whoever is to reap it (pidfd_open(2)).
            if not select.select([descriptor], [], [], timeout)[0]:
                raise LabError(f"process {pid} did not end within {timeout:g} s of {sig.name}")
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def _open(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _signal(pid: int, descriptor: int, sig: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(descriptor, sig)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise LabError(f"process {pid} belongs to somebody else", "run as root") from error
