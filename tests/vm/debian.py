# SPDX-License-Identifier: Apache-2.0
"""What guests are made of, and what is built for them, comes from Debian: programs run, packages installed, a cache."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class Unavailable(Exception):
    """Raised when something cannot be had that tests of the kernel's datapath need."""


def say(message: str) -> None:
    """Tell of progress, beside what the command prints."""
    print(f"guest: {message}", file=sys.stderr, flush=True)


def command(line: Sequence[str], folder: Path | None = None) -> str:
    """Run a program to its end and return what it said. Raises Unavailable."""
    done = subprocess.run(
        line,
        cwd=folder,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Unavailable(f"{shlex.join(line)}: exit {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


def update() -> None:
    """Have apt read what there is now. Raises Unavailable."""
    command(["apt-get", "-qq", "update"])


def install(packages: Sequence[str]) -> None:
    """Install packages as they are now. Raises Unavailable."""
    say(f"installing {' '.join(packages)}")
    update()
    command(["apt-get", "-qq", "install", "-y", "--no-install-recommends", *packages])


def current(metapackage: str) -> str:
    """Return the package that linux-image-amd64 or linux-headers-amd64 depends on now. Raises Unavailable."""
    prefix = re.escape(metapackage.removesuffix("amd64"))
    line = ["apt-cache", "depends", "--no-recommends", "--no-suggests", metapackage]
    for is_fresh in (False, True):
        if is_fresh:
            update()
        try:
            found = re.search(rf"Depends: ({prefix}\d\S+)", command(line))
        except Unavailable:
            if is_fresh:
                raise
            continue
        if found:
            return found[1]
    raise Unavailable(f"apt knows no {metapackage}: it takes a Debian machine")


def cache(name: str) -> Path:
    """Return the folder of what is kept under a name."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "ovs-geneve" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, so that two who start at once do not fetch or build at once."""
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
