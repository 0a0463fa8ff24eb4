# SPDX-License-Identifier: Apache-2.0
"""Builds the module against Debian's headers, and keeps what was built: one for each kernel and source."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

MODULE = "standin_nic"

_SOURCES = sorted(each for each in Path(__file__).parent.iterdir() if each.suffix in {".c", ".h"})


class BuildError(Exception):
    """The module cannot be built: `apt-get` or the compiler says why."""


def current_release() -> str:
    """Return the release of Debian's current kernel, from what linux-headers-amd64 depends on. Raises BuildError."""
    line = ["apt-cache", "depends", "--no-recommends", "--no-suggests", "linux-headers-amd64"]
    for update in (False, True):
        if update:
            _command(["apt-get", "-qq", "update"])
        try:
            found = re.search(r"Depends: linux-headers-(\d\S+)", _command(line))
        except BuildError:
            if update:
                raise
            continue
        if found:
            return found[1]
    raise BuildError(
        "apt knows no linux-headers-amd64: it takes a Debian machine to build for Debian's kernel"
    )


def build(release: str) -> Path:
    """Return the module for this kernel; built unless this very source was built for it before. Raises BuildError."""
    cache = _cache()
    digest = hashlib.sha256(b"".join(each.read_bytes() for each in _SOURCES)).hexdigest()[:12]
    built = cache / f"{release}-{digest}" / f"{MODULE}.ko"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            _compile(release, built)
    return built


def _compile(release: str, target: Path) -> None:
    headers = _headers(release)
    with tempfile.TemporaryDirectory(prefix="build-", dir=target.parents[1]) as name:
        work = Path(name)
        for source in _SOURCES:
            shutil.copy(source, work)
        (work / "Makefile").write_text(f"obj-m := {MODULE}.o\n", encoding="ascii")
        _command(["make", "-C", str(headers), f"M={work}", "modules"])
        target.parent.mkdir(exist_ok=True)
        (work / target.name).rename(target)


def _headers(release: str) -> Path:
    """Return the headers' folder, installed with a compiler where they are missing."""
    folder = Path("/usr/src") / f"linux-headers-{release}"
    if not (folder / "Makefile").exists() or not all(map(shutil.which, ("gcc", "make"))):
        packages = [folder.name, "gcc", "make"]
        print(f"standin: installing {' '.join(packages)}", file=sys.stderr, flush=True)
        _command(["apt-get", "-qq", "update"])
        _command(["apt-get", "-qq", "install", "-y", "--no-install-recommends", *packages])
    return folder


def _command(line: Sequence[str]) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    done = subprocess.run(
        line,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"{shlex.join(line)}: exit {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(base) / "ovs-geneve" / "standin"
    cache.mkdir(parents=True, exist_ok=True)
    return cache.resolve()
