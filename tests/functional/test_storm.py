# SPDX-License-Identifier: Apache-2.0
"""500 random operations, agents killed in between, over kernels in memory: tests/vm/test_storm.py has real ones."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.agent.source import RestSource
from tests.functional.controllers import Controller
from tests.functional.intent.stores import load
from tests.storm.check import settle
from tests.storm.documents import AGENTS
from tests.storm.simulated import SimulatedFleet
from tests.storm.storm import Storm

OPERATIONS = 500
SEED = int(os.environ.get("STORM_SEED", "0")) or random.randrange(1, 1 << 31)


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    folder = tmp_path / "c1"
    folder.mkdir()
    running = Controller(folder)
    running.start()
    try:
        yield running
    finally:
        running.http.close()
        running.end()


def test_kernels_are_as_compiled_whatever_happened(controller: Controller, tmp_path: Path) -> None:
    print(f"seed {SEED}")
    url = f"unix:{controller.state}/rest.sock"
    fleet = SimulatedFleet(tmp_path, AGENTS, lambda host: RestSource(url, host))
    storm = Storm(SEED, controller.http, fleet)

    def restart() -> None:
        controller.end(signal.SIGKILL)
        controller.start()

    fleet.restart = restart

    def check() -> None:
        storm.revive()
        settle(
            controller.http,
            AGENTS,
            fleet.observe,
            lambda: asyncio.run(load(f"unix:{controller.state}/db.sock")),
            60,
        )

    try:
        storm.begin()
        for number in range(1, OPERATIONS):
            print(number, storm.step())
            if number % 100 == 0:
                check()
            if number == OPERATIONS // 2:
                storm.restart_controller()
        check()
    finally:
        fleet.close()
    assert storm.count == OPERATIONS
    print(dict(storm.done), f"refused: {storm.refused}")
