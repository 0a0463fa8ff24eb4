# SPDX-License-Identifier: Apache-2.0
"""The state file: what a lab is, for the next process that looks at it.

It is the first thing `up` writes and the last thing `down` removes, so that whoever dies in between leaves a
trace. Every change is read, changed and replaced under a lock, so that two programs may use one lab.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from controller.lab.errors import LabError
from controller.lab.settings import FIRST_LINUX_NUMBER, Datapath, Underlay

_FILE = "lab.json"
_DRAFT = "lab.json.new"
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A workload: a namespace with one interface, plugged into a host's bridge."""

    name: str
    host: str
    mac: str
    addresses: tuple[str, ...]
    "With prefix lengths, as 10.0.0.1/24."
    interface_id: str
    "What external_ids:iface-id carries: the controller finds the logical port by it."
    bridge: str
    mtu: int
    gateways: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabState:
    """Everything another process needs to know of a lab."""

    name: str
    underlay: Underlay
    datapath: Datapath
    mtu: int
    next_number: int = 1
    "Numbers, and with them names and addresses, are never given twice."
    hosts: tuple[int, ...] = ()
    linux_hosts: tuple[int, ...] = ()
    ports: tuple[Workload, ...] = ()
    version: int = _VERSION

    @property
    def addresses(self) -> tuple[int, ...]:
        """The last parts of all hosts' addresses."""
        return (*self.hosts, *(FIRST_LINUX_NUMBER + number - 1 for number in self.linux_hosts))

    def port(self, name: str) -> Workload:
        """Return the workload of this name, or raise LabError."""
        for port in self.ports:
            if port.name == name:
                return port
        raise LabError(
            f"no port {name} in this lab", f"there are: {', '.join(p.name for p in self.ports) or 'none'}"
        )

    def with_port(self, port: Workload) -> LabState:
        """Return the state with this workload in place of any of its name."""
        return replace(self, ports=(*self.without_port(port.name).ports, port))

    def without_port(self, name: str) -> LabState:
        """Return the state without the workload of this name."""
        return replace(self, ports=tuple(p for p in self.ports if p.name != name))


class StateFile:
    """The state file of the lab in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def create(self, state: LabState) -> None:
        """Make the directory and the first state. Raises LabError when a lab or anything else is there."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self.is_removable():
            raise LabError(f"{self.directory} is not empty", "name a directory that a lab may have to itself")
        self._draft(state)
        try:
            os.link(self.directory / _DRAFT, self.directory / _FILE)  # fails when it exists, unlike rename
        except FileExistsError as error:
            raise LabError(f"a lab is up in {self.directory}", "bring it down first") from error

    def load(self) -> LabState:
        """Read the state. Raises LabError when there is no lab here."""
        try:
            raw = (self.directory / _FILE).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise LabError(f"no lab in {self.directory}", "bring one up first") from error
        try:
            state = msgspec.json.decode(raw, type=LabState)
        except msgspec.DecodeError as error:
            raise LabError(
                f"{self.directory / _FILE} is damaged: {error}", "bring the lab down by its name"
            ) from error
        if state.version != _VERSION:
            raise LabError(f"the lab in {self.directory} is another release's", "bring it down and up again")
        return state

    def change(self, function: Callable[[LabState], LabState]) -> LabState:
        """Replace the state by what `function` makes of it, one process at a time; return the new one."""
        with self._locked():
            state = function(self.load())
            self._draft(state)
            (self.directory / _DRAFT).replace(self.directory / _FILE)
            return state

    def is_present(self) -> bool:
        """Tell whether a lab's state is here."""
        return (self.directory / _FILE).exists()

    def is_removable(self) -> bool:
        """Tell whether all here is a lab's: it has a state, or holds nothing that a lab did not write."""
        if not self.directory.is_dir():
            return False
        return self.is_present() or {path.name for path in self.directory.iterdir()} <= {_DRAFT}

    def remove(self) -> None:
        """Remove the directory, the state file last; leave alone what is no lab's."""
        if not self.is_removable():
            return
        for path in self.directory.iterdir():
            if path.name not in (_FILE, _DRAFT):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        shutil.rmtree(self.directory)

    def _draft(self, state: LabState) -> None:
        # Never written in place: a crash in `create` may have left it as a second name of the state.
        (self.directory / _DRAFT).unlink(missing_ok=True)
        (self.directory / _DRAFT).write_bytes(msgspec.json.format(msgspec.json.encode(state)))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError as error:
            raise LabError(f"no lab in {self.directory}", "bring one up first") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
