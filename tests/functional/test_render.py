# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve render against a real controller: hosts without an agent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.controllers import Controller

HOSTS = {
    "lx1": {"endpoints": [{"address": "192.0.2.1"}]},
    "lx2": {"endpoints": [{"address": "192.0.2.2"}]},
    "fx1": {"endpoints": [{"address": "192.0.2.3"}], "tunnels": "fixed"},
}


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    folder = tmp_path / "c1"
    folder.mkdir()
    running = Controller(folder)
    running.start()
    try:
        for name, document in HOSTS.items():
            running.put(f"hosts/{name}", {"kind": "linux", **document})
        running.put("networks/blue", {"vni": 100})
        for number, name in enumerate(("web1", "db1", "fix1"), 1):
            document = {
                "network": "blue",
                "mac": f"02:00:00:00:00:0{number}",
                "addresses": [f"10.0.0.{number}"],
            }
            running.put(f"ports/{name}", document)
        yield running
    finally:
        running.http.close()
        running.end()


def render(controller: Controller, *arguments: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "controller", "render", "--server", f"unix:{controller.state}/rest.sock"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_a_host_without_an_agent_takes_part(controller: Controller) -> None:
    render(controller, "--host", "lx1", "--interface", "web1=tap7")
    render(controller, "--host", "fx1", "--interface", "fix1")
    assert controller.http.get("/v1/ports/web1").json()["status"]["host"] == "lx1"
    script = render(controller, "--host", "lx2", "--interface", "db1=eth9")
    assert script.startswith("#!/bin/sh\n")
    assert "ip link set dev eth9 master og-b000064" in script
    assert "bridge fdb replace 02:00:00:00:00:01 dev og-t000064 master static" in script
    assert "dst_ip 192.0.2.1" in script
    assert "dst_ip 192.0.2.3" in script
    checked = subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr
    # What came since: who renders again has it.
    again = render(controller, "--host", "lx1")
    assert "bridge fdb replace 02:00:00:00:00:02 dev og-t000064 master static" in again
    assert "master og-b000064" in again


def test_what_networkd_has_no_words_for_is_refused(controller: Controller) -> None:
    answer = render(controller, "--host", "lx1", "--interface", "web1", "--format", "networkd", code=1)
    assert "--format commands" in answer
    files = render(controller, "--host", "fx1", "--interface", "fix1", "--format", "networkd")
    assert "cat >/etc/systemd/network/60-og-b000064.netdev <<'EOF'" in files
    assert "Remote=192.0.2.1" in files


def test_ifupdown_makes_and_ends_it(controller: Controller) -> None:
    stanza = render(controller, "--host", "lx1", "--interface", "web1=tap7", "--format", "ifupdown")
    assert stanza.startswith("auto og-b000064\niface og-b000064 inet manual\n")
    assert "    pre-up ip link set dev tap7 master og-b000064\n" in stanza
    assert "    post-down ip link del dev og-geneve || true\n" in stanza


def test_a_port_that_can_not_be_there_is_named(controller: Controller) -> None:
    answer = render(controller, "--host", "lx1", "--interface", "nobody", code=1)
    assert "nobody" in answer
