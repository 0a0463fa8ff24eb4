# SPDX-License-Identifier: Apache-2.0
"""What the guest does, as shell: from the initramfs to the shared file system, then the command. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.vm.guest.packages import Kernel
from tests.vm.guest.streams import MARK

JOB = "/run/guest"
"Where the guest finds its scripts."

SHARED = "trans=virtio,version=9p2000.L,msize=512000"

_FIRST = r"""#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
for m in {modules}; do $b insmod /m/$m || echo "guest: no module $m" >/dev/console; done
$b mount -t 9p -o ro,{shared},cache=loose root /lower || exec $b poweroff -f
$b mount -t tmpfs -o mode=755,size=80% up /up
$b mkdir /up/files /up/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/up/files,workdir=/up/work overlay /new || exec $b poweroff -f
$b mkdir -p /new/run /new/proc /new/sys /new/dev
$b mount --move /proc /new/proc
$b mount --move /dev /new/dev
$b mount -t sysfs sys /new/sys
# Its own /run: else the sockets of this machine's daemons would be there, and nobody behind them.
$b mount -t tmpfs -o mode=755 run /new/run
$b mkdir -p /new/run/lock /new{job} /new/dev/pts /new/dev/shm
$b mount -t 9p -o {shared},cache=none job /new{job}
exec $b switch_root /new /bin/sh {job}/second
"""

_SECOND = r"""
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs shm /dev/shm
ln -sfn /proc/self/fd /dev/fd; ln -sfn fd/0 /dev/stdin; ln -sfn fd/1 /dev/stdout; ln -sfn fd/2 /dev/stderr
mkdir -p /lib/modules/{release}
mount --bind {modules} /lib/modules/{release}
mount -t debugfs debugfs /sys/kernel/debug
mount -t cgroup2 cgroup2 /sys/fs/cgroup
hostname guest
ip link set lo up
{mounts}
for n in 1 2 3 4 5 6 7 8 9; do p=$(echo /dev/vport*p3); [ -e "$p" ] && break; sleep 0.1; done
p=${{p%p3}}
setsid bash {job}/command </dev/null >${{p}}p1 2>${{p}}p2
code=$?
printf '{mark}' >${{p}}p1
printf '{mark}' >${{p}}p2
echo $code >${{p}}p3
sleep 10
poweroff -f 2>/dev/null || echo o >/proc/sysrq-trigger
"""


def first_script(modules: Sequence[str]) -> str:
    """Return what the kernel starts."""
    return _FIRST.format(modules=shlex.join(modules), shared=SHARED, job=JOB)


def second_script(kernel: Kernel, writable: Sequence[Path]) -> str:
    """Return what runs on the shared file system; folders that come back are mounted over it."""
    mounts = (
        f"mkdir -p {shlex.quote(str(folder))}; "
        f"mount -t 9p -o {SHARED},cache=none rw{number} {shlex.quote(str(folder))}"
        for number, folder in enumerate(writable)
    )
    return _SECOND.format(
        modules=shlex.quote(str(kernel.modules)),
        release=kernel.release,
        mounts="\n".join(mounts),
        job=JOB,
        mark="".join(f"\\{byte:03o}" for byte in MARK),
    )


def command_script(line: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    """Return what runs the command as it would run here."""
    exports = [f"export {name}={shlex.quote(value)}" for name, value in sorted(environment.items())]
    return "\n".join([*exports, f"cd {shlex.quote(str(folder))} || exit 125", f"exec {shlex.join(line)}", ""])
