# SPDX-License-Identifier: Apache-2.0
"""OVN beside us: what was noted of its main branch, and its own simulation run here where it is installed.

The simulation is a folder with `bench_scale.py`, named by OVN_BENCH. It prints one JSON document; what its figures
mean is in its README.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.rig.fabric import Size

SIMULATION = Path(__file__).parents[3] / "shared" / "bench" / "ovn"
PROGRAMS = ("ovn-controller", "ovn-northd", "ovn-nbctl", "ovsdb-server", "ovs-vswitchd")
_PATIENCE = 400.0


class SystemFigures(NamedTuple):
    """What one system needs: times in seconds, CPU seconds of all its daemons."""

    cold_build: float
    cold_build_cpu: float
    add_p50: float
    add_p99: float
    delete_p50: float
    delete_p99: float
    add_cpu: float
    delete_cpu: float
    controller_restart: float | None = None
    "Until it is in sync again."

    def beside(self, other: SystemFigures) -> dict[str, dict[str, float]]:
        """Return each figure of this and of another system, and how many times ours is the smaller."""
        pairs = zip(self._fields, self, other, strict=True)
        return {
            name: {"ours": round(ours, 4), "theirs": theirs, "theirs / ours": round(theirs / ours, 1)}
            for name, ours, theirs in pairs
            if ours and theirs
        }


SMALL, LARGE = Size(10, 10, 100), Size(25, 25, 100)

NOTED_OVN_MAIN = {
    SMALL: SystemFigures(2.75, 4.9, 0.061, 0.081, 0.053, 0.063, 0.14, 0.12, 1.2),
    LARGE: SystemFigures(21.1, 32.8, 0.226, 0.305, 0.173, 0.241, 0.47, 0.38, 8.2),
}
"""OVN 26.03.90 with OVS 3.7.90, built from source: the same simulation on an idle machine of 2 cores, as noted in
ovn-baseline.md. 23.03, which Debian has, is slower."""

NOTED_OVN_2303_VSWITCHD_RESTART = 1.34
"Seconds from SIGKILL of a vswitchd until all its flows are back, 25 chassis, OVN 23.03.1 on an idle machine."


def missing() -> str:
    """Say what keeps OVN's simulation from being run here; empty when nothing does."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return "" if _script().exists() else "its simulation is not there; OVN_BENCH names the folder"


def run(size: Size, repetitions: int, *, only_cold: bool = False) -> dict[str, Any]:
    """Run OVN's simulation and return its document."""
    command = [sys.executable, str(_script()), "--chassis", str(size.hosts), "--switches", str(size.networks)]
    command += ["--ports", str(size.ports), "--reps", str(repetitions), "--restarts", "1"]
    done = subprocess.run(
        command + ["--only-cold"] * only_cold,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=_PATIENCE,
    )
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def figures(document: dict[str, Any]) -> SystemFigures:
    """Pick what is compared out of the simulation's document."""
    cold, changes = document["cold_median"], document["incremental"]
    return SystemFigures(
        cold_build=cold["t_converged_s"],
        cold_build_cpu=cold["cpu_s"]["total_daemons"],
        add_p50=changes["add_hv_s"]["p50"],
        add_p99=changes["add_hv_s"]["p99"],
        delete_p50=changes["del_hv_s"]["p50"],
        delete_p99=changes["del_hv_s"]["p99"],
        add_cpu=changes["cpu_s_per_add"]["total_daemons"],
        delete_cpu=changes["cpu_s_per_del"]["total_daemons"],
        controller_restart=document["controller_restart"]["sync_s"]["p50"],
    )


def _script() -> Path:
    folder = os.environ.get("OVN_BENCH")
    return (SIMULATION if folder is None else Path(folder)) / "bench_scale.py"
