# SPDX-License-Identifier: Apache-2.0
"""Records what the Python of a process does with py-spy, where that is installed: raw stacks, for flame graphs.

Only what holds the interpreter lock counts: a process that a switch preempted would else seem to work.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.rig.report import progress

_ATTACH_SECONDS = 1.0
_RATE = 200


@contextmanager
def profiled(pid: int, path: Path | None) -> Iterator[None]:
    """Record a process into a file for the duration of the context; do nothing without a path or py-spy."""
    program = Path(sys.executable).with_name("py-spy")
    spy = str(program) if program.exists() else shutil.which("py-spy")
    if path is None or spy is None:
        if path is not None:
            progress("no profile: py-spy is not installed")
        yield
        return
    command = [spy, "record", "--pid", str(pid), "--duration", "3600", "--rate", str(_RATE), "--gil"]
    recorder = subprocess.Popen(
        [*command, "--format", "raw", "--output", str(path)], stdout=subprocess.DEVNULL
    )
    try:
        time.sleep(_ATTACH_SECONDS)
        yield
    finally:
        recorder.send_signal(signal.SIGINT)
        recorder.wait()
