# SPDX-License-Identifier: Apache-2.0
"""The command line of qemu. Pure, but for the question whether /dev/kvm can be opened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.vm.guest.packages import Kernel

_PARAMETERS = (
    "console=ttyS0 panic=-1 quiet loglevel=4 mitigations=off nokaslr init_on_alloc=0 apparmor=0 audit=0 selinux=0 "
    "random.trust_cpu=on 8250.nr_uarts=1 cryptomgr.notests net.ifnames=0"
)
"Half of them save seconds where every instruction is emulated."


class Accel(StrEnum):
    """Who runs the guest's instructions: the processor, or qemu one by one."""

    KVM = "kvm"
    TCG = "tcg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What is asked of qemu."""

    kernel: Kernel
    initramfs: Path
    accel: Accel
    job: Path
    "The folder of the guest's scripts."
    console: Path
    writable: Sequence[Path] = ()
    processors: int = 2
    memory: str = "2G"


def may_have_kvm() -> bool:
    """Tell whether it is worth a try: the device is there for us and the processor says it can."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split()
    return "vmx" in flags or "svm" in flags


def argv(machine: Machine, ports: Sequence[int]) -> list[str]:
    """Return qemu's command line; `ports` are descriptors of the sockets behind its serial ports."""
    accel = (
        ["-accel", "kvm", "-cpu", "host"]
        if machine.accel is Accel.KVM
        else ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max"]
    )
    line = [
        "qemu-system-x86_64",
        *accel,
        *("-M", "q35,usb=off,vmport=off,sata=off,smbus=off"),
        *("-m", machine.memory, "-smp", str(machine.processors)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-serial", f"file:{machine.console}"),
        *("-kernel", str(machine.kernel.image), "-initrd", str(machine.initramfs), "-append", _PARAMETERS),
        *_share("root", Path("/"), readonly=True),
        *_share("job", machine.job),
    ]
    for number, folder in enumerate(machine.writable):
        line += _share(f"rw{number}", folder)
    line += ["-device", "virtio-serial-pci"]
    for number, descriptor in enumerate(ports, 1):
        line += ["-chardev", f"socket,id=p{number},fd={descriptor}"]
        line += ["-device", f"virtserialport,nr={number},chardev=p{number},name=guest.{number}"]
    return line


def _share(tag: str, path: Path, *, readonly: bool = False) -> list[str]:
    flags = ",readonly=on" if readonly else ""
    filesystem = f"local,id={tag},path={path},security_model=passthrough,multidevs=remap{flags}"
    return ["-fsdev", filesystem, "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
