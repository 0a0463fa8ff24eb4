# SPDX-License-Identifier: Apache-2.0
"""The lab: hosts in network namespaces, each with its own OVS or with none, and workloads behind them.

    with Lab.up(LabSettings(hosts=2)) as lab:
        (a controller makes br-int and the GENEVE vports)
        lab.plug("hv1", "web1", "02:00:00:00:00:01", ["10.0.0.1/24"])
        lab.exec("web1", ["ping", "-c1", "10.0.0.2"])

Everything lives in namespaces of the lab; the machine's own network and OVS are never touched. Calls block: from
an event loop use asyncio.to_thread.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from pyroute2.netlink.exceptions import NetlinkError

from controller.lab import cleanup, commands, namespaces, underlay, workload
from controller.lab.capture import Capture
from controller.lab.errors import LabError
from controller.lab.linux_host import LinuxHost, require_modules
from controller.lab.machine import UNDERLAY_LINK, Machine
from controller.lab.ovs_host import LabHost
from controller.lab.settings import (
    FABRIC_NUMBER,
    MAX_HOSTS,
    LabSettings,
    check_port_name,
    control_address,
    fabric_namespace,
    owns_namespace,
    workload_namespace,
)
from controller.lab.state import LabState, StateFile, Workload

T = TypeVar("T")
M = TypeVar("M", bound=Machine)

Progress = Callable[[str, int, int], None]
"Called with what was just finished, how many steps are done, and how many there are."

FABRIC = "fabric"
"The name `exec`, `popen` and `capture` take for the namespace in the middle."

DEFAULT_MTU = 1500
"Of a workload."


class Lab:
    """A lab that is up. Make it by `up` or `load`; several programs may hold the same one."""

    def __init__(self, directory: Path) -> None:
        self._state_file = StateFile(directory.absolute())
        self._state_file.load()

    @classmethod
    def up(cls, settings: LabSettings, progress: Progress | None = None) -> Lab:
        """Bring a lab up; on any failure take down what was made and raise LabError."""
        commands.require_root()
        commands.require(commands.NEEDED)
        if settings.linux_hosts:
            require_modules()
        _refuse_a_second(settings)
        state = LabState(
            name=settings.name,
            underlay=settings.underlay,
            datapath=underlay.choose_datapath(settings.datapath),
            mtu=settings.mtu,
        )
        StateFile(settings.home).create(state)
        try:
            lab = cls(settings.home)
            lab._build(settings, progress or _silent)
        except BaseException as error:
            cleanup.down(settings)
            if isinstance(error, OSError | NetlinkError | subprocess.SubprocessError):
                raise LabError(
                    f"the lab does not come up: {error}", "root in a container lacks rights? try a VM"
                ) from error
            raise
        return lab

    @classmethod
    def load(cls, directory: Path | None = None) -> Lab:
        """Return the lab whose state is in this directory, by default that of the default name."""
        return cls(directory or LabSettings().home)

    def down(self) -> None:
        """End all of it; harmless when it is done already."""
        cleanup.down(self.directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @property
    def directory(self) -> Path:
        """Where state, databases, sockets and logs are."""
        return self._state_file.directory

    @property
    def state(self) -> LabState:
        """What the lab is right now, as every program sees it."""
        return self._state_file.load()

    @property
    def hosts(self) -> tuple[LabHost, ...]:
        """The hosts with Open vSwitch, in the order they came."""
        state = self.state
        return tuple(self._machine(LabHost, state, number) for number in state.hosts)

    @property
    def linux_hosts(self) -> tuple[LinuxHost, ...]:
        """The hosts without Open vSwitch."""
        state = self.state
        return tuple(self._machine(LinuxHost, state, number) for number in state.linux_hosts)

    @property
    def ports(self) -> tuple[Workload, ...]:
        """The workloads, with the host that each is plugged into."""
        return self.state.ports

    @property
    def controller_address(self) -> str:
        """Where hosts reach what `listen` returns."""
        return str(control_address(FABRIC_NUMBER))

    def host(self, name: str) -> LabHost:
        """Return the host with Open vSwitch of this name, or raise LabError."""
        return _named(name, self.hosts)

    def linux_host(self, name: str) -> LinuxHost:
        """Return the host without Open vSwitch of this name, or raise LabError."""
        return _named(name, self.linux_hosts)

    def add_host(self) -> LabHost:
        """Add a host while the others run."""
        host = self._new_host()
        try:
            underlay.attach(host)
            host.build()
            for peer in self.hosts:
                if peer.vswitchd_pid is not None:  # one that is down learns it when it starts
                    peer.knows(host.address_number)
        except BaseException:
            self.remove_host(host.name)
            raise
        return host

    def remove_host(self, name: str) -> None:
        """Remove a host and the workloads on it, as if the machine were pulled out."""
        host = self.host(name)
        for port in self.ports:
            if port.host == name:
                self._forget(port, host)
        commands.end(namespaces.processes([host.namespace]) | commands.daemons_of(host.directory))
        underlay.detach(host)
        shutil.rmtree(host.directory, ignore_errors=True)
        self._state_file.change(
            lambda state: replace(state, hosts=tuple(n for n in state.hosts if n != host.number))
        )

    def plug(
        self,
        host: Machine | str,
        port_name: str,
        mac: str,
        addresses: Iterable[str],
        *,
        interface_id: str | None = None,
        bridge: str = "br-int",
        mtu: int = DEFAULT_MTU,
        gateways: Iterable[str] = (),
        timeout: float = 10.0,
    ) -> Workload:
        """Make a workload with these addresses (as 10.0.0.1/24) and plug it into a host's bridge.

        Waits `timeout` seconds for the bridge, which the controller makes; Linux hosts have none to wait for.
        A LabError leaves nothing behind.
        """
        where = self._any_host(_name(host))
        check_port_name(port_name)
        port = Workload(
            name=port_name,
            host=where.name,
            mac=mac.lower(),
            addresses=tuple(addresses),
            interface_id=interface_id or port_name,
            bridge=bridge,
            mtu=mtu,
            gateways=tuple(gateways),
        )
        workload.check(port)
        workload.wait_for_bridge(where, bridge, timeout)
        self._state_file.change(lambda state: _with_new_port(state, port))
        try:
            workload.create(where, port)
            workload.plug(where, port)
        except BaseException:
            self._forget(port, where)
            raise
        return port

    def unplug(self, port: Workload | str) -> None:
        """Take a workload off its host and end it."""
        known = self.state.port(_name(port))
        self._forget(known, self._any_host(known.host))

    def move(self, port: Workload | str, to_host: Machine | str, *, timeout: float = 10.0) -> Workload:
        """Unplug a workload here and plug it there: its namespace, addresses and sockets stay as they are."""
        known = self.state.port(_name(port))
        source, target = self._any_host(known.host), self._any_host(_name(to_host))
        if source == target:
            return known
        moved = replace(known, host=target.name)
        workload.wait_for_bridge(target, known.bridge, timeout)
        workload.unplug(source, known)
        workload.carry(known, source, target)
        self._state_file.change(lambda state: state.with_port(moved))
        workload.plug(target, moved)
        return moved

    def exec(
        self, where: Machine | Workload | str, command: Sequence[str], timeout: float = 30.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a host, in a workload or in the fabric, and return its outcome, good or bad.

        On a host, OVS programs talk to that host's daemons. Raises LabError when it does not end in time.
        """
        namespace, environment = self._place(where)
        return commands.run(
            command, namespace=namespace, environment=environment, timeout=timeout, check=False
        )

    def popen(
        self, where: Machine | Workload | str, command: Sequence[str], **options: Any
    ) -> subprocess.Popen[Any]:
        """Start a command there; `options` are subprocess.Popen's. `down` ends it with the rest."""
        namespace, environment = self._place(where)
        line = commands.argv(command, namespace)
        return subprocess.Popen(line, env=commands.variables(environment), **options)

    def capture(
        self,
        where: Machine | Workload | str,
        path: Path | None = None,
        *,
        interface: str | None = None,
        expression: str = "",
    ) -> Capture:
        """Start a capture of a host's underlay interface, or a workload's own, into a pcap file.

        The file is in the lab's directory, and goes with it, unless `path` says otherwise. `expression` is a
        filter, pcap-filter(7).
        """
        name = _name(where)
        default = {FABRIC: underlay.UNDERLAY_SWITCH}.get(
            name, UNDERLAY_LINK if isinstance(self._find(name), Machine) else workload.INTERFACE
        )
        link = interface or default
        return Capture(self._place(name)[0], link, path or self.directory / f"{name}-{link}.pcap", expression)

    def set_cable(self, host: Machine | str, *, up: bool) -> None:
        """Plug or pull a host's underlay cable; its sessions with the controller stay."""
        underlay.set_cable(self._any_host(_name(host)), up=up)

    def listen(self, port: int = 0) -> socket.socket:
        """Return a TCP socket listening at `controller_address`, for hosts to call; serve it from anywhere."""
        return underlay.listen(self.state.name, port)

    def _build(self, settings: LabSettings, progress: Progress) -> None:
        total = settings.hosts + settings.linux_hosts + 1
        underlay.build_fabric(settings.name, settings.underlay, settings.mtu)
        progress("fabric", 1, total)
        numbers = tuple(range(1, settings.linux_hosts + 1))
        self._state_file.change(lambda state: replace(state, linux_hosts=numbers))
        hosts = [*self.linux_hosts, *(self._new_host() for _ in range(settings.hosts))]
        for host in hosts:
            underlay.attach(host)
        for done, host in enumerate(_each(settings.parallel, Machine.build, hosts), 2):
            progress(host.name, done, total)

    def _new_host(self) -> LabHost:
        def number(state: LabState) -> LabState:
            if state.next_number > MAX_HOSTS:
                raise LabError(
                    f"this lab has given out its {MAX_HOSTS} numbers", "bring it down and up again"
                )
            return replace(state, next_number=state.next_number + 1, hosts=(*state.hosts, state.next_number))

        state = self._state_file.change(number)
        return self._machine(LabHost, state, state.hosts[-1])

    def _machine(self, kind: type[M], state: LabState, number: int) -> M:
        return kind(
            lab=state.name,
            number=number,
            directory=self.directory / f"{kind.prefix}{number}",
            underlay=state.underlay,
            datapath=state.datapath,
            mtu=state.mtu,
        )

    def _any_host(self, name: str) -> Machine:
        return _named(name, (*self.hosts, *self.linux_hosts))

    def _forget(self, port: Workload, host: Machine) -> None:
        # A host whose ovsdb-server is down keeps the row, as a crashed machine would.
        with suppress(LabError):
            workload.unplug(host, port)
        name = workload_namespace(host.lab, port.name)
        commands.end(namespaces.processes([name]))
        workload.remove(host, port)
        self._state_file.change(lambda state: state.without_port(port.name))

    def _find(self, name: str) -> Machine | Workload | None:
        state = self.state
        for host in (*self.hosts, *self.linux_hosts):
            if host.name == name:
                return host
        return None if name == FABRIC else state.port(name)

    def _place(self, where: Machine | Workload | str) -> tuple[str, dict[str, str]]:
        name = self.state.name
        match self._find(_name(where)):
            case Machine() as host:
                return host.namespace, host.environment
            case Workload() as port:
                return workload_namespace(name, port.name), {}
            case None:
                return fabric_namespace(name), {}


