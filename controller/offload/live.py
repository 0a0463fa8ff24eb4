# SPDX-License-Identifier: Apache-2.0
"""Looks at the hosts on this machine: megaflows over ovs-vswitchd's control socket, devices over netlink. Of Linux
hosts, wherever they are, their agents tell.

Devices are those of the network namespace that ovs-vswitchd runs in: in the lab each host has one of its own.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from pyroute2 import netns

from controller.guard.guard import control_socket
from controller.intent.intent import Intent
from controller.intent.model import Address
from controller.kernels.hosts import LinuxHosts
from ovs_geneve.errors import ConnectionLost
from ovs_geneve.offload.ethtool import Ethtool, device_with
from ovs_geneve.offload.nic import Nic
from ovs_geneve.offload.placement import Dump, parse_dump
from ovs_geneve.offload.sight import HostSight, counted
from ovs_geneve.unixctl import CommandFailed, call

_PORT = re.compile(r"^\s+port \d+: (\S+)$", re.MULTILINE)
"A device of the system in `dpctl/show`; tunnels and internal ports have their kind behind their name."

_MOST_PORTS = 64
"Devices of a datapath that are looked at: they are of one kind."


class Eyes(Protocol):
    """Whoever sees hosts: those on this machine, or what agents told of theirs."""

    async def sight(self, host: str) -> HostSight | None:
        """Return what is seen on a host now; None for one that nobody sees."""


class LocalEyes:
    """Sees the hosts on this machine; `where` has their run directories."""

    def __init__(self, where: Callable[[], Mapping[str, Path]], intent: Callable[[], Intent]) -> None:
        self._where = where
        self._intent = intent

    async def sight(self, host: str) -> HostSight | None:
        """Return what is seen on a host now; None for one that is elsewhere."""
        directory = self._where().get(host)
        declared = self._intent().hosts.get(host)
        if directory is None or declared is None:
            return None
        return await look(directory, declared.spec.endpoints)


class EveryEyes:
    """Sees hosts with Open vSwitch with other eyes, and of Linux hosts what their agents tell."""

    def __init__(self, others: Eyes, agents: LinuxHosts) -> None:
        self._others = others
        self._agents = agents

    async def sight(self, host: str) -> HostSight | None:
        """Return what is seen on a host now; None for one that nobody sees."""
        if self._agents.holder_of(host) is not None:
            return self._agents.sight(host)
        return await self._others.sight(host)


async def look(directory: Path, endpoints: Iterable[Address]) -> HostSight:
    """Look at the host whose Open vSwitch has its sockets here."""
    socket = control_socket(directory)
    if socket is None:
        return HostSight(problems=("ovs-vswitchd does not run",))
    problems = list[str]()
    names: tuple[str, ...] = ()
    dump = Dump((), 0)
    try:
        shown, dumped = await call(socket, [("dpctl/show",), ("dpctl/dump-flows", "-m")])
        names = tuple(_PORT.findall(shown.text))[:_MOST_PORTS]
        dump = await asyncio.to_thread(parse_dump, dumped.text)
    except (ConnectionLost, CommandFailed) as error:
        problems.append(f"megaflows: {error}")
    uplinks, ports = tuple[Nic, ...](), tuple[Nic, ...]()
    try:
        uplinks, ports = await _inside(directory, lambda: _devices(tuple(endpoints), names))
    except OSError as error:
        problems.append(f"devices: {error}")
    return HostSight(
        uplinks=uplinks,
        ports=ports,
        flows=counted(dump.flows),
        unread=dump.unread,
        problems=tuple(problems),
    )


def _devices(endpoints: tuple[Address, ...], names: Iterable[str]) -> tuple[tuple[Nic, ...], tuple[Nic, ...]]:
    uplinks = dict.fromkeys(filter(None, map(device_with, endpoints)))
    with Ethtool() as ethtool:
        return (
            tuple(ethtool.nic(name) for name in uplinks),
            tuple(ethtool.nic(name) for name in names if name not in uplinks),
        )


Devices = tuple[tuple[Nic, ...], tuple[Nic, ...]]


async def _inside(directory: Path, function: Callable[[], Devices]) -> Devices:
    """Call a function in the network namespace of ovs-vswitchd, on a thread that ends with it."""
    pid = int((directory / "ovs-vswitchd.pid").read_text(encoding="ascii"))
    namespace = Path(f"/proc/{pid}/ns/net")

    def enter_and_look() -> Devices:
        if not os.path.samefile(namespace, "/proc/thread-self/ns/net"):
            netns.setns(str(namespace), flags=0)
        return function()

    with ThreadPoolExecutor(1, "offload") as thread:
        return await asyncio.get_running_loop().run_in_executor(thread, enter_and_look)
