# SPDX-License-Identifier: Apache-2.0
"""What does GENEVE cost in the kernel, as a netdev, by TC and by Open vSwitch, with and without an option?

    python -m benchmarks.kernel [--quick] [--here]

Two workloads, with interfaces of their own for each path between them; iperf3 takes the paths in turn, several rounds.
Where this machine's kernel lacks the modules all of it runs in a guest (tests/vm/guest). A guest that is emulated shows
that every path carries bulk traffic, and nothing more: the document then has a caveat, and the ratios mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.rig.daemons import wait_until, workspace
from benchmarks.rig.kernel_paths import MODULES, PATHS, VETH, Workloads, address, workloads
from benchmarks.rig.report import Report, progress
from controller.lab import commands

CAVEAT = (
    "Taken in an emulated guest: each instruction costs what its emulation takes, not what a processor takes. "
    "The ratios mean nothing; that every path carries bulk TCP is all that this shows."
)

_ROUNDS, _SECONDS = 5, 2.0
_QUICK_ROUNDS, _QUICK_SECONDS = 1, 1.0

_GUEST_SECONDS = 600.0
"All of it, boot included, beside other work."


def main(arguments: list[str]) -> int:
    """Measure, and print the document."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--here", action="store_true", help="on this kernel, or not at all")
    options = parser.parse_args(arguments)
    missing = [name for name in MODULES if commands.run(["modprobe", "-q", name], check=False).returncode]
    if missing and options.here:
        progress(f"this kernel has no {', '.join(missing)}")
        return 1
    if missing:
        progress(f"in a guest: this kernel has no {', '.join(missing)}")
        return _in_a_guest(arguments)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    rounds, seconds = (_QUICK_ROUNDS, _QUICK_SECONDS) if options.quick else (_ROUNDS, _SECONDS)
    report = Report("kernel")
    beside = " (emulated: means nothing)" if emulated() else ""
    if beside:
        report.note("caveat", CAVEAT)
    with workspace() as folder, workloads(f"bk{os.getpid()}", folder) as ends:
        progress("all paths are up")
        measure(report, ends, rounds, seconds, beside)
    if beside:
        progress(CAVEAT)
    report.print()
    return 0


def measure(report: Report, ends: Workloads, rounds: int, seconds: float, beside: str) -> None:
    """Take the paths in turn; every second round backwards, so that none always comes first."""
    rates: dict[str, list[float]] = defaultdict(list)
    with _serving(ends.target):
        for path in PATHS:
            commands.run(
                ["ping", "-q", "-c", "3", "-i", "0.3", "-W", "5", address(path)], namespace=ends.source
            )
            ends.prove(path)
        for number in range(rounds):
            for path in PATHS if number % 2 == 0 else PATHS[::-1]:
                rates[path].append(mbit_per_second(ends.source, address(path), seconds))
            progress(f"round {number + 1} of {rounds}")
    for path in PATHS:
        report.add_series(path, rates[path], "Mbit/s")
    for path in PATHS:
        if path != VETH:
            pairs = zip(rates[path], rates[VETH], strict=True)
            report.add_series(
                f"{path} / veth", [one / other for one, other in pairs], f"ratio of a round{beside}"
            )


def mbit_per_second(source: str, target: str, seconds: float) -> float:
    """Run iperf3 once; return what arrived."""
    line = ["iperf3", "-c", target, "-t", f"{seconds:g}", "-J"]
    said = json.loads(commands.run(line, namespace=source, timeout=60).stdout)
    return float(said["end"]["sum_received"]["bits_per_second"]) * 1e-6


def emulated() -> bool:
    """Tell whether this is a qemu guest without KVM, whose clock guests with it are offered."""
    vendor = Path("/sys/class/dmi/id/sys_vendor")
    clocks = Path("/sys/devices/system/clocksource/clocksource0/available_clocksource")
    if not vendor.exists() or vendor.read_text(encoding="ascii").strip() != "QEMU":
        return False
    return "kvm-clock" not in clocks.read_text(encoding="ascii")


@contextmanager
def _serving(target: str) -> Iterator[None]:
    server = subprocess.Popen(commands.argv(["iperf3", "-s"], target), stdout=subprocess.DEVNULL)
    try:
        listens = ["ss", "-Hltn", "sport", "=", ":5201"]
        wait_until(lambda: commands.run(listens, namespace=target).stdout, "iperf3 listens", pause=0.3)
        yield
    finally:
        server.kill()
        server.wait()


def _in_a_guest(arguments: list[str]) -> int:
    from tests.vm.debian import Unavailable  # noqa: PLC0415 (here, for machines without the tests)
    from tests.vm.guest.run import Task, run  # noqa: PLC0415

    root = Path(__file__).parents[1]
    task = Task(
        line=[sys.executable, "-m", "benchmarks.kernel", "--here", *arguments],
        folder=root,
        environment={"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
        timeout=_GUEST_SECONDS,
    )
    try:
        return run(task)
    except Unavailable as error:
        progress(f"no guest: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