def _named(name: str, hosts: Iterable[M]) -> M:
    known = {host.name: host for host in hosts}
    if name not in known:
        raise LabError(f"no host {name} in this lab", f"there are: {', '.join(known) or 'none'}")
    return known[name]


def _name(what: Machine | Workload | str) -> str:
    return what if isinstance(what, str) else what.name


def _silent(_what: str, _done: int, _total: int) -> None:
    return


def _with_new_port(state: LabState, port: Workload) -> LabState:
    if any(other.name == port.name for other in state.ports):
        raise LabError(f"port {port.name} is plugged already", "unplug it, or move it")
    return state.with_port(port)


def _refuse_a_second(settings: LabSettings) -> None:
    if StateFile(settings.home).is_present():
        raise LabError(f"a lab is up in {settings.home}", "use it, or bring it down first")
    taken = [name for name in namespaces.names() if owns_namespace(settings.name, name)]
    if taken:
        raise LabError(
            f"the name {settings.name} is taken: {', '.join(taken)}",
            "take another name, or bring that lab down",
        )


def _each(parallel: int, function: Callable[[T], object], items: Iterable[T]) -> Iterator[T]:
    """Call the function on all items, a few at a time; yield each as it is done, raise the first failure."""
    with ThreadPoolExecutor(parallel, "lab") as pool:
        running = {pool.submit(function, item): item for item in items}
        try:
            for future in as_completed(running):
                future.result()
                yield running[future]
        finally:
            pool.shutdown(cancel_futures=True)
