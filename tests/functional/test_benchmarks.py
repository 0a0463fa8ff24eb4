# SPDX-License-Identifier: Apache-2.0
"""Every benchmark runs to its end, small, and prints figures that can be read. What they measure is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
NAMES = ("decode", "fleet", "groups", "install", "ovsdb", "resync", "rest", "restart", "scale", "verify")


@pytest.mark.parametrize("name", NAMES)
def test_runs_small(name: str):
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--quick"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["benchmark"] == name
    assert document["figures"]
    for figure in document["figures"]:
        assert figure.keys() >= {"figure", "value", "goal", "met"}
