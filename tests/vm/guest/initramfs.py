# SPDX-License-Identifier: Apache-2.0
"""The guest's first file system: busybox, the modules that reach the shared one, and a script.

The format is the kernel's (Documentation/driver-api/early-userspace/buffer-format.rst): a "newc" cpio archive.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tests.vm.debian import command
from tests.vm.guest.packages import Kernel
from tests.vm.guest.scripts import first_script

_MODULES = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")
_FOLDERS = ("bin", "dev", "proc", "m", "lower", "up", "new")


def initramfs(kernel: Kernel) -> Path:
    """Return the archive for a kernel, made when it is not in the cache."""
    modules = _in_order(kernel)
    script = first_script([path.name for path in modules])
    target = kernel.folder / f"initramfs-{hashlib.sha256(script.encode()).hexdigest()[:16]}"
    if not target.exists():
        fresh = target.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(_archive(modules, script))
        fresh.replace(target)
    return target


def entry(number: int, name: str, mode: int, data: bytes = b"") -> bytes:
    """Return one file of a newc archive."""
    raw = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + raw
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def _archive(modules: list[Path], script: str) -> bytes:
    return b"".join(
        entry(number, name, mode, data)
        for number, (name, mode, data) in enumerate([*_files(modules, script), ("TRAILER!!!", 0, b"")], 1)
    )


def _files(modules: list[Path], script: str) -> Iterator[tuple[str, int, bytes]]:
    for folder in _FOLDERS:
        yield folder, stat.S_IFDIR | 0o755, b""
    yield "dev/console", stat.S_IFCHR | 0o600, b""
    yield "bin/busybox", stat.S_IFREG | 0o755, Path("/bin/busybox").read_bytes()
    for path in modules:
        yield f"m/{path.name}", stat.S_IFREG | 0o644, path.read_bytes()
    yield "init", stat.S_IFREG | 0o755, script.encode()


def _in_order(kernel: Kernel) -> list[Path]:
    """Return the modules' files, each behind those it depends on."""
    found = dict[Path, None]()
    for module in _MODULES:
        line = ["/sbin/modprobe", "-d", str(kernel.root), "-S", kernel.release, "--show-depends", module]
        words = (each.split() for each in command(line).splitlines())
        found.update({Path(each[1]): None for each in words if each[:1] == ["insmod"]})
    return list(found)
