# SPDX-License-Identifier: Apache-2.0
"""Processes that are copies of this one: they need not import again what this one has, which is most of a start."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path


class Child:
    """A process that runs a function and ends; what it says is added to a log."""

    def __init__(self, function: Callable[[], object], log: Path) -> None:
        self.pid = os.fork()
        if not self.pid:
            _be(function, log)

    def end(self, how: signal.Signals) -> int:
        """Send it a signal, and return how it ended."""
        os.kill(self.pid, how)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end, and return how it ended: below 0 by a signal, else its exit code."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _be(function: Callable[[], object], log: Path) -> None:
    """Run it, and never come back."""
    code = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = sys.stderr = open(2, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
        logging.getLogger().handlers.clear()
        function()
        code = 0
    except BaseException:  # there is nobody to raise it to
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
