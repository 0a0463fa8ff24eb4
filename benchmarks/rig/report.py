# SPDX-License-Identifier: Apache-2.0
"""What a benchmark prints: machine, versions, series with min, median and max, and figures against their goals."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

PACKAGES = ("ovs-geneve", "os-ken", "ovs", "msgspec", "litestar", "uvicorn")
PROGRAMS = ("ovs-vswitchd", "ovsdb-server", "ovn-controller")


@dataclass
class Report:
    """Collects what one benchmark measured."""

    benchmark: str
    series: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: list[dict[str, Any]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def add_series(self, name: str, values: Sequence[float], unit: str) -> float:
        """Record repetitions of one measurement; return their median."""
        middle = median(values)
        self.series[name] = {
            "unit": unit,
            "repetitions": len(values),
            "min": _rounded(min(values)),
            "median": _rounded(middle),
            "max": _rounded(max(values)),
        }
        return middle

    def at_least(self, figure: str, value: float, goal: float) -> None:
        """Record a figure that is good when it is large, such as a ratio in our favour."""
        self._figure(figure, value, f">= {goal:g}", met=value >= goal)

    def at_most(self, figure: str, value: float, goal: float) -> None:
        """Record a figure that is good when it is small, such as a latency."""
        self._figure(figure, value, f"<= {goal:g}", met=value <= goal)

    def note(self, name: str, value: Any) -> None:
        """Record whatever helps to read the figures."""
        self.notes[name] = value

    def print(self) -> None:
        """Print the document, alone, to standard output."""
        document = {
            "benchmark": self.benchmark,
            "machine": machine(),
            "versions": versions(),
            "series": self.series,
            "figures": self.figures,
            "notes": self.notes,
        }
        print(json.dumps(document, indent=1))

    def _figure(self, figure: str, value: float, goal: str, *, met: bool) -> None:
        self.figures.append({"figure": figure, "value": _rounded(value), "goal": goal, "met": met})
        progress(f"{figure}: {_rounded(value)} ({goal}) {'met' if met else 'MISSED'}")


def progress(text: str) -> None:
    """Tell who watches how far it is, on standard error."""
    print(text, file=sys.stderr, flush=True)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile."""
    ordered = sorted(values)
    rank = -(-percent * len(ordered) // 100)
    return ordered[max(0, min(len(ordered) - 1, int(rank) - 1))]


def machine() -> dict[str, Any]:
    """Describe the machine and how busy it is right now."""
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
        "kernel": platform.release(),
        "load_1min": os.getloadavg()[0],
    }


def versions() -> dict[str, str]:
    """Name the versions of what is compared."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    for program in PROGRAMS:
        try:
            done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            continue
        found[program] = done.stdout.splitlines()[0].rpartition(" ")[2] if done.stdout else "?"
    return found


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
