# SPDX-License-Identifier: Apache-2.0
"""What a guest is made of: a few Debian packages that get installed, and a kernel that is only unpacked."""

from __future__ import annotations

import lzma
import platform
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.vm.debian import Unavailable, cache, command, current, install, locked, say, update

KERNEL = "linux-image-amd64"
"Debian's package that depends on the current kernel."

_TOOLS = {
    "qemu-system-x86": Path("/usr/bin/qemu-system-x86_64"),
    "busybox-static": Path("/bin/busybox"),
    "kmod": Path("/sbin/depmod"),
}
"A package, and a file that shows it is there."

_XZ = b"\xfd7zXZ\x00"


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


def prepare() -> Kernel:
    """Install and fetch what is missing; return the kernel. Raises Unavailable."""
    if platform.machine() != "x86_64":
        raise Unavailable(f"guests are for x86_64, this machine is {platform.machine()}")
    kept = cache("guest")
    with locked(kept):
        missing = [name for name, path in _TOOLS.items() if not path.exists()]
        if missing:
            install(missing)
        return _kernel(kept)


def _kernel(kept: Path) -> Kernel:
    """Return the kernel that is kept, or fetch the one Debian has now."""
    ready = sorted(kept.glob("linux-image-*/ready"), key=lambda path: path.stat().st_mtime)
    if ready:
        return Kernel(ready[-1].parent)
    package = current(KERNEL)
    say(f"fetching {package}")
    work = Path(tempfile.mkdtemp(prefix="fetch-", dir=kept))
    try:
        _unpack(package, work)
        target = kept / package
        shutil.rmtree(target, ignore_errors=True)
        return Kernel(work.rename(target))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _unpack(package: str, work: Path) -> None:
    download = ["apt-get", "-o", "APT::Sandbox::User=root", "download", package]
    try:
        command(download, work)
    except Unavailable:  # lists older than what the mirror holds
        update()
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
