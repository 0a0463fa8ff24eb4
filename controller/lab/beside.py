# SPDX-License-Identifier: Apache-2.0
"""A controller in a process of its own, beside a lab: started, asked over REST, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from controller.lab.errors import LabError
from controller.lab.waiting import wait_until

_START_SECONDS = 20.0


class ControllerBeside:
    """The controller of a lab; its state, sockets and log are in `directory`."""

    def __init__(self, directory: Path, rest: str | None = None) -> None:
        self.directory = directory
        self.rest = rest or f"unix:{directory / 'rest.sock'}"
        self.pid = 0
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._http = _client(self.rest)

    def start(self) -> None:
        """Start it and wait until it is ready; LabError with the end of its log if it does not get there."""
        command = [sys.executable, "-m", "controller", "controller", "-v"]
        command += ["--state", str(self.directory), "--rest", self.rest]
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._process = process
        self.pid = process.pid
        try:
            wait_until(self._ready, _START_SECONDS, "the controller")
        except BaseException as error:
            self.stop()
            if not isinstance(error, Exception):
                raise  # somebody wants an end, and a `with` does not yet know of the process
            raise LabError(f"the controller does not start: {error}", self.log.read_text()[-2000:]) from error

    @property
    def log(self) -> Path:
        """Where it logs."""
        return self.directory / "controller.log"

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        """End it and wait; harmless when it has ended."""
        if self._process.poll() is None:
            os.kill(self.pid, signal_number)
            self._process.wait(20)

    def put(
        self, collection: str, name: str, document: dict[str, Any], *, wait: bool = False
    ) -> dict[str, Any]:
        """PUT one object and return it as stored; httpx.HTTPStatusError when it is refused."""
        query = {"wait": "programmed", "timeout": "10s"} if wait else {}
        answer = self._http.put(f"/v1/{collection}/{name}", json=document, params=query)
        return _checked(answer)

    def plan(self, collection: str, name: str, document: dict[str, Any]) -> dict[str, Any]:
        """Ask what a PUT would come to, without doing it."""
        return _checked(self._http.put(f"/v1/{collection}/{name}", json=document, params={"dry_run": "true"}))

    def delete(self, collection: str, name: str) -> None:
        """DELETE one object; LabError when it is refused."""
        answer = self._http.delete(f"/v1/{collection}/{name}")
        if answer.is_error:
            raise LabError(f"DELETE {collection}/{name}: {answer.status_code}", answer.text)

    def post(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        """POST a document to a path under /v1."""
        return _checked(self._http.post(f"/v1/{path}", json=document))

    def get(self, path: str) -> dict[str, Any]:
        """GET a path under /v1."""
        return _checked(self._http.get(f"/v1/{path}"))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._http.close()

    def _ready(self) -> bool:
        if self._process.poll() is not None:
            raise LabError(f"it ended with status {self._process.returncode}", "")
        try:
            return self._http.get("/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


def _client(rest: str) -> httpx.Client:
    if rest.startswith("unix:"):
        transport = httpx.HTTPTransport(uds=rest.removeprefix("unix:"))
        return httpx.Client(transport=transport, base_url="http://controller", timeout=30)
    return httpx.Client(base_url=f"http://{rest}", timeout=30)


def _checked(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_error:
        raise LabError(
            f"{answer.request.method} {answer.request.url.path}: {answer.status_code}", answer.text
        )
    document: dict[str, Any] = answer.json()
    return document
