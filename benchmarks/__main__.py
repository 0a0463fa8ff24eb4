# SPDX-License-Identifier: Apache-2.0
"""Runs every benchmark, one after the other, prints their documents and at last all figures.

    python -m benchmarks [NAME …]

Each document is also written to benchmarks/results/NAME.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.rig.report import progress

NAMES = (  # `kernel` too, by name: where it takes a guest it takes minutes, and the figures mean nothing
    "encode",
    "decode",
    "install",
    "resync",
    "ovsdb",
    "fleet",
    "scale",
    "rest",
    "restart",
    "dataplane",
    "groups",
    "verify",
)
RESULTS = Path(__file__).parent / "results"


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; tell by the status whether each ran to its end."""
    RESULTS.mkdir(exist_ok=True)
    figures: list[tuple[str, dict[str, Any]]] = []
    failed = []
    for name in names or NAMES:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.PIPE, text=True, check=False
        )
        progress(f"== {name}: {time.monotonic() - began:.0f} s")
        if done.returncode:
            failed.append(name)
            continue
        print(done.stdout, end="", flush=True)
        (RESULTS / f"{name}.json").write_text(done.stdout)
        figures += [(name, figure) for figure in json.loads(done.stdout)["figures"]]
    for name, figure in figures:
        mark = "met" if figure["met"] else "MISSED"
        progress(f"{name:10} {figure['figure']:75} {figure['value']:>10}  {figure['goal']:>10}  {mark}")
    for name in failed:
        progress(f"{name:10} FAILED")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
