# SPDX-License-Identifier: Apache-2.0
"""A lab and a controller a module; networks and ports a test."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from controller.intent.model import Kind
from controller.lab import Datapath, Lab, LabSettings, Underlay, down
from tests.patience import patient
from tests.system.overlay import Controller, Overlay

_PLAIN = str.maketrans("_", "0")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("system"):
            item.add_marker(pytest.mark.skip(reason="needs root: makes network namespaces"))


@pytest.fixture(scope="module")
def make_overlay() -> Iterator[Callable[..., Overlay]]:
    """Overlays of this module; each is taken down when the module ends, whatever happened to it."""
    with ExitStack() as stack:

        def make(
            *arguments: str,
            hosts: int = 3,
            underlay: Underlay = Underlay.IPV4,
            datapath: Datapath = Datapath.AUTO,
            where: str | None = None,
            enrol: bool = True,
            linux_hosts: int = 0,
        ) -> Overlay:
            # Sockets need short paths: not pytest's tmp_path.
            home = Path(tempfile.mkdtemp(prefix="sys"))
            stack.callback(shutil.rmtree, home)
            name = f"s{home.name[3:].translate(_PLAIN)}".lower()
            settings = LabSettings(
                name=name,
                hosts=hosts,
                linux_hosts=linux_hosts,
                underlay=underlay,
                datapath=datapath,
                directory=home / "lab",
            )
            stack.callback(down, settings)
            lab = Lab.up(settings)
            rest = f"unix:{home / 'rest.sock'}" if linux_hosts else ""
            controller = Controller(home / "state", lab, *arguments, "--rest", rest, where=where)
            stack.callback(_end, controller)
            controller.start()
            overlay = Overlay(lab, controller, rest)
            stack.callback(_end_agents, overlay)
            for each in lab.linux_hosts if enrol else ():
                overlay.enrol_linux(each)
            for host in lab.hosts if enrol else ():
                overlay.enrol(host, wait=False)
            for host in lab.hosts if enrol else ():
                overlay.enrol(host)
            # Agents are programs that have just been started.
            agents = [(Kind.HOST, each.name) for each in lab.linux_hosts if enrol]
            controller.settle(*agents, timeout=patient(90))
            return overlay

        yield make


@pytest.fixture
def overlay(shared: Overlay) -> Iterator[Overlay]:
    """The module's overlay (each module says what it is as `shared`), without networks."""
    if not shared.controller.runs:
        shared.controller.start()
    yield shared
    shared.clear()


def _end(controller: Controller) -> None:
    if controller.runs:
        controller.stop()
    assert not controller.complaints(), controller.complaints()


def _end_agents(overlay: Overlay) -> None:
    for agent in overlay.agents.values():
        agent.stop()
        said = agent.log.read_text(errors="replace") if agent.log.exists() else ""
        print(f"{agent.host.name}:\n{said[-2000:]}")
        assert "Traceback" not in said
