# SPDX-License-Identifier: Apache-2.0
"""Builds the module against Debian's headers, and keeps what was built: one for each kernel and source."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from tests.vm.debian import cache, command, current, install, locked

MODULE = "standin_nic"

_SOURCES = sorted(each for each in Path(__file__).parent.iterdir() if each.suffix in {".c", ".h"})


def current_release() -> str:
    """Return the release of Debian's current kernel, from what linux-headers-amd64 depends on. Raises Unavailable."""
    return current("linux-headers-amd64").removeprefix("linux-headers-")


def build(release: str) -> Path:
    """Return the module for this kernel; built unless this very source was built for it before. Raises Unavailable."""
    kept = cache("standin")
    digest = hashlib.sha256(b"".join(each.read_bytes() for each in _SOURCES)).hexdigest()[:12]
    built = kept / f"{release}-{digest}" / f"{MODULE}.ko"
    with locked(kept):
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
        command(["make", "-C", str(headers), f"M={work}", "modules"])
        target.parent.mkdir(exist_ok=True)
        (work / target.name).rename(target)


def _headers(release: str) -> Path:
    """Return the headers' folder, installed with a compiler where they are missing."""
    folder = Path("/usr/src") / f"linux-headers-{release}"
    if not (folder / "Makefile").exists() or not all(map(shutil.which, ("gcc", "make"))):
        install([folder.name, "gcc", "make"])
    return folder
