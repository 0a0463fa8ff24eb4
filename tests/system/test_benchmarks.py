# SPDX-License-Identifier: Apache-2.0
"""The benchmarks that need namespaces run to their end; what they count, but no time, is held to its goal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from controller.lab import namespaces

ROOT = Path(__file__).parents[2]
SMOKE = {"dataplane": ("--quick", "--no-ovn")}

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


@cache
def document(name: str) -> dict[str, Any]:
    """What a benchmark prints; each is run once."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *SMOKE[name]]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = process.communicate(timeout=500)
    except subprocess.TimeoutExpired:
        process.terminate()  # it takes its namespaces with it
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert not [space for space in namespaces.names() if f"{process.pid}-" in space]
    told: dict[str, Any] = json.loads(out)
    return told


@pytest.mark.parametrize("name", SMOKE)
def test_a_quick_run_prints_figures_with_their_goals(name: str) -> None:
    told = document(name)
    assert told["benchmark"] == name
    assert told["machine"]
    assert told["versions"]
    assert told["figures"]
    for figure in told["figures"]:
        assert figure.keys() == {"figure", "value", "goal", "met"}
        assert isinstance(figure["value"], float)
        assert isinstance(figure["met"], bool)
    for series in told["series"].values():
        assert 0 < series["min"] <= series["median"] <= series["max"]


def test_a_connection_is_little_work() -> None:
    counted = [
        figure
        for figure in document("dataplane")["figures"]
        if "megaflows" in figure["figure"] or "lookups" in figure["figure"]
    ]
    assert len(counted) == 8
    assert [figure for figure in counted if not figure["met"]] == []
