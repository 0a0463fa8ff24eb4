# SPDX-License-Identifier: Apache-2.0
"""A controller that is a copy of this process, which imports once what both its lives are made of."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx

import controller.process  # noqa: F401  # for the copies
from controller.cli.controller import controller as command
from tests.functional.controllers import until
from tests.functional.ovsdb.conftest import listens
from tests.storm.children import Child


class Controller:
    """`ovs-geneve controller` with its state in a folder, and a client of its REST."""

    def __init__(self, folder: Path) -> None:
        self.state = folder
        self._socket = folder / "rest.sock"
        self._log = folder.with_suffix(".log")
        transport = httpx.HTTPTransport(uds=str(self._socket), verify=False)
        self.http = httpx.Client(transport=transport, base_url="http://it", timeout=30)

    @property
    def url(self) -> str:
        """Its REST, as agents and commands are told it."""
        return f"unix:{self._socket}"

    @property
    def store(self) -> str:
        """The OVSDB of its intent."""
        return f"unix:{self.state}/db.sock"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._socket.unlink(missing_ok=True)
        words = ["--state", str(self.state), "--rest", self.url]
        self._child = Child(
            lambda: command.main(words, prog_name="ovs-geneve controller", standalone_mode=False), self._log
        )
        until(self._answers, self.log)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        assert self._child.end(how) in (0, -how), self.log()

    def log(self) -> str:
        """Return what it said last."""
        return self._log.read_text(errors="replace")[-3000:] if self._log.exists() else ""

    def _answers(self) -> bool:
        return listens(self._socket) and self.http.get("/readyz").status_code == 200
