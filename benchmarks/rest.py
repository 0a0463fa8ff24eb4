# SPDX-License-Identifier: Apache-2.0
"""How fast ports are created over REST, with the embedded store and with a RAFT cluster, and that none is lost.

    python -m benchmarks.rest [--quick] [--only embedded|raft]

The controller is a process of its own; the load comes from this one, whose processor time is reported. Ports are stored
and compiled, not bound: no host is needed. Each series is taken several times, shapes of load in turn. At the end the
controller is killed with SIGKILL under load and started again, and every port that was acknowledged has to be there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.rig.daemons import rss_mib, workspace
from benchmarks.rig.http_load import Load, request, run
from benchmarks.rig.report import Report, progress
from benchmarks.rig.rest_server import Controller, clustered

NETWORKS = 20
PAGE = 1000


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of each is done."""

    repetitions: int
    puts: Mapping[int, int]
    "Single PUTs, by the number of connections."
    bulk: int
    "Ports by POST /v1/apply."
    per_request: int
    bulk_connections: int = 2
    crash: int
    "PUTs of which the last third meet a dead controller."


FULL = Sizes(
    repetitions=3, puts={1: 500, 4: 1500, 16: 2500, 64: 4000}, bulk=10_000, per_request=500, crash=3000
)
QUICK = Sizes(repetitions=1, puts={1: 30, 4: 60, 64: 200}, bulk=400, per_request=100, crash=150)


@dataclass(frozen=True, kw_only=True)
class Goals:
    """What a store is to reach."""

    rate: float
    p50_ms: float


EMBEDDED, RAFT = Goals(rate=2000, p50_ms=3), Goals(rate=1000, p50_ms=8)


@dataclass
class Ports:
    """Documents of ports that do not exist yet, over a number of networks; and those that were acknowledged."""

    made: int = 0
    acknowledged: set[str] = field(default_factory=set)

    def puts(self, count: int) -> list[bytes]:
        """Return requests that create one port each."""
        return [
            request("PUT", f"/v1/ports/{name}", json.dumps(document).encode())
            for name, document in self._documents(count)
        ]

    def applies(self, count: int, per_request: int) -> list[bytes]:
        """Return requests that create many ports each."""
        documents = [{"kind": "port", "name": name, **document} for name, document in self._documents(count)]
        parts = (documents[start : start + per_request] for start in range(0, count, per_request))
        return [request("POST", "/v1/apply", json.dumps(part).encode()) for part in parts]

    def take_puts(self, load: Load) -> None:
        """Note what was acknowledged; anything but 201 is an error."""
        if set(load.statuses) != {201}:
            raise RuntimeError(f"not all ports were created: {dict(load.statuses)}")
        self.acknowledged.update(_name(sent) for sent, _ in load.answered)

    def take_applies(self, load: Load) -> None:
        """Note what was acknowledged, document by document."""
        items = [item for _, body in load.answered for item in json.loads(body)["items"]]
        refused = [item for item in items if item["outcome"] != "created"]
        if refused or set(load.statuses) != {200}:
            raise RuntimeError(f"not all ports were created: {dict(load.statuses)} {refused[:1]}")
        self.acknowledged.update(item["name"] for item in items)

    def _documents(self, count: int) -> Iterator[tuple[str, dict[str, object]]]:
        for number in range(self.made, self.made + count):
            octets = number.to_bytes(3, "big")
            yield (
                f"p{number}",
                {
                    "network": f"net{number % NETWORKS}",
                    "mac": f"02:00:00:{octets.hex(':')}",
                    "addresses": [".".join(map(str, (10, *octets)))],
                },
            )
        self.made += count


def _name(sent: bytes) -> str:
    return sent[len(b"PUT /v1/ports/") : sent.index(b" HTTP")].decode()


