# SPDX-License-Identifier: Apache-2.0
"""What a guest is made of: a few Debian packages that get installed, and a kernel that is only unpacked."""

from __future__ import annotations

import fcntl
import lzma
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KERNEL = "linux-image-amd64"
"Debian's package that depends on the current kernel."

_TOOLS = {
    "qemu-system-x86": Path("/usr/bin/qemu-system-x86_64"),
    "busybox-static": Path("/bin/busybox"),
    "kmod": Path("/sbin/depmod"),
}
"A package, and a file that shows it is there."

_XZ = b"\xfd7zXZ\x00"


class GuestError(Exception):
    """A guest cannot be made, or ended before its command did."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel in the cache."""

    folder: Path

    @property
    def release(self) -> str:
        """As `uname -r` prints it."""
        return (self.folder / "release").read_text(encoding="ascii")

    @property
    def image(self) -> Path:
        """What qemu loads: an ELF file, which it enters without the guest having to decompress anything."""
        return self.folder / "vmlinux"

    @property
    def root(self) -> Path:
        """Where the package is unpacked."""
        return self.folder / "root"

    @property
    def modules(self) -> Path:
        """The folder of its modules."""
        return self.root / "lib/modules" / self.release


def say(message: str) -> None:
    """Tell of progress, beside what the command prints."""
    print(f"guest: {message}", file=sys.stderr, flush=True)


def prepare() -> Kernel:
    """Install and fetch what is missing; return the kernel. Raises GuestError."""
    if platform.machine() != "x86_64":
        raise GuestError(f"guests are for x86_64, this machine is {platform.machine()}")
    cache = _cache()
    with _locked(cache / "lock"):
        _install_tools()
        return _kernel(cache)


def command(line: Sequence[str], folder: Path | None = None) -> str:
    """Run a program to its end and return what it said. Raises GuestError."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        line,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise GuestError(f"{shlex.join(line)}: exit {done.returncode}\n{done.stdout[-2000:]}")
    return done.stdout


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(base) / "ovs-geneve" / "guest"
    cache.mkdir(parents=True, exist_ok=True)
    return cache.resolve()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock, so that two who start at once do not fetch at once."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install_tools() -> None:
    missing = [name for name, path in _TOOLS.items() if not path.exists()]
    if not missing:
        return
    say(f"installing {' '.join(missing)}")
    command(["apt-get", "-qq", "update"])
    command(["apt-get", "-qq", "install", "-y", "--no-install-recommends", *missing])


def _kernel(cache: Path) -> Kernel:
    """Return the cached kernel, or fetch the one Debian has now."""
    ready = sorted(cache.glob("linux-image-*/ready"), key=lambda path: path.stat().st_mtime)
    if ready:
        return Kernel(ready[-1].parent)
    package = _package() or _package(update=True)
    if package is None:
        raise GuestError(f"apt knows no {KERNEL}: it takes a Debian machine to fetch Debian's kernel")
    say(f"fetching {package}")
    work = Path(tempfile.mkdtemp(prefix="fetch-", dir=cache))
    try:
        _unpack(package, work)
        target = cache / package
        shutil.rmtree(target, ignore_errors=True)
        return Kernel(work.rename(target))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _package(*, update: bool = False) -> str | None:
    try:
        if update:
            command(["apt-get", "-qq", "update"])
        said = command(["apt-cache", "depends", "--no-recommends", "--no-suggests", KERNEL])
    except GuestError:
        if update:
            raise
        return None
    found = re.search(r"Depends: (linux-image-\d\S+)", said)
    return found[1] if found else None


def _unpack(package: str, work: Path) -> None:
    download = ["apt-get", "-o", "APT::Sandbox::User=root", "download", package]
    try:
        command(download, work)
    except GuestError:  # lists older than what the mirror holds
        command(["apt-get", "-qq", "update"])
        command(download, work)
    archive = next(work.glob("*.deb"))
    root = work / "root"
    command(["dpkg", "-x", str(archive), str(root)])
    archive.unlink()
    if not (root / "lib").exists():  # packages of newer releases are below /usr alone
        (root / "lib").symlink_to("usr/lib")
    release = next((root / "lib/modules").iterdir()).name
    command(["/sbin/depmod", "-b", str(root), release])
    image = next((root / "boot").glob("vmlinuz-*")).read_bytes()
    (work / "vmlinux").write_bytes(elf_of(image))
    (work / "release").write_text(release, encoding="ascii")
    (work / "ready").touch()


def elf_of(image: bytes) -> bytes:
    """Return the ELF file within a bzImage; what has none as it is, which boots as well, later."""
    at = image.find(_XZ)
    while at >= 0:
        try:
            elf = lzma.LZMADecompressor().decompress(image[at:])
        except lzma.LZMAError:
            elf = b""
        if elf.startswith(b"\x7fELF"):
            return elf
        at = image.find(_XZ, at + 1)
    return image
