# SPDX-License-Identifier: Apache-2.0
"""One command in one guest of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.vm.debian import Unavailable, say
from tests.vm.guest.initramfs import initramfs
from tests.vm.guest.packages import Kernel, prepare
from tests.vm.guest.qemu import Accel, Machine, argv, may_have_kvm
from tests.vm.guest.scripts import command_script, second_script
from tests.vm.guest.streams import TIMED_OUT, follow

_KEPT = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "CI", "TERM", "PYENV_ROOT", "PYENV_VERSION")
"Variables without which a command would not run as it does here."

_PROBE_SECONDS = 15.0
"What /dev/kvm may need for a boot; real ones take two, and some never get there."

_CONSOLE_TAIL = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A command and how to run it."""

    line: Sequence[str]
    folder: Path
    "Where it starts."
    writable: Sequence[Path] = ()
    "Folders whose changes come back."
    environment: Mapping[str, str] = field(default_factory=dict)
    "Besides what every command gets."
    timeout: float = 600.0
    processors: int = 2
    memory: str = "2G"


def make_ready() -> None:
    """Have all that guests share, so that several may be run at once. Raises Unavailable."""
    kernel = prepare()
    _accel(kernel)
    initramfs(kernel)


def run(task: Task, output: IO[bytes] | None = None, errors: IO[bytes] | None = None) -> int:
    """Boot, run, end the guest; return the exit code, TIMED_OUT when it took too long. Raises Unavailable."""
    kernel = prepare()
    sinks = (output or sys.stdout.buffer, errors or sys.stderr.buffer)
    return _boot(task, kernel, _accel(kernel), sinks)


def _accel(kernel: Kernel) -> Accel:
    """Return KVM where a guest was seen to boot with it; what was found is kept beside the kernel."""
    if not may_have_kvm():
        return Accel.TCG
    kept = kernel.folder / "accel"
    if not kept.exists():
        kept.write_text(_probe(kernel), encoding="ascii")
    return Accel(kept.read_text(encoding="ascii"))


def _probe(kernel: Kernel) -> Accel:
    say("does KVM work here?")
    task = Task(line=["true"], folder=Path("/"), timeout=_PROBE_SECONDS)
    with Path(os.devnull).open("wb") as nowhere:
        try:
            code = _boot(task, kernel, Accel.KVM, (nowhere, nowhere))
        except Unavailable:
            code = TIMED_OUT
    found = Accel.TCG if code else Accel.KVM
    say("yes" if found is Accel.KVM else "no: every instruction will be emulated")
    return found


def _boot(task: Task, kernel: Kernel, accel: Accel, sinks: tuple[IO[bytes], IO[bytes]]) -> int:
    with ExitStack() as stack:
        job = Path(tempfile.mkdtemp(prefix="guest-"))
        stack.callback(shutil.rmtree, job, ignore_errors=True)
        _write_scripts(task, kernel, job)
        machine = Machine(
            kernel=kernel,
            initramfs=initramfs(kernel),
            accel=accel,
            job=job,
            console=job / "console",
            writable=[folder.resolve() for folder in task.writable],
            processors=task.processors,
            memory=task.memory,
        )
        pairs = [socket.socketpair() for _ in range(3)]
        ours = [stack.enter_context(pair[0]) for pair in pairs]
        qemu = stack.enter_context(_running(machine, [pair[1] for pair in pairs]))
        try:
            code = follow(ours, sinks, qemu, task.timeout)
        except Unavailable as error:
            raise Unavailable(f"{error}\n{_said(job)}") from error
        if code == TIMED_OUT:
            say(f"no end after {task.timeout:g} s\n{_said(job)}")
        return code


def _write_scripts(task: Task, kernel: Kernel, job: Path) -> None:
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    (job / "second").write_text(second_script(kernel, [folder.resolve() for folder in task.writable]))
    (job / "command").write_text(
        command_script(task.line, task.folder.resolve(), {**environment, **task.environment})
    )


@contextmanager
def _running(machine: Machine, ports: Sequence[socket.socket]) -> Iterator[subprocess.Popen[bytes]]:
    descriptors = [port.fileno() for port in ports]
    with (machine.job / "qemu.log").open("wb") as log:
        qemu = subprocess.Popen(
            argv(machine, descriptors), stdin=subprocess.DEVNULL, stderr=log, pass_fds=descriptors
        )
    for port in ports:
        port.close()
    try:
        yield qemu
    finally:
        # The command is done and what it said is here: no need to wait for a power-off.
        qemu.kill()
        qemu.wait()


def _said(job: Path) -> str:
    """Return what qemu and the kernel said last."""
    texts = [
        path.read_bytes()[-_CONSOLE_TAIL:] for path in (job / "qemu.log", job / "console") if path.exists()
    ]
    return b"\n".join(texts).decode(errors="replace").strip()
