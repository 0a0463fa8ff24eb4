# SPDX-License-Identifier: Apache-2.0
"""Does the pipeline cost anything once packets flow, and how much work is a new connection?

    python -m benchmarks.dataplane [--quick] [--no-ovn]

Two hosts in network namespaces on the userspace datapath, a workload on each. One TCP connection runs throughout;
beneath it the bridges' flows are swapped again and again: the controller's, and two hand-written ones a bridge. So
daemons, ports, tunnel and connection are the same; what differs is what the flows make the datapath do.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, stdev

from benchmarks.rig import ovn_dataplane
from benchmarks.rig.daemons import wait_until, workspace
from benchmarks.rig.datapath import (
    capture_syn,
    lookups_receiving,
    lookups_sending,
    megaflows,
    purge,
)
from benchmarks.rig.report import Report, progress
from benchmarks.rig.traffic import connections, iperf3, ping, received_bytes, stream
from benchmarks.rig.two_hosts import IPV4, IPV6, SOURCE, TARGET, FlowSet, TwoHosts, dumped, two_hosts

OURS, PLAIN, TWO = "ours, one option", "ours, no option", "two hand-written flows"

_UNIT = "Mbit per vswitchd CPU s"

_PLAIN_EVERY = 3
"Rounds; it says what the option costs, and has no goal."

_SETTLE = 0.2
"Seconds from a swap until the datapath's caches are warm again."

_SHARE, _MEGAFLOWS, _SENDING, _RECEIVING = 0.97, 3, 10, 6
"The goals."

_OVN_SHARE = 0.9
"Not slower than OVN: single runs of either scatter by a tenth, and its benchmark runs as a whole."


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How often and how long."""

    connections: int = 1000
    rounds: int = 36
    seconds: float = 1.0
    ping_rounds: int = 5
    pings: int = 100


QUICK = Effort(connections=200, rounds=4, seconds=0.3, ping_rounds=2, pings=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What went through with one set of flows, and what it cost."""

    mbit: float
    cpu: float
    wall: float

    @property
    def rate(self) -> float:
        """Mbit per CPU second of both ovs-vswitchd; the kernel tells hundredths of a second."""
        return self.mbit / max(self.cpu, 0.01)


def main(arguments: list[str]) -> int:
    """Measure, and print the document."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds")
    parser.add_argument("--no-ovn", action="store_true", help="leave OVN out")
    options = parser.parse_args(arguments)
    effort = QUICK if options.quick else Effort()
    # What a signal ends takes its namespaces with it.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    report = Report("dataplane")
    with workspace() as folder, two_hosts(f"bdp{os.getpid()}", folder) as net:
        progress("two hosts are up")
        for address in (IPV4, IPV6):
            count_megaflows(report, net, address, effort.connections)
            count_lookups(report, net, address)
        net.controller.stop()
        measure_throughput(report, net, effort)
        measure_pings(report, net, effort)
        net.install(net.stamped)
        if dumped(net.lab) != net.stamped:
            raise RuntimeError("the bridges do not hold what the controller had programmed")
        if not options.no_ovn:
            compare_with_ovn(report, net, folder)
    report.print()
    return 0


def count_megaflows(report: Report, net: TwoHosts, address: str, count: int) -> None:
    """Count the datapath's entries for many connections between two ports."""
    for host in net.lab.hosts:
        purge(host)
    with connections(net.lab, SOURCE, TARGET, address, count):
        for side, host in (("sender", net.sender), ("receiver", net.receiver)):
            found = megaflows(host, _version(address))
            report.note(f"megaflows of the {side}, IPv{_version(address)}", found)
            report.at_most(
                f"megaflows of the {side}, {count} TCP connections on IPv{_version(address)}",
                len(found),
                _MEGAFLOWS,
            )


def count_lookups(report: Report, net: TwoHosts, address: str) -> None:
    """Count the OpenFlow tables that the first packet of a connection visits, by ofproto/trace of a real SYN."""
    connected: AbstractContextManager[None] = connections(net.lab, SOURCE, TARGET, address, 1)
    syn = capture_syn(net.lab, net.receiver, connected)
    name = f"first packet's OpenFlow lookups, {{}}, IPv{_version(address)}"
    report.at_most(name.format("sender"), lookups_sending(net.sender, SOURCE, syn), _SENDING)
    report.at_most(name.format("receiver"), lookups_receiving(net.receiver, TARGET, syn), _RECEIVING)


