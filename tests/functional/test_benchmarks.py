# SPDX-License-Identifier: Apache-2.0
"""Each benchmark runs to its end on real daemons and prints what `python -m benchmarks` reads. No figure is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

NAMES = [
    "decode",
    "install",
    "ovsdb",
    "resync",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_runs_and_prints_its_document(name: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["benchmark"] == name
    assert document["series"]
    assert all(figure.keys() == {"figure", "value", "goal", "met"} for figure in document["figures"])
    assert document["figures"]
