# SPDX-License-Identifier: Apache-2.0
"""How long the prober takes for every ordered pair of hosts, and what that costs the controller.

    python -m benchmarks.verify [--quick]

The controller is real but for the OVSDB of its hosts (scale_controller.py). The bridges are fake switches in a process
of their own, between which packet-outs become packet-ins (tunnels.py), so what is measured is the controller: the
prober's rate is limited for the sake of bridges (controller/prober/pace.py) and is the larger part of the time.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.rig.daemons import cpu_seconds, workspace
from benchmarks.rig.layout import Layout, dpid_of, endpoint_of, host_name
from benchmarks.rig.report import Report, progress
from benchmarks.rig.scale_fabric import Fabric, running

GOAL_SECONDS = 30

_LOOK_EVERY = 0.25
"Seconds between two looks at a run."


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    layout: Layout
    repetitions: int


FULL = Sizes(Layout(hosts=100, networks=1, ports=100, spread=100), repetitions=5)
QUICK = Sizes(Layout(hosts=10, networks=1, ports=10, spread=10), repetitions=2)


def main(sizes: Sizes) -> None:
    """Measure everything and print it."""
    report = Report("verify")
    hosts = range(sizes.layout.hosts)
    report.note("layout", sizes.layout.numbers)
    with workspace() as folder, running(folder / "fabric", sizes.layout, ()) as fabric:
        endpoints = {dpid_of(host_name(number)): str(endpoint_of(number)) for number in hosts}
        fabric.switches.ask("join", endpoints=endpoints)
        seconds, cpu, probes = [], [], 0
        for _ in range(sizes.repetitions):
            before = cpu_seconds(fabric.controller.pid)
            run = verified(fabric)
            cpu.append(cpu_seconds(fabric.controller.pid) - before)
            seconds.append(run["seconds"])
            probes = run["progress"]["sent"]
            progress(f"{run['progress']}, {run['verdicts']}: {run['seconds']} s")
    pairs = len(hosts) * (len(hosts) - 1)
    took = report.add_series(f"{len(hosts)} hosts, {pairs:,} ordered pairs", seconds, "s")
    spent = report.add_series(f"{len(hosts)} hosts, {pairs:,} ordered pairs: controller CPU", cpu, "s")
    report.note("probes of a run", probes)
    report.note("controller CPU a probe (us)", round(spent / probes * 1e6))
    report.at_most(f"{len(hosts)} hosts, {pairs:,} ordered pairs: proved after, median s", took, GOAL_SECONDS)
    report.print()


def verified(fabric: Fabric) -> dict[str, Any]:
    """Have everything proved; raise unless all is well, since then it was not the prober that was measured."""
    path = f"/v1/probes/{_asked(fabric, 'POST', '/v1/probes', {})['id']}"
    while (run := _asked(fabric, "GET", f"{path}?results=false"))["state"] != "finished":
        time.sleep(_LOOK_EVERY)
    if run["failed"]:
        failed = _asked(fabric, "GET", f"{path}?failed=true")["results"]
        raise RuntimeError(f"{run['verdicts']}: {failed[:3]}")
    return run


def _asked(fabric: Fabric, method: str, path: str, document: object = None) -> dict[str, Any]:
    answer = fabric.client.ask(method, path, document)
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path}: {answer}")
    found: dict[str, Any] = answer.json()
    return found


if __name__ == "__main__":
    main(QUICK if "--quick" in sys.argv[1:] else FULL)