@dataclass
class Bench:
    """One store's turn."""

    report: Report
    label: str
    controller: Controller
    sizes: Sizes
    ports: Ports = field(default_factory=Ports)
    loads: dict[str, list[Load]] = field(default_factory=dict)
    costs: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    "Processor microseconds a port of the controller and of the store."

    def measure(self, goals: Goals) -> None:
        """Create ports in every shape of load, compare with the goals, kill and look."""
        names = [{"kind": "network", "name": f"net{number}"} for number in range(NETWORKS)]
        run(self.controller.address, [request("POST", "/v1/apply", json.dumps(names).encode())])
        for _ in range(self.sizes.repetitions):
            for connections, count in self.sizes.puts.items():
                self._put(f"PUT, connections: {connections}", connections, count)
            self._apply()
        self.loads["PUT, connections: 4, hosts that do not answer"] = []
        self._declare_hosts()
        for _ in range(self.sizes.repetitions):
            self._put("PUT, connections: 4, hosts that do not answer", 4, self.sizes.puts[4])
        self._describe()
        self._compare(goals)
        self._crash()

    def _put(self, shape: str, connections: int, count: int) -> None:
        self.ports.take_puts(self._run(shape, self.ports.puts(count), connections, count))

    def _apply(self) -> None:
        count, per_request = self.sizes.bulk, self.sizes.per_request
        requests = self.ports.applies(count, per_request)
        shape = f"apply, ports a request: {per_request}, connections: {self.sizes.bulk_connections}"
        self.ports.take_applies(self._run(shape, requests, self.sizes.bulk_connections, count))

    def _run(self, shape: str, requests: Sequence[bytes], connections: int, ports: int) -> Load:
        controller, store = self.controller.cpu()
        load = run(self.controller.address, requests, connections)
        controller_after, store_after = self.controller.cpu()
        cost = ((controller_after - controller) / ports * 1e6, (store_after - store) / ports * 1e6)
        self.loads.setdefault(shape, []).append(load)
        self.costs.setdefault(shape, []).append(cost)
        progress(
            f"{self.label}, {shape}: {ports / load.elapsed:.0f} ports/s, p50 {load.milliseconds(50):.2f} ms, "
            f"p99 {load.milliseconds(99):.2f} ms, CPU a port {cost[0]:.0f} + {cost[1]:.0f} us, "
            f"generator {load.cpu / load.elapsed:.0%}"
        )
        return load

    def _declare_hosts(self) -> None:
        for number in (1, 2):
            host = {"ovsdb": f"unix:/nonexistent/{number}", "endpoints": [{"address": f"192.0.2.{number}"}]}
            run(self.controller.address, [request("PUT", f"/v1/hosts/hv{number}", json.dumps(host).encode())])

    def _describe(self) -> None:
        for shape, loads in self.loads.items():
            where = f"{self.label}, {shape}"
            self.report.add_series(f"{where}: rate", [self._rate(shape, load) for load in loads], "ports/s")
            for percent in (50, 99, 100):
                name = f"{where}: p{percent}" if percent < 100 else f"{where}: max"
                self.report.add_series(name, [load.milliseconds(percent) for load in loads], "ms")
            cpu = [controller for controller, _ in self.costs[shape]]
            self.report.add_series(f"{where}: controller CPU a port", cpu, "us")
            self.report.add_series(
                f"{where}: store CPU a port", [store for _, store in self.costs[shape]], "us"
            )
            share = [100 * load.cpu / load.elapsed for load in loads]
            self.report.add_series(f"{where}: generator CPU", share, "%")
        self.report.note(f"{self.label}: ports at the end", self.ports.made)
        self.report.note(
            f"{self.label}: resident memory of the controller, MiB", rss_mib(self.controller.pid)
        )

    def _rate(self, shape: str, load: Load) -> float:
        per_answer = self.sizes.per_request if shape.startswith("apply") else 1
        return load.rate * per_answer

    def _compare(self, goals: Goals) -> None:
        for shape, loads in self.loads.items():
            if shape.startswith(("apply", "PUT, connections: 64")):
                rate = median(self._rate(shape, load) for load in loads)
                self.report.at_least(f"{self.label}, {shape}: ports/s", rate, goals.rate)
            if shape.startswith(("PUT, connections: 1", "PUT, connections: 4")) and "16" not in shape:
                p50 = median(load.milliseconds(50) for load in loads)
                self.report.at_most(f"{self.label}, {shape}: p50 ms", p50, goals.p50_ms)

    def _crash(self) -> None:
        """Kill the controller under load and start it again; look for every port that was acknowledged."""
        missing = self.ports.acknowledged - self._stored()
        fatal = self.sizes.crash * 2 // 3

        def kill(load: Load) -> None:
            if len(load.latencies) == fatal:
                self.controller.kill()

        load = run(self.controller.address, self.ports.puts(self.sizes.crash), 16, on_answer=kill)
        self.ports.take_puts(load)
        if not fatal <= len(load.answered) < self.sizes.crash:
            raise RuntimeError(
                f"{len(load.answered)} answers from a controller that was killed after {fatal}"
            )
        self.controller.start()
        missing |= self.ports.acknowledged - self._stored()
        acknowledged = len(self.ports.acknowledged)
        self.report.note(f"{self.label}: ports acknowledged", acknowledged)
        self.report.at_most(f"{self.label}: acknowledged ports missing after SIGKILL", len(missing), 0)

    def _stored(self) -> set[str]:
        names = set[str]()
        cursor: str | None = ""
        while cursor is not None:
            load = run(self.controller.address, [request("GET", f"/v1/ports?limit={PAGE}&cursor={cursor}")])
            page = json.loads(load.answered[0][1])
            names.update(item["name"] for item in page["items"])
            cursor = page["next"]
        return names


def _measure(
    report: Report, label: str, controller: AbstractContextManager[Controller], sizes: Sizes, goals: Goals
) -> None:
    with controller as running:
        Bench(report, label, running, sizes).measure(goals)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--only", choices=("embedded", "raft"))
    options = parser.parse_args(arguments)
    sizes = QUICK if options.quick else FULL
    report = Report("rest")
    with workspace() as folder:
        _stores(report, folder, sizes, options.only)
    report.print()


def _stores(report: Report, folder: Path, sizes: Sizes, only: str | None) -> None:
    if only != "raft":
        _measure(report, "embedded", Controller(folder / "embedded"), sizes, EMBEDDED)
    if only != "embedded":
        _measure(report, "raft", clustered(folder / "raft"), sizes, RAFT)


if __name__ == "__main__":
    main()
