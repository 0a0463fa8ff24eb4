# SPDX-License-Identifier: Apache-2.0
"""Real hosts under our controller, beside OVN in the same simulation: cold build, one port added and deleted, memory.

    python -m benchmarks.fleet [--quick] [--no-ovn] [--profile FILE]

Every network has ports on every host. Interfaces are plugged before the clock starts, as in OVN's simulation. A cold
build is measured twice: with a request a network, as OVN's simulation has a transaction a switch, and a request a port.
`--profile` records the controller with py-spy into FILE.cold, FILE.cold-singly and FILE.changes: it costs some speed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.rig import ovn
from benchmarks.rig.bridge_socket import Command, change_all, flow_mod
from benchmarks.rig.daemons import workspace
from benchmarks.rig.fabric import (
    BULK_CONNECTIONS,
    CONNECTIONS,
    Fabric,
    LogicalPort,
    Progress,
    Size,
    cpu_delta,
    of_daemons,
    ports_of,
    running,
    spare_ports,
)
from benchmarks.rig.ovn import LARGE, NOTED_OVN_MAIN, SMALL, SystemFigures
from benchmarks.rig.profiler import profiled
from benchmarks.rig.report import Report, percentile, progress
from benchmarks.rig.rest_client import Answer, RestClient

QUICK = Size(2, 2, 4)
CONVERGED_SECONDS = 3.0
SHARE_OF_OVN = 10
"How many times less CPU than OVN main a cold build is to cost."
P50_MS, P99_MS, CHANGE_CPU_MS = 5.0, 20.0, 15.0

_REST_BETWEEN_CHANGES = 0.03
_STEADY_SECONDS = 2.0
_POLL = 0.05
_CHECKED = 3
_UNUSED_TABLE, _MAC, _FLOWS = 200, 0x0A00FF000000, 3


class Plan(NamedTuple):
    """How much is measured."""

    sizes: Sequence[Size]
    changes: int
    ovn_changes: int
    "0 leaves OVN out."
    builds: int
    "Cold builds a size."
    profile: Path | None


def main() -> None:
    """Measure and print."""
    plan = _plan()
    report = Report("fleet")
    for size in plan.sizes:
        progress(f"-- {size}")
        builds = [_build_alone(size) for _ in range(plan.builds - 1)]
        with workspace() as folder, running(folder, size) as fabric:
            ours = _measure(report, fabric, plan, builds)
        with workspace() as folder, running(folder, size) as fabric:
            fabric.plug(ports_of(size))
            with profiled(fabric.controller.pid, _profile(plan, "cold-singly")):
                _cold_build_singly(report, fabric)
        if size in NOTED_OVN_MAIN:
            report.note(f"beside OVN main as noted, {size}", ours.beside(NOTED_OVN_MAIN[size]))
        if plan.ovn_changes:
            _measure_ovn(report, size, plan.ovn_changes, ours)
    report.print()


def _plan() -> Plan:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a small smoke run")
    parser.add_argument("--no-ovn", action="store_true", help="leave OVN out")
    parser.add_argument("--profile", type=Path, help="record the controller with py-spy")
    given = parser.parse_args()
    if given.quick:
        return Plan([QUICK], changes=4, ovn_changes=0, builds=1, profile=given.profile)
    ovn_changes = 0 if given.no_ovn else 10
    return Plan([SMALL, LARGE], changes=60, ovn_changes=ovn_changes, builds=3, profile=given.profile)


def _build_alone(size: Size) -> Settled:
    """Build a fabric for nothing but to see what that takes."""
    with workspace() as folder, running(folder, size) as fabric:
        fabric.plug(ports_of(size))
        return _build(fabric, fabric.declare_in_bulk)[1]


def _measure(report: Report, fabric: Fabric, plan: Plan, builds: Sequence[Settled]) -> SystemFigures:
    size = fabric.size
    fabric.plug(ports_of(size))
    with profiled(fabric.controller.pid, _profile(plan, "cold")):
        cold_seconds, cold_cpu = _cold_build(report, fabric, builds)
    spare = spare_ports(size, plan.changes)
    fabric.plug(spare)
    _settle(fabric, time.monotonic())
    with profiled(fabric.controller.pid, _profile(plan, "changes")):
        add, delete = _changes_at_rest(report, fabric, spare)
        add_cpu, delete_cpu = _changes_in_a_row(report, fabric, spare)
    _floor(report, fabric, len(spare))
    _check_changes(fabric, spare[:_CHECKED])
    report.note(f"memory in MiB, {size}", fabric.memory())
    _cold_start(report, fabric)
    return SystemFigures(
        cold_build=cold_seconds,
        cold_build_cpu=cold_cpu,
        add_p50=percentile(add, 50),
        add_p99=percentile(add, 99),
        delete_p50=percentile(delete, 50),
        delete_p99=percentile(delete, 99),
        add_cpu=add_cpu,
        delete_cpu=delete_cpu,
    )


def _profile(plan: Plan, what: str) -> Path | None:
    return None if plan.profile is None else plan.profile.with_name(f"{plan.profile.name}.{what}")


# Cold: everything at once.


class Settled(NamedTuple):
    """The first moment from which on every bridge held everything."""

    seconds: float
    cpu: dict[str, float]
    state: Progress


def _cold_build(report: Report, fabric: Fabric, others: Sequence[Settled]) -> tuple[float, float]:
    """Declare everything to hosts that hold nothing yet, a network with its ports a request.

    Returns seconds and CPU seconds, medians of this build and of others like it.
    """
    written, settled = _build(fabric, fabric.declare_in_bulk)
    size, flows = fabric.size, settled.state.flows
    report.add_series(f"cold build, {size}: intent written", [written], "s")
    report.note(f"flows, {size}", {"of all hosts": sum(flows), "of the host with most": max(flows)})
    report.note("connections that write the intent", BULK_CONNECTIONS)
    return _cold_figures(report, f"cold build, {size}", [*others, settled], NOTED_OVN_MAIN.get(size))


def _cold_build_singly(report: Report, fabric: Fabric) -> None:
    """Do the same with a request a port, as from an orchestrator that knows no bulk request: no goal is set for it."""
    what = f"cold build with a request a port, {fabric.size}"
    _, settled = _build(fabric, fabric.declare_singly)
    report.add_series(f"{what}: every bridge holds everything after", [settled.seconds], "s")
    report.add_series(f"{what}: CPU of all daemons", [of_daemons(settled.cpu)], "s")
    report.note(f"CPU seconds by role, {what}", settled.cpu)
    report.note("connections that write the intent, a request a port", CONNECTIONS)


def _build(fabric: Fabric, declare: Callable[[], None]) -> tuple[float, Settled]:
    before, began = fabric.cpu(), time.monotonic()
    declare()
    written = time.monotonic() - began
    settled = _settle(fabric, began, before)
    _check_ports(fabric)
    return written, settled


def _cold_start(report: Report, fabric: Fabric) -> None:
    """Have the controller start with a stored intent and with bridges that were emptied."""
    fabric.controller.kill()
    for host in fabric.hosts:
        host.ofctl("del-flows", str(host.management))
        host.ofctl("del-groups", str(host.management))
    before, began = {**fabric.cpu(), "controller": 0.0, "intent_server": 0.0}, time.monotonic()
    fabric.start_controller()
    answered = time.monotonic() - began
    settled = _settle(fabric, began, before)
    _check_ports(fabric)
    size = fabric.size
    report.add_series(f"cold start, {size}: controller answers", [answered], "s")
    _cold_figures(report, f"cold start, {size}", [settled], NOTED_OVN_MAIN.get(size))


def _cold_figures(
    report: Report, what: str, builds: Sequence[Settled], noted: SystemFigures | None
) -> tuple[float, float]:
    report.note(f"CPU seconds by role, {what}", [build.cpu for build in builds])
    seconds = report.add_series(
        f"{what}: every bridge holds everything after", [build.seconds for build in builds], "s"
    )
    cpu = report.add_series(f"{what}: CPU of all daemons", [of_daemons(build.cpu) for build in builds], "s")
    report.at_most(f"{what}: every bridge holds everything after, median s", seconds, CONVERGED_SECONDS)
    if noted is not None:
        goal = round(noted.cold_build_cpu / SHARE_OF_OVN, 2)
        report.at_most(f"{what}: CPU of all daemons, median s", cpu, goal)
    return seconds, cpu


def _settle(fabric: Fabric, began: float, before: dict[str, float] | None = None) -> Settled:
    """Wait until every bridge holds everything and this stays so; return the first such moment."""
    before = fabric.cpu() if before is None else before
    first: Settled | None = None
    while first is None or time.monotonic() - began - first.seconds < _STEADY_SECONDS:
        state = fabric.wait_programmed()
        if first is None or (state.flows, state.revision) != (first.state.flows, first.state.revision):
            first = Settled(time.monotonic() - began, cpu_delta(before, fabric.cpu()), state)
        counts = fabric.flow_counts()
        if counts != state.flows and fabric.wait_programmed() == state:
            raise RuntimeError(f"said to be programmed, but {counts} flows instead of {state.flows}")
        time.sleep(_POLL)
    return first


def _check_ports(fabric: Fabric) -> None:
    """Raise unless every declared port is bound and programmed."""
    seen = 0
    cursor: str | None = ""
    with RestClient(fabric.controller.port) as client:
        while cursor is not None:
            page = client.ask("GET", f"/v1/ports?limit=1000&cursor={cursor}").json()
            for item in page["items"]:
                if not _is_done(item):
                    raise RuntimeError(f"not bound and programmed: {item}")
            seen, cursor = seen + len(page["items"]), page["next"]
    if seen != fabric.size.all_ports:
        raise RuntimeError(f"{seen} ports are declared, not {fabric.size.all_ports}")


def _is_done(port: dict[str, Any]) -> bool:
    return all(condition["status"] == "True" for condition in port["status"]["conditions"])


# One port at a time.


def _add(client: RestClient, port: LogicalPort) -> float:
    """Declare a port and wait until it is bound and on every bridge; return the seconds."""
    began = time.monotonic()
    answer = _succeeded(client.send(port.request("?wait=programmed")))
    while not _is_done(answer.json()):
        answer = _succeeded(client.ask("GET", f"/v1/ports/{port.name}"))
    return time.monotonic() - began


def _delete(client: RestClient, port: LogicalPort) -> float:
    """Delete a port and wait until no bridge holds anything of it; return the seconds."""
    began = time.monotonic()
    answer = client.ask("DELETE", f"/v1/ports/{port.name}?wait=programmed")
    if answer.status != 204:
        raise RuntimeError(f"{port.name} is not deleted everywhere: {answer}")
    return time.monotonic() - began


def _succeeded(answer: Answer) -> Answer:
    if answer.status >= 300:
        raise RuntimeError(f"refused: {answer}")
    return answer


def _changes_at_rest(
    report: Report, fabric: Fabric, spare: Sequence[LogicalPort]
) -> tuple[list[float], list[float]]:
    """Add and delete ports with a pause after each; return the seconds of each."""
    adds, deletes = list[float](), list[float]()
    with RestClient(fabric.controller.port) as client:
        for change, taken in ((_add, adds), (_delete, deletes)):
            for port in spare:
                taken.append(change(client, port))
                time.sleep(_REST_BETWEEN_CHANGES)
    for what, taken in (("add a port", adds), ("delete a port", deletes)):
        milliseconds = [1000 * seconds for seconds in taken]
        report.add_series(f"{what}, {fabric.size}", milliseconds, "ms")
        report.at_most(f"{what}, {fabric.size}: p50, ms", percentile(milliseconds, 50), P50_MS)
        report.at_most(f"{what}, {fabric.size}: p99, ms", percentile(milliseconds, 99), P99_MS)
    return adds, deletes


def _changes_in_a_row(report: Report, fabric: Fabric, spare: Sequence[LogicalPort]) -> tuple[float, float]:
    """Add and delete ports one right after the other; return the CPU seconds of an add and of a delete."""
    each = []
    with RestClient(fabric.controller.port) as client:
        for what, change in (("add", _add), ("delete", _delete)):
            before, messages = fabric.cpu(), fabric.progress(client).messages
            taken = [1000 * change(client, port) for port in spare]
            cpu = cpu_delta(before, fabric.cpu())
            sent = sum(fabric.progress(client).messages) - sum(messages)
            report.add_series(f"{what}s in a row, {fabric.size}", taken, "ms")
            report.note(f"{what}s in a row, {fabric.size}: p50 and p99 in ms", _p50_p99(taken))
            report.note(f"messages of one {what} to one host, {fabric.size}", _share(sent, spare, fabric))
            by_role = {role: round(1000 * seconds / len(spare), 2) for role, seconds in cpu.items()}
            report.note(f"CPU ms of one {what} by role, {fabric.size}", by_role)
            figure = f"{what} a port, {fabric.size}: CPU of all daemons, ms"
            report.at_most(figure, of_daemons(by_role), CHANGE_CPU_MS)
            each.append(of_daemons(by_role) / 1000)
    return each[0], each[1]


def _share(sent: int, spare: Sequence[LogicalPort], fabric: Fabric) -> float:
    return round(sent / len(spare) / fabric.size.hosts, 2)


def _p50_p99(taken: Sequence[float]) -> list[float]:
    return [round(percentile(taken, percent), 2) for percent in (50, 99)]


def _floor(report: Report, fabric: Fabric, changes: int) -> None:
    """Write the same small change to every bridge with no controller in between: what no controller goes below."""
    commands = [(command, number) for command in Command for number in range(changes)]
    changed = [
        [flow_mod(command, _UNUSED_TABLE, _MAC + _FLOWS * number + flow) for flow in range(_FLOWS)]
        for command, number in commands
    ]
    for what, rest in (("at rest", _REST_BETWEEN_CHANGES), ("in a row", 0.0)):
        before, taken = fabric.cpu(), list[float]()
        for messages in changed:
            began = time.monotonic()
            change_all(fabric.bridges, messages)
            taken.append(1000 * (time.monotonic() - began))
            time.sleep(rest)
        cpu = 1000 * cpu_delta(before, fabric.cpu())["vswitchds"] / len(changed)
        name = f"no controller, {_FLOWS} flows to every bridge {what}, {fabric.size}"
        report.add_series(name, taken, "ms")
        report.note(
            f"{name}: p50 and p99 in ms", [round(percentile(taken, percent), 2) for percent in (50, 99)]
        )
        report.note(f"{name}: CPU ms of all vswitchds a change", round(cpu, 2))


def _check_changes(fabric: Fabric, spare: Sequence[LogicalPort]) -> None:
    """Raise unless a waited change really is on every bridge when it is answered."""
    with RestClient(fabric.controller.port) as client:
        for change, present in ((_add, True), (_delete, False)):
            for port in spare:
                change(client, port)
                at_once = fabric.flow_counts()
                wrong = [host.name for host in fabric.hosts if fabric.knows(host, port) is not present]
                if wrong or fabric.flow_counts() != at_once:
                    raise RuntimeError(f"{change.__name__} {port.name} was not all when answered: {wrong}")


# OVN, here and now.


def _measure_ovn(report: Report, size: Size, changes: int, ours: SystemFigures) -> None:
    reason = ovn.missing()
    if reason:
        report.note("OVN was not measured", reason)
        return
    document = ovn.run(size, changes)
    theirs = ovn.figures(document)
    for name, value in theirs._asdict().items():
        report.add_series(f"OVN here, {size}: {name}", [value], "s")
    report.note("OVN here", document["versions"])
    report.note(f"beside OVN here, {size}", ours.beside(theirs))


if __name__ == "__main__":
    main()