def measure_throughput(report: Report, net: TwoHosts, effort: Effort) -> None:
    """Swap flows beneath one busy connection; compare what a CPU second of both ovs-vswitchd moves."""
    sets = {OURS: net.stamped, TWO: net.two_flows(), PLAIN: net.plain}
    rounds: list[dict[str, Slice]] = []
    with stream(net.lab, SOURCE, TARGET, IPV4) as sender:
        report.note("sends", sender)
        time.sleep(1)
        for number in range(effort.rounds):
            names = [name for name in sets if name != PLAIN or number % _PLAIN_EVERY == 0]
            order = names if number % 2 == 0 else reversed(names)
            rounds.append({name: _slice(net, sets[name], effort.seconds) for name in order})
    for name in sets:
        slices = [each[name] for each in rounds if name in each]
        report.add_series(f"throughput, {name}", [each.mbit / each.wall for each in slices], "Mbit/s")
        report.add_series(f"per CPU second, {name}", [each.rate for each in slices], _UNIT)
    report.at_least(
        f"throughput per vswitchd CPU second: {OURS} / {TWO}", _ratio(report, rounds, OURS), _SHARE
    )
    _ratio(report, rounds, PLAIN)


def measure_pings(report: Report, net: TwoHosts, effort: Effort) -> None:
    """Ping with both sets of flows in turn."""
    sets = {OURS: net.stamped, TWO: net.two_flows()}
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(effort.ping_rounds):
        for name, flows in sets.items():
            net.install(flows)
            ping(net.lab, SOURCE, IPV4, 3)
            times[name].append(median(ping(net.lab, SOURCE, IPV4, effort.pings)))
    for name, medians in times.items():
        report.add_series(f"ping p50 a round, {name}", medians, "ms")


def compare_with_ovn(report: Report, net: TwoHosts, folder: Path) -> None:
    """Run iperf3 as the OVN benchmark does, once before and once after it."""
    missing = ovn_dataplane.missing()
    if missing:
        report.note("OVN", f"left out: {missing}")
        return
    before = iperf3_per_cpu_second(net)
    theirs = ovn_dataplane.run(folder)
    runs = [before, iperf3_per_cpu_second(net)]
    ours = report.add_series(f"a run of iperf3, {OURS}", runs, _UNIT)
    report.add_series("a run of iperf3, OVN without ACL", [theirs.without_acl], _UNIT)
    report.add_series("a run of iperf3, two flows beside OVN", [theirs.two_flows], _UNIT)
    report.note("OVN", theirs.counts)
    report.at_least(
        f"throughput per vswitchd CPU second: {OURS} / OVN without ACL", ours / theirs.without_acl, _OVN_SHARE
    )


def iperf3_per_cpu_second(net: TwoHosts) -> float:
    """Return the Mbit that a CPU second of both ovs-vswitchd moves in one run of iperf3."""
    before = net.vswitchd_seconds()
    mbit = iperf3(net.lab, SOURCE, TARGET, IPV4, ovn_dataplane.SECONDS)
    return mbit / (net.vswitchd_seconds() - before)


def _slice(net: TwoHosts, flows: FlowSet, seconds: float) -> Slice:
    net.install(flows)
    time.sleep(_SETTLE)
    began, received, used = time.monotonic(), received_bytes(net.lab, TARGET), net.vswitchd_seconds()
    # A connection may be waiting for a retransmission: such a slice takes longer, and is none the dearer.
    wait_until(lambda: received_bytes(net.lab, TARGET) > received, "something arrives")
    time.sleep(seconds)
    return Slice(
        mbit=(received_bytes(net.lab, TARGET) - received) * 8e-6,
        cpu=net.vswitchd_seconds() - used,
        wall=time.monotonic() - began,
    )


def _ratio(report: Report, rounds: list[dict[str, Slice]], name: str) -> float:
    """Return the median over the rounds of the ratio to the two flows; note how far it can be trusted."""
    pairs = [(each[name], each[TWO]) for each in rounds if name in each]
    ours, two = (_whole(slices) for slices in zip(*pairs, strict=True))
    ratios = [one.rate / other.rate for one, other in pairs]
    found = {
        "median of rounds": median(ratios),
        "all rounds together": ours.rate / two.rate,
        "standard error of the mean of rounds": stdev(ratios) / len(ratios) ** 0.5,
    }
    report.note(f"{name} / {TWO}", {what: round(value, 3) for what, value in found.items()})
    return median(ratios)


def _whole(slices: Iterable[Slice]) -> Slice:
    mbit, cpu, wall = (sum(each) for each in zip(*((s.mbit, s.cpu, s.wall) for s in slices), strict=True))
    return Slice(mbit=mbit, cpu=cpu, wall=wall)


def _version(address: str) -> int:
    return 6 if ":" in address else 4


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
