# SPDX-License-Identifier: Apache-2.0
import asyncio
import gc
import shutil
import tempfile
import threading
import time
import warnings
from pathlib import Path

import pytest
import uvicorn
from click.testing import CliRunner

from controller.api.server import create_app
from controller.cli.main import main
from tests.unit.api.backend import FakeController


class Served:
    """A controller without hosts behind REST on a Unix socket, in a thread with a loop of its own."""

    def __init__(self, socket):
        self.server = f"unix:{socket}"
        self.backend = FakeController()
        self._uvicorn = None
        self._socket = socket
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self):
        self._thread.start()
        deadline = time.monotonic() + 10
        while not (self._uvicorn and self._uvicorn.started):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        return self

    def __exit__(self, *_):
        self._uvicorn.should_exit = True
        self._thread.join(10)

    def submit(self, command):
        """Carry a command out that no user gives."""
        return asyncio.run_coroutine_threadsafe(self.backend.submit(command), self._loop).result(10)

    async def _serve(self):
        self._loop = asyncio.get_running_loop()
        await self.backend.service.start()
        config = uvicorn.Config(
            create_app(self.backend), uds=str(self._socket), lifespan="off", log_config=None
        )
        self._uvicorn = uvicorn.Server(config)
        await self._uvicorn.serve()
        await self.backend.service.stop()


@pytest.fixture
def httpcore_leaks():
    """httpcore leaves a Unix socket to the collector that it could not connect; have that done here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@pytest.fixture
def served():
    folder = Path(tempfile.mkdtemp(prefix="cli-"))
    with Served(folder / "rest.sock") as running:
        yield running
    shutil.rmtree(folder)


@pytest.fixture
def run(served):
    """Run `ovs-geneve` against the controller that is served."""

    def run(*arguments, text=None):
        environment = {"OVS_GENEVE_SERVER": served.server}
        return CliRunner().invoke(main, arguments, input=text, env=environment)

    return run
