# SPDX-License-Identifier: Apache-2.0
"""`ovs-geneve agent --store` as it is started, on the kernel of a network namespace, whatever that kernel can do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.lab import namespaces
from tests.functional.controllers import PATIENCE, World, store_server, until
from tests.functional.test_linux_shares import is_gone, put_port, said

pytestmark = pytest.mark.system


@pytest.fixture
def world() -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="sys"))
    made = store_server(folder)
    yield made
    made.close()
    shutil.rmtree(folder)


@pytest.fixture
def namespace() -> Iterator[str]:
    """One with the interface of a workload."""
    name = f"ost{os.getpid()}"
    namespaces.create(name)
    try:
        ip(name, "link", "add", "tap1", "type", "veth", "peer", "name", "far1")
        ip(name, "link", "set", "tap1", "alias", "a1", "up")
        yield name
    finally:
        namespaces.remove(name)


def ip(namespace: str, *words: str) -> str:
    done = subprocess.run(["ip", "-n", namespace, *words], capture_output=True, text=True, check=True)
    return done.stdout


def devices(namespace: str) -> set[str]:
    return {
        line.split(":")[1].strip().partition("@")[0]
        for line in ip(namespace, "-o", "link", "show").splitlines()
    }


def agent(world: World, namespace: str, *options: str) -> subprocess.Popen[bytes]:
    words = ["--host", "lx1", "--netns", namespace, "--state", str(world.folder / "agent"), *options]
    return subprocess.Popen([sys.executable, "-m", "controller", "agent", *words])


def test_it_keeps_a_kernel_and_is_known_to_controllers(world: World, namespace: str) -> None:
    before = devices(namespace)
    central = world.controller("a", "--store", world.store)
    central.start()
    # With fixed tunnels and no other host there is a bridge with the workload, and no tunnel.
    host = {"kind": "linux", "endpoints": [{"address": "192.0.2.1"}], "tunnels": "fixed"}
    central.put("hosts/lx1", host)
    central.put("networks/blue", {"vni": 100})
    put_port(central, "a1", 1)
    running = agent(world, namespace, "--store", world.store)
    try:
        until(lambda: said(central, "ports/a1")["Bound"][2] == "lx1", "the port is bound")
        until(lambda: said(central)["Connected"][2] == "by controller agent-lx1", lambda: str(said(central)))
        # Either the kernel has the network's bridge, or the controller says what it refused.
        until(
            lambda: "og-b000064" in devices(namespace) or said(central)["Provisioned"][0] == "False",
            lambda: str(said(central)),
        )
        made = devices(namespace)
        running.send_signal(signal.SIGTERM)
        assert running.wait(PATIENCE) == 0
        until(lambda: is_gone(central), lambda: str(said(central)))
        assert devices(namespace) == made, "what it made stays"
    finally:
        running.kill()
        running.wait()
    assert agent(world, namespace, "--remove").wait(PATIENCE) == 0
    assert devices(namespace) == before
