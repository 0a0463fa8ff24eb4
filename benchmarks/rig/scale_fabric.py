# SPDX-License-Identifier: Apache-2.0
"""One controller with a declared fabric and fake switches, driven over REST as a client does."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.rig.children import Child, child
from benchmarks.rig.daemons import cpu_seconds, wait_until
from benchmarks.rig.layout import Layout, dpid_of, host_name, spare_name
from benchmarks.rig.report import Report, percentile, progress
from benchmarks.rig.rest_client import Answer, RestClient

_PORTS = range(20_000, 30_000)
"""Below what Linux takes for connections: a socket that dials a free port of that range again and again may be given
the very port it dials, and then is connected with itself."""

_SETTLED = 30.0
"Seconds for a switch to catch up."


@dataclass(frozen=True)
class Phase:
    """What a phase of the cold build took, in seconds."""

    wall: float
    cpu: float
    "Of the controller's process."

    @property
    def rounded(self) -> dict[str, float]:
        return {"wall s": round(self.wall, 2), "cpu s": round(self.cpu, 2)}


@dataclass
class Latencies:
    """What ports took to be added and deleted, in milliseconds."""

    adds: list[float] = field(default_factory=list)
    deletes: list[float] = field(default_factory=list)
    add_cpu: float = 0.0
    delete_cpu: float = 0.0

    def take(self, more: Latencies) -> None:
        self.adds += more.adds
        self.deletes += more.deletes
        self.add_cpu += more.add_cpu
        self.delete_cpu += more.delete_cpu

    def record(self, report: Report, where: str) -> None:
        """Report the series, and the percentiles and processor time in a note."""
        for what, values, cpu in (
            ("add", self.adds, self.add_cpu),
            ("delete", self.deletes, self.delete_cpu),
        ):
            report.add_series(f"{what} {where}", values, "ms")
            told = {f"p{percent}": round(percentile(values, percent), 2) for percent in (50, 99)}
            told |= {"max": round(max(values), 2), "controller CPU": round(cpu / len(values), 2)}
            report.note(f"{what} {where} (ms)", told)
            progress(f"{what} {where}: {told}")


@dataclass
class Fabric:
    """A fabric that is up: the controller, its switches, and a client."""

    layout: Layout
    controller: Child
    switches: Child
    client: RestClient
    phases: dict[str, Phase]
    watched: Sequence[str]

    @property
    def quiet_networks(self) -> list[int]:
        """Return the networks that the big host is not in."""
        members = self.layout.seating()
        return [n for n in range(self.layout.networks) if not self.layout.big or 0 not in members[n]]

    def networks_of(self, host: int) -> list[int]:
        """Return the networks of a host that the big host is not in."""
        members = self.layout.seating()
        return [n for n in self.quiet_networks if host in members[n]]

    def desired(self, host: str) -> dict[str, Any]:
        """Tell what a host's bridge should hold, in short."""
        return self.controller.ask("desired", host=host)

    def check(self) -> None:
        """Raise unless every watched switch holds exactly what the compiler wants, once all is quiet."""
        for host in self.watched:
            wait_until(partial(self._is_right, host), f"{host} holds what it should", _SETTLED, pause=0.1)

    def _is_right(self, host: str) -> bool:
        return self.desired(host) == self.switches.ask("held", dpid=dpid_of(host))

    def is_programmed(self, host: str) -> bool:
        """Tell whether a host's bridge has all that it should, as the controller says."""
        return _has(self.client.ask("GET", f"/v1/hosts/{host}"), "Programmed")

    def add_and_delete(self, networks: Sequence[int]) -> Latencies:
        """Add one port to each network, one after the other, then delete them."""
        found = Latencies()
        for what, values in ((self.add, found.adds), (self.delete, found.deletes)):
            before = cpu_seconds(self.controller.pid)
            for network in networks:
                began = time.perf_counter()
                what(network)
                values.append((time.perf_counter() - began) * 1000)
            spent = (cpu_seconds(self.controller.pid) - before) * 1000
            if what == self.add:
                found.add_cpu += spent
            else:
                found.delete_cpu += spent
        return found

    def add(self, network: int) -> None:
        """Declare the spare port of a network; return when every host of it has acknowledged it."""
        path = f"/v1/ports/{spare_name(network)}"
        answer = self.client.ask("PUT", f"{path}?wait=programmed", self.layout.spare_document(network))
        deadline = time.monotonic() + _SETTLED
        while not _has(answer, "Bound", "Programmed"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{path}: not programmed after {_SETTLED} s")
            answer = self.client.ask("GET", path)

    def delete(self, network: int) -> None:
        """Take the spare port away; return when every host of the network has acknowledged it."""
        answer = self.client.ask("DELETE", f"/v1/ports/{spare_name(network)}?wait=programmed")
        if answer.status != 204:
            raise RuntimeError(f"DELETE: {answer}")

    def change(self, networks: Sequence[int], changes: int) -> None:
        """Add and delete spare ports without waiting for any switch."""
        for number in range(changes // 2):
            network = networks[number % len(networks)]
            path = f"/v1/ports/{spare_name(network)}"
            for answer in (
                self.client.ask("PUT", path, self.layout.spare_document(network)),
                self.client.ask("DELETE", path),
            ):
                if answer.status >= 300:
                    raise RuntimeError(f"{path}: {answer}")


@contextmanager
def running(folder: Path, layout: Layout, watched: Sequence[str]) -> Iterator[Fabric]:
    """Store a layout, build its fabric from nothing, and end all of it afterwards."""
    fill(folder, layout)
    openflow, rest = free_port(), free_port()
    with child("benchmarks.rig.fake_switches") as switches:
        hosts = [host_name(number) for number in range(layout.hosts)]
        switches.ask(
            "start",
            port=openflow,
            dpids=[dpid_of(host) for host in hosts],
            watched=[dpid_of(host) for host in watched],
        )
        began = time.monotonic()
        addresses = (f"127.0.0.1:{port}" for port in (openflow, rest))
        with child(
            "benchmarks.rig.scale_controller", str(folder), *addresses, *layout.arguments
        ) as controller:
            phases = _phases(began, controller.hear())
            with RestClient(rest) as client:
                yield Fabric(layout, controller, switches, client, phases, watched)


def fill(folder: Path, layout: Layout) -> None:
    """Store a layout as the intent of a controller that is yet to start."""
    began = time.monotonic()
    with child("benchmarks.rig.scale_store", str(folder), *layout.arguments) as store:
        stored = store.hear()
    progress(f"{stored['objects']:,} objects stored in {time.monotonic() - began:.0f} s")


def free_port() -> int:
    """Return a TCP port that nobody uses now."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _phases(began: float, stamps: dict[str, dict[str, float]]) -> dict[str, Phase]:
    """Turn the ends of phases into what each took."""
    phases, at, cpu = dict[str, Phase](), began, 0.0
    for name, stamp in stamps.items():
        phases[name] = Phase(wall=stamp["at"] - at, cpu=stamp["cpu"] - cpu)
        at, cpu = stamp["at"], stamp["cpu"]
    return phases


def _has(answer: Answer, *conditions: str) -> bool:
    """Tell whether an object that came back has all of these conditions."""
    if answer.status >= 300:
        raise RuntimeError(f"refused: {answer}")
    true = {one["type"] for one in answer.json()["status"]["conditions"] if one["status"] == "True"}
    return true.issuperset(conditions)
