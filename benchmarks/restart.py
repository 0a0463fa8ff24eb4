# SPDX-License-Identifier: Apache-2.0
"""Kills of the controller and of a vswitchd under a programmed fabric: what goes missing, and for how long.

    python -m benchmarks.restart [--quick]

The benchmark is the service manager: what it killed it starts again at once. A vswitchd on the dummy datapath comes
back empty; with the controller away no flow may go.
"""

from __future__ import annotations

import argparse
import threading
import time
from typing import NamedTuple

from benchmarks.rig.bridge_socket import BridgeSocket
from benchmarks.rig.daemons import OvsHost, cpu_seconds, wait_until, workspace
from benchmarks.rig.fabric import Fabric, Size, ports_of, running
from benchmarks.rig.ovn import LARGE, NOTED_OVN_2303_VSWITCHD_RESTART, NOTED_OVN_MAIN
from benchmarks.rig.report import Report, progress

QUICK = Size(2, 2, 4)
IN_SYNC_SECONDS, FLOWS_BACK_SECONDS = 2.0, 0.4

_SAMPLE = 0.05
_BEFORE = 0.3
"Seconds of samples before the kill."
_POLL = 0.002
_PATIENCE = 60.0
_REST = 3.0
"Seconds after which a channel counts as healthy, so that the next loss is retried as fast as the first."


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a small smoke run")
    quick = parser.parse_args().quick
    size, controllers, vswitchds = (QUICK, 1, 1) if quick else (LARGE, 5, 10)
    report = Report("restart")
    progress(f"-- {size}")
    with workspace() as folder, running(folder, size) as fabric:
        fabric.plug(ports_of(size))
        fabric.declare_in_bulk()
        _wait_whole(fabric)
        _controller(report, fabric, controllers)
        _vswitchd(report, fabric, vswitchds)
    report.print()


def _wait_whole(fabric: Fabric) -> tuple[int, ...]:
    """Wait until every bridge holds all of every port; return the flow counts."""
    until = time.monotonic() + _PATIENCE
    held = fabric.wait_programmed().flows
    since = time.monotonic()
    while time.monotonic() - since < 1.0:
        flows = fabric.wait_programmed().flows
        if flows != held or fabric.flow_counts() != flows:
            held, since = flows, time.monotonic()
        if since > until:
            raise TimeoutError(f"flows do not settle: {fabric.flow_counts()}, should be {flows}")
        time.sleep(_SAMPLE)
    return held


# The controller is killed.


class Sampler:
    """Watches the flow counts of all bridges from a thread of its own. Use as a context."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.samples: list[tuple[int | None, ...]] = []

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def missing(self, wanted: tuple[int, ...]) -> int:
        """Return how many flows of how many should be there were missing in the worst sample."""
        return max(
            sum(max(0, want - (count or 0)) for want, count in zip(wanted, sample, strict=True))
            for sample in self.samples
        )

    def _work(self) -> None:
        while not self._ended.wait(_SAMPLE):
            self.samples.append(self._fabric.flow_counts())


class ControllerRestart(NamedTuple):
    """Seconds since the new process was started, and what was seen meanwhile."""

    answers: float
    in_sync: float
    cpu: float
    missing: int
    samples: int


def _controller(report: Report, fabric: Fabric, repetitions: int) -> None:
    runs = [_restart_controller(fabric) for _ in range(repetitions)]
    size = fabric.size
    report.add_series(f"controller restart, {size}: REST answers", [run.answers for run in runs], "s")
    report.add_series(f"controller restart, {size}: CPU of the controller", [run.cpu for run in runs], "s")
    in_sync = report.add_series(f"controller restart, {size}: in sync", [run.in_sync for run in runs], "s")
    report.at_most(
        f"controller restart, {size}: flows missing at any sample", max(r.missing for r in runs), 0
    )
    report.at_most(f"controller restart, {size}: in sync again after, median s", in_sync, IN_SYNC_SECONDS)
    report.note("samples while the controller was away or starting", sum(run.samples for run in runs))
    if size == LARGE:
        noted = NOTED_OVN_MAIN[size].controller_restart
        report.note("controller restart of OVN main as noted, s until in sync", noted)


def _restart_controller(fabric: Fabric) -> ControllerRestart:
    wanted = _wait_whole(fabric)
    with Sampler(fabric) as sampler:
        time.sleep(_BEFORE)
        fabric.controller.kill()
        began = time.monotonic()
        fabric.start_controller()
        answers = time.monotonic() - began
        fabric.wait_programmed()
        in_sync = time.monotonic() - began
        cpu = cpu_seconds(fabric.controller.pid)
        time.sleep(2 * _SAMPLE)
    return ControllerRestart(answers, in_sync, cpu, sampler.missing(wanted), len(sampler.samples))


# A vswitchd is killed.


class VswitchdRestart(NamedTuple):
    """Seconds since the kill."""

    answers: float
    "OpenFlow is served: vswitchd's own start, as the kernel lets it run."
    first: float
    "The first flow is there: the controller has dialled, has looked and has sent."
    whole: float


def _vswitchd(report: Report, fabric: Fabric, repetitions: int) -> None:
    runs = []
    for number in range(repetitions):
        wanted = _wait_whole(fabric)
        time.sleep(_REST)
        index = number % len(fabric.hosts)
        runs.append(_restart_vswitchd(fabric.hosts[index], wanted[index]))
    size = fabric.size
    report.add_series(f"vswitchd restart, {size}: OpenFlow answers", [run.answers for run in runs], "s")
    reached = [run.first - run.answers for run in runs]
    report.add_series(f"vswitchd restart, {size}: from there to the first flow", reached, "s")
    installed = [run.whole - run.first for run in runs]
    report.add_series(f"vswitchd restart, {size}: from there to the last", installed, "s")
    whole = report.add_series(
        f"vswitchd restart, {size}: all flows are back", [run.whole for run in runs], "s"
    )
    report.at_most(f"vswitchd restart, {size}: all flows are back after, median s", whole, FLOWS_BACK_SECONDS)
    report.note("flows of one bridge", fabric.wait_programmed().flows[0])
    report.note("vswitchd restart under OVN 23.03 as noted, s", NOTED_OVN_2303_VSWITCHD_RESTART)


def _restart_vswitchd(host: OvsHost, wanted: int) -> VswitchdRestart:
    bridge = BridgeSocket(host.management)
    counts: list[tuple[float, int]] = []
    began = time.monotonic()

    def whole() -> bool:
        count = bridge.count()
        if count is not None:
            counts.append((time.monotonic() - began, count))
        return count is not None and count >= wanted

    host.kill_vswitchd()
    host.launch_vswitchd()
    try:
        wait_until(whole, f"all flows of {host.name} are back", _PATIENCE, _POLL)
    finally:
        bridge.close()
    first = next(at for at, count in counts if count)
    return VswitchdRestart(counts[0][0], first, counts[-1][0])


if __name__ == "__main__":
    main()
