# SPDX-License-Identifier: Apache-2.0
"""Named network namespaces: make, enter, list, remove, and find who is inside.

Code enters a namespace on a thread of its own that then ends: a network namespace belongs to a thread, not to
the process, so the rest of the program never notices, no child is forked, and an event loop may be running.
Sockets made inside stay inside wherever they are used later.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Collection
from pathlib import Path
from threading import Thread
from typing import TypeVar

from pyroute2 import netns

from controller.lab.errors import LabError

T = TypeVar("T")

RUN = Path("/run/netns")
"Where iproute2 and pyroute2 keep namespaces by name."

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def create(name: str) -> None:
    """Make a named namespace with its loopback down. Raises LabError when the name is taken."""

    def unshare() -> None:
        _check(_libc.unshare(_CLONE_NEWNET), "unshare")
        netns.attach(name, "thread-self")

    try:
        _on_a_thread(unshare)
    except FileExistsError as error:
        raise LabError(
            f"the network namespace {name} exists already",
            "take another name for the lab, or bring that one down",
        ) from error


def remove(name: str) -> None:
    """Remove a namespace's name; the kernel ends the namespace with its last process and socket."""
    try:
        netns.remove(name)
    except FileNotFoundError:
        return


def names() -> list[str]:
    """List the named namespaces of this machine."""
    return sorted(path.name for path in RUN.iterdir()) if RUN.is_dir() else []


def exists(name: str) -> bool:
    """Tell whether a namespace of this name is there."""
    return (RUN / name).exists()


def inside(name: str, function: Callable[[], T]) -> T:
    """Call `function` inside the namespace and return what it returns, or raise what it raises."""

    def enter() -> T:
        try:
            descriptor = os.open(RUN / name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise LabError(
                f"the network namespace {name} is gone", "bring the lab down and up again"
            ) from error
        try:
            _check(_libc.setns(descriptor, _CLONE_NEWNET), f"setns {name}")
        finally:
            os.close(descriptor)
        return function()

    return _on_a_thread(enter)


def command(name: str, arguments: list[str]) -> list[str]:
    """Return the command line that runs `arguments` inside; nsenter becomes the program, with the same pid."""
    return ["nsenter", f"--net={RUN / name}", "--", *arguments]


def processes(namespaces: Collection[str]) -> frozenset[int]:
    """Return the processes whose network namespace is one of these."""
    wanted = {_identity(RUN / name) for name in namespaces} - {None}
    if not wanted:
        return frozenset()
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return frozenset(pid for pid in pids if _identity(Path(f"/proc/{pid}/ns/net")) in wanted)


def sysctl(key: str, value: int) -> None:
    """Set a net.* sysctl (slashes between its parts) of the namespace the calling thread is in."""
    Path("/proc/sys/net", key).write_text(str(value), encoding="ascii")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None  # the process or the namespace went away while we looked
    return status.st_dev, status.st_ino


def _on_a_thread(function: Callable[[], T]) -> T:
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(function())
        except BaseException as error:  # handed to the caller, who raises it
            failure.append(error)

    thread = Thread(target=run, name="netns")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
