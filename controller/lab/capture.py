# SPDX-License-Identifier: Apache-2.0
"""A packet capture that is really running when it is returned, and complete when it is stopped."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from controller.lab import commands
from controller.lab.errors import LabError
from controller.lab.waiting import wait_until

_START_TIMEOUT = 10.0


class Capture:
    """tcpdump on one interface, into a pcap file. Use it in a `with`, or call `stop`."""

    def __init__(self, namespace: str, interface: str, path: Path, expression: str = "") -> None:
        self.path = path
        self._words = path.with_name(f"{path.name}.log")
        # -Z root: Debian's tcpdump gives up root first, and then may not write here.
        line = [
            "tcpdump",
            "-i",
            interface,
            "-w",
            str(path),
            "-U",
            "--immediate-mode",
            "-s",
            "0",
            "-Z",
            "root",
        ]
        with open(self._words, "wb") as output:
            self._process = subprocess.Popen(
                commands.argv([*line, *expression.split()], namespace),
                env=commands.variables(None),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            wait_until(self._listens, _START_TIMEOUT, f"tcpdump on {interface} of {namespace}")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> Path:
        """End the capture and return the file; harmless when it has ended."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self._process.wait(10)
        return self.path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _listens(self) -> bool:
        said = self._words.read_text(errors="replace")
        if self._process.poll() is not None:
            raise LabError(f"tcpdump ends at once: {said.strip()}")
        return "listening on" in said
