# SPDX-License-Identifier: Apache-2.0
"""What the README says, typed by a test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMAND = Path(sys.executable).with_name("ovs-geneve")

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="a lab needs root: it makes network namespaces"),
]


def run(line: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
    """Run shell lines as a newcomer would, with this environment in the place of .venv."""
    typed = re.sub(r"(?<!\S)\.venv/bin/ovs-geneve", str(COMMAND), line)
    command = ["bash", "-e", "-o", "pipefail", "-c", typed]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)


def test_the_demo_holds_what_it_announces() -> None:
    told = run(f"{COMMAND} lab demo")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "as announced" in told.stdout
    assert told.stdout.count("✓") >= 12


def test_the_demo_holds_on_an_ipv6_underlay() -> None:
    told = run(f"{COMMAND} lab demo --underlay ipv6")
    assert told.returncode == 0, told.stdout + told.stderr


def test_the_example_works_when_pasted() -> None:
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    (example,) = (block for block in blocks if "curl" in block)
    try:
        up = run(f"{COMMAND} lab run")
        assert up.returncode == 0, up.stdout + up.stderr
        pasted = run(example)
        assert pasted.returncode == 0, pasted.stdout + pasted.stderr
        assert "2 received" in pasted.stdout
        assert '"Programmed","status":"True"' in pasted.stdout
        assert '"mtu_before":1542,"mtu_after":1534' in pasted.stdout, "the dry run says what it costs"
        assert "6 ok" in pasted.stdout
        assert "colour{hue=red}" in pasted.stdout
    finally:
        down = run(f"{COMMAND} lab down")
    assert down.returncode == 0, down.stderr
    assert run(f"{COMMAND} lab down").stdout == "ended: 0 namespaces, 0 processes\n"
