# SPDX-License-Identifier: Apache-2.0
"""OVN's data plane on two hosts, by the benchmark in the folder $OVN_BENCH, where it and OVN are installed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rig.report import progress
from controller.lab import commands, namespaces

FOLDER = Path(os.environ.get("OVN_BENCH") or Path(__file__).parents[3] / "shared/bench/ovn")
SCRIPT = FOLDER / "bench_dataplane.py"

SECONDS = 10
"Of a run of iperf3: one long run scatters less than several short ones of the same length in all."

_NEEDED = ("ovn-nbctl", "ovn-northd", "ovn-controller", "ethtool", "iperf3", "ip")
_PATIENCE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class OvnFigures:
    """What its benchmark measured; rates are Mbit per CPU second of both ovs-vswitchd in a run of iperf3."""

    without_acl: float
    two_flows: float
    "Hand-written, and without the outer checksum that OVN has set."
    counts: Mapping[str, Any]


def missing() -> str:
    """Say what is not there; the empty string if all is."""
    if not SCRIPT.exists():
        return f"no {SCRIPT.name} in $OVN_BENCH"
    return ", ".join(name for name in _NEEDED if commands.find(name) is None)


def run(folder: Path) -> OvnFigures:
    """Run it, which takes about two minutes; whatever happens, nothing of it stays."""
    prefix = f"bdpovn{os.getpid()}-"
    place = folder / "ovn"
    place.mkdir()
    out = folder / "ovn.json"
    line = [sys.executable, str(SCRIPT), "--seconds", str(SECONDS), "--rounds", "1"]
    progress("OVN, the same with its own benchmark")
    process = subprocess.Popen(
        [*line, "--prefix", prefix, "--out", str(out)],
        stdout=subprocess.DEVNULL,
        cwd=place,
        env={
            **os.environ,
            "TMPDIR": str(place),
        },  # where its daemons have their files, by which they are found
    )
    try:
        if process.wait(_PATIENCE):
            raise RuntimeError(f"{SCRIPT.name} ended with {process.returncode}")
    finally:
        _end(process, prefix, place)
    return _figures(json.loads(out.read_text()))


def _end(process: subprocess.Popen[bytes], prefix: str, place: Path) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)  # it cleans up, unless SIGINT is ignored since before we began
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
        process.kill()
        process.wait()
    left = [name for name in namespaces.names() if name.startswith(prefix)]
    commands.end(namespaces.processes(left) | _naming(place))
    for name in left:
        namespaces.remove(name)


def _naming(place: Path) -> frozenset[int]:
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return frozenset(pid for pid in pids if any(f"{place}/" in word for word in commands.command_line(pid)))


def _figures(document: dict[str, Any]) -> OvnFigures:
    variants = document["variants"]
    bare = variants["ovn_no_acl"]
    return OvnFigures(
        without_acl=bare["iperf3_tcp"]["mbit_per_vswitchd_cpu_s"],
        two_flows=variants["two_static_flows_no_ovn"]["iperf3_tcp"]["mbit_per_vswitchd_cpu_s"],
        counts={
            "version": document["versions"],
            "ping p50, ms": bare["ping_rtt_ms"]["p50"],
            "lookups": {side: each["table_lookups"] for side, each in bare["trace"].items()},
            "megaflows": {side: each["all"] for side, each in bare["connections"]["megaflows"].items()},
        },
    )
