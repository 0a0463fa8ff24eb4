# SPDX-License-Identifier: Apache-2.0
"""Looks at the machine for what a join or a leave depends on; changes nothing."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.joining import layout
from controller.joining.facts import Joined, MachineFacts, Manager, OvsFacts
from controller.settings import LOCAL_OVSDB
from ovs_geneve.errors import ConnectionLost, NotSupported
from ovs_geneve.kernel import modules
from ovs_geneve.kernel.objects import MARK
from ovs_geneve.ovsdb.client import OvsdbClient
from ovs_geneve.ovsdb.operations import Select
from ovs_geneve.ovsdb.provision import OWNER_KEY
from ovs_geneve.ovsdb.replica import Replica
from ovs_geneve.ovsdb.rows import HOST_TABLES, Bridge, OpenVSwitch, each
from ovs_geneve.ovsdb.rows import Manager as ManagerRow
from ovs_geneve.vport import GENEVE_PORT

_SECONDS = 5.0
"Within which an OVSDB on a Unix socket answers."

_UNITS = (
    layout.UNIT,
    f"/lib/systemd/system/{layout.AGENT_SERVICE}",
    f"/usr/lib/systemd/system/{layout.AGENT_SERVICE}",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where things are on this machine; all of it is below `root`, for tests."""

    ovsdb: str = LOCAL_OVSDB
    run_directory: Path = Path("/run/openvswitch")
    root: Path = Path("/")

    def path(self, absolute: str) -> Path:
        """Return where a file is that is named as on a whole machine."""
        return self.root / absolute.lstrip("/")


def observe(
    machine: Machine,
    *,
    controller_host: str = "",
    declared: Mapping[str, Any] | None = None,
    joined: Joined | None = None,
    tunnel_port: int = GENEVE_PORT,
    with_kernel: bool,
) -> MachineFacts:
    """Look at everything; the kernel's modules only when the host is to do without Open vSwitch."""
    installed = shutil.which("ovs-vsctl") is not None
    names = modules.ALL if with_kernel else ()
    return MachineFacts(
        root=os.geteuid() == 0,
        uptime=_uptime(),
        installed=installed,
        ovs=asyncio.run(read_ovs(machine)) if installed else None,
        missing_modules=tuple(name for name in names if not _has_module(name)),
        kernel=platform.release(),
        port_holder=_port_holder(tunnel_port),
        source=_source(controller_host) if controller_host else "",
        systemd=machine.path("/run/systemd/system").is_dir(),
        command=str(Path(sys.argv[0]).absolute()),
        unit=next((unit for unit in _UNITS if machine.path(unit).exists()), None),
        unit_enabled=_unit_enabled(machine),
        joined=joined,
        files=_files(machine),
        declared=declared,
    )


def read_record(machine: Machine) -> Joined | None:
    """Return what an earlier join wrote down; SetupError when the record cannot be read."""
    path = machine.path(layout.RECORD)
    return layout.parse_record(path.read_text()) if path.exists() else None


async def read_ovs(machine: Machine) -> OvsFacts | None:
    """Read the host's OVSDB; None when it does not answer."""
    client = OvsdbClient(machine.ovsdb, "Open_vSwitch", HOST_TABLES)
    task = asyncio.create_task(client.run())
    try:
        async with asyncio.timeout(_SECONDS):
            await client.ready()
            (found,) = await client.transact([Select("Open_vSwitch", (), ("ssl",))])
        has_tls = any(row["ssl"] for row in found.rows or ())
        return _facts(client.replica, machine, has_tls=has_tls)
    except (TimeoutError, ConnectionLost, NotSupported, OSError):
        return None
    finally:
        await client.close()
        await task


def _facts(replica: Replica, machine: Machine, *, has_tls: bool) -> OvsFacts | None:
    system = next(each(replica, OpenVSwitch), None)
    if system is None:
        return None
    directory = Path(system.external_ids.get("rundir", machine.run_directory))
    return OvsFacts(
        version=system.ovs_version or "",
        runs=_runs(directory / "ovs-vswitchd.pid"),
        system_id=system.external_ids.get("system-id", ""),
        managers=tuple(
            Manager(target=row.target, ours=OWNER_KEY in row.external_ids, connected=row.is_connected)
            for row in sorted(each(replica, ManagerRow), key=lambda row: row.target)
            if row.uuid in system.manager_options
        ),
        has_tls=has_tls,
        bridges=tuple(sorted(row.name for row in each(replica, Bridge) if OWNER_KEY in row.external_ids)),
    )


def _runs(pid_file: Path) -> bool:
    try:
        pid = int(pid_file.read_text())
        return Path(f"/proc/{pid}/comm").read_text().strip() == "ovs-vswitchd"
    except (OSError, ValueError):
        return False


def _uptime() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def _has_module(name: str) -> bool:
    if Path(f"/sys/module/{name}").exists():
        return True
    try:
        done = subprocess.run(["modprobe", "--dry-run", "--quiet", name], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def _port_holder(port: int) -> str:
    """Say who has a UDP port, unless it is us: the kernel's tunnels are seen among its sockets too."""
    if not any(_is_bound(Path(f"/proc/net/{table}"), port) for table in ("udp", "udp6")):
        return ""
    devices = [
        path.parent
        for path in Path("/sys/class/net").glob("*/uevent")
        if "DEVTYPE=geneve" in path.read_text()
    ]
    ours = [device for device in devices if _is_ours(device)]
    others = sorted({device.name for device in devices} - {device.name for device in ours})
    if ours:
        return ""
    return f"geneve device {', '.join(others)}" if others else f"a process: ss -ulnp sport = {port}"


def _is_ours(device: Path) -> bool:
    alias = (device / "ifalias").read_text() if (device / "ifalias").exists() else ""
    # Open vSwitch's kernel tunnels are its vports'; its OVSDB is asked about those.
    return alias.startswith(MARK) or device.name.startswith("genev_sys_")


def _is_bound(table: Path, wanted: int) -> bool:
    if not table.exists():
        return False
    ports = (line.split()[1].rpartition(":")[2] for line in table.read_text().splitlines()[1:])
    return any(int(port, 16) == wanted for port in ports)


def _source(host: str) -> str:
    """Return the address from which packets to a host leave; connecting a UDP socket sends none."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, GENEVE_PORT, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as trial:
            trial.connect(address)
            return str(trial.getsockname()[0])
    except OSError:
        return ""


def _unit_enabled(machine: Machine) -> bool:
    wants = machine.path("/etc/systemd/system/multi-user.target.wants") / layout.AGENT_SERVICE
    return wants.is_symlink()


def _files(machine: Machine) -> dict[str, str]:
    return {path: machine.path(path).read_text() for path in layout.FILES if machine.path(path).exists()}
