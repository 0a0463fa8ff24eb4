# SPDX-License-Identifier: Apache-2.0
"""A large fabric against a small one: the cold build, what one more port costs, and who pays for a busy switch.

    python -m benchmarks.scale [--quick]

Two controllers, each with a store of its own and fake switches in a process of their own: one of 100,000 ports, one of
1,000, with as many hosts a network. Ports are added to both in turn, so that what else the machine does hits both
alike. Everything but the hosts' OVSDB and their switches is real (scale_controller.py, fake_switches.py).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rig.daemons import rss_mib, wait_until, workspace
from benchmarks.rig.layout import Layout, dpid_of, host_name
from benchmarks.rig.report import Report, percentile, progress
from benchmarks.rig.scale_fabric import Fabric, Latencies, running

GOAL_COLD_SECONDS = 60
GOAL_ADD_MS = 5
GOAL_RATIO = 1.3
GOAL_GIB = 1.2
GOAL_BULK_MS = 10
GOAL_STUCK_RATIO = 1.2
GOAL_STUCK_MIB = 16

_BATCH = 10
"Ports that are added before as many are deleted."

_WATCHED = 3
"Switches that are compared with what the compiler wants, besides the busy and the stuck one."


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    large: Layout
    small: Layout
    repetitions: int
    "Adds, and as many deletes."
    rounds: int
    "How often the big host comes back empty while ports are added."
    folded: int
    "Changes that a stuck switch misses."


FULL = Sizes(
    large=Layout(hosts=1000, networks=1000, ports=100_000, spread=25, big=500),
    small=Layout(hosts=250, networks=10, ports=1000, spread=25),
    repetitions=200,
    rounds=10,
    folded=1000,
)
QUICK = Sizes(
    large=Layout(hosts=20, networks=20, ports=200, spread=5, big=10),
    small=Layout(hosts=20, networks=4, ports=40, spread=5),
    repetitions=10,
    rounds=2,
    folded=20,
)


def main(sizes: Sizes) -> None:
    """Measure everything and print it."""
    report = Report("scale")
    with workspace() as folder, running(folder / "large", sizes.large, watched(sizes.large)) as large:
        cold_build(report, large)
        with running(folder / "small", sizes.small, watched(sizes.small)) as small:
            growth(report, large, small, sizes.repetitions)
            small.check()
        stuck_switch(report, large, sizes)
        bulk(report, large, sizes)
        large.check()
        memory(report, large)
    report.note("layout", {"large": sizes.large.numbers, "small": sizes.small.numbers})
    report.print()


def watched(layout: Layout) -> list[str]:
    """Name the hosts whose switches are compared: the big one, the one that will be stuck, and others."""
    numbers = {0, stuck_host(layout), *range(1, layout.hosts, -(-layout.hosts // _WATCHED))}
    return [host_name(number) for number in sorted(numbers)]


def stuck_host(layout: Layout) -> int:
    """Choose a host that is not the big one."""
    return layout.hosts - 1


def cold_build(report: Report, fabric: Fabric) -> None:
    """Report what it took until every switch of an empty fabric had acknowledged all."""
    for name, phase in fabric.phases.items():
        progress(f"{name}: {phase.wall:.1f} s, {phase.cpu:.1f} s of CPU")
    wall = sum(phase.wall for phase in fabric.phases.values())
    cpu = sum(phase.cpu for phase in fabric.phases.values())
    what = f"cold build of {fabric.layout.ports:,} ports on {fabric.layout.hosts:,} switches"
    report.at_most(f"{what} (s)", wall, GOAL_COLD_SECONDS)
    report.at_most(f"{what}, CPU of the controller (s)", cpu, GOAL_COLD_SECONDS)
    report.note("cold build", {name: phase.rounded for name, phase in fabric.phases.items()})
    report.note("flows and groups sent in the cold build", fabric.switches.ask("counts")["messages"])
    fabric.check()


def growth(report: Report, large: Fabric, small: Fabric, repetitions: int) -> None:
    """Add and delete ports in both fabrics in turn."""
    found = {"large": Latencies(), "small": Latencies()}
    networks = {"large": _spread(large.quiet_networks, repetitions), "small": small.quiet_networks}
    for fabric, name in ((large, "large"), (small, "small")):
        fabric.add_and_delete(networks[name][:_BATCH])  # warm up
    for begin in range(0, repetitions, _BATCH):
        for fabric, name in ((large, "large"), (small, "small")):
            chosen = [networks[name][n % len(networks[name])] for n in range(begin, begin + _BATCH)]
            found[name].take(fabric.add_and_delete(_distinct(chosen)))
    for fabric, name in ((large, "large"), (small, "small")):
        ports = f"{fabric.layout.ports:,} ports"
        found[name].record(report, f"at {ports}")
    medians = {name: percentile(latencies.adds, 50) for name, latencies in found.items()}
    report.at_most(f"add p50 at {large.layout.ports:,} ports (ms)", medians["large"], GOAL_ADD_MS)
    ratio = medians["large"] / medians["small"]
    report.at_most(
        f"add p50 at {large.layout.ports:,} ports / at {small.layout.ports:,} ports", ratio, GOAL_RATIO
    )


def stuck_switch(report: Report, fabric: Fabric, sizes: Sizes) -> None:
    """Have a switch stop reading in the middle of a bundle, change its networks, and add ports elsewhere."""
    number = stuck_host(fabric.layout)
    host, dpid = host_name(number), dpid_of(host_name(number))
    its = fabric.networks_of(number)
    elsewhere = _spread([n for n in fabric.quiet_networks if n not in its], sizes.repetitions)
    without, during = Latencies(), Latencies()
    without.take(fabric.add_and_delete(elsewhere))
    fabric.switches.ask("stick", dpid=dpid, sticks=True)
    fabric.switches.ask("restart", dpid=dpid)
    wait_until(lambda: fabric.switches.ask("count", dpid=dpid)["messages"], f"{host} gets flows")
    rss = rss_mib(fabric.controller.pid)
    fabric.change(its, sizes.folded)
    during.take(fabric.add_and_delete(elsewhere))
    if fabric.is_programmed(host):
        raise RuntimeError(f"{host} is not stuck")
    growth_mib = rss_mib(fabric.controller.pid) - rss
    fabric.switches.ask("stick", dpid=dpid, sticks=False)
    wait_until(lambda: fabric.is_programmed(host), f"{host} catches up")
    without.take(fabric.add_and_delete(elsewhere))
    without.record(report, "elsewhere, no switch stuck")
    during.record(report, "elsewhere, a switch stuck")
    ratio = percentile(during.adds, 50) / percentile(without.adds, 50)
    report.at_most("add p50 elsewhere while a switch is stuck / without", ratio, GOAL_STUCK_RATIO)
    what = f"memory of {sizes.folded} changes that a stuck switch misses (MiB)"
    report.at_most(what, growth_mib, GOAL_STUCK_MIB)


def bulk(report: Report, fabric: Fabric, sizes: Sizes) -> None:
    """Add ports while the big host comes back empty again and again."""
    host, dpid = host_name(0), dpid_of(host_name(0))
    messages = fabric.desired(host)["messages"]
    networks = _spread(fabric.quiet_networks, sizes.repetitions)
    latencies = Latencies()
    began = time.monotonic()
    fabric.switches.ask("keep_restarting", dpid=dpid, messages=messages)
    rounds = 0
    while rounds < sizes.rounds or len(latencies.adds) < sizes.repetitions:
        latencies.take(fabric.add_and_delete(networks[:_BATCH]))
        networks = networks[_BATCH:] + networks[:_BATCH]
        rounds = fabric.switches.ask("rounds", dpid=dpid)["rounds"]
    seconds = time.monotonic() - began
    fabric.switches.ask("rest", dpid=dpid)
    latencies.record(report, f"while {messages:,} flows and groups go to one host")
    rate = rounds * messages / seconds
    report.note("flows and groups a second to that host meanwhile", round(rate))
    adds = percentile(latencies.adds, 50)
    report.at_most("add p50 while 100k flows go to one host (ms)", adds, GOAL_BULK_MS)


def memory(report: Report, fabric: Fabric) -> None:
    """Report the most that the controller held."""
    pid = fabric.controller.pid
    report.note("RSS of the controller at the end (MiB)", round(rss_mib(pid)))
    report.at_most("RSS of the controller, at most (GiB)", peak_mib(pid) / 1024, GOAL_GIB)


def peak_mib(pid: int) -> float:
    """Return the most that a process ever had resident, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _spread(networks: Sequence[int], count: int) -> list[int]:
    """Choose at most so many of the networks, evenly."""
    step = max(1, len(networks) // count)
    return list(networks[::step][:count])


def _distinct(networks: Sequence[int]) -> list[int]:
    return list(dict.fromkeys(networks))


if __name__ == "__main__":
    main(QUICK if "--quick" in sys.argv[1:] else FULL)
