# SPDX-License-Identifier: Apache-2.0
"""The stand-in while it is loaded: its couples of devices, its limits, and what it was shown."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from controller.lab import namespaces
from tests.vm.standin.build import MODULE, build

_PARAMETERS = Path("/sys/module") / MODULE / "parameters"
_SHOWN = Path("/sys/kernel/debug") / MODULE


@dataclass
class StandIn:
    """What a test does with it."""

    pairs: int
    _used: int = field(default=0, init=False)

    def cable(self, namespace: str, link: str, other: str, other_link: str) -> None:
        """Join two namespaces by the next couple of its devices."""
        assert self._used < self.pairs
        for number, (space, name) in enumerate(((namespace, link), (other, other_link)), 2 * self._used):
            _run("ip", "link", "set", f"sni{number}", "netns", space, "name", name)
        self._used += 1

    def limit(self, name: str, value: int) -> None:
        """Set options_max, option_bytes_max or refuse_all; it holds for rules that come from now on."""
        (_PARAMETERS / name).write_text(str(value), encoding="ascii")

    def rules(self, namespace: str) -> list[str]:
        """Return the rules it holds on devices of a namespace, as its driver was given them."""
        return _lines("rules", namespace)

    def ports(self, namespace: str) -> list[str]:
        """Return the UDP ports of tunnels that its devices of a namespace were told."""
        return _lines("ports", namespace)

    def refused(self) -> dict[str, int]:
        """Return how many rules it refused, by the limit that was the reason."""
        text = (_SHOWN / "refused").read_text(encoding="ascii")
        return {name: int(count) for name, _, count in (line.partition("=") for line in text.splitlines())}


def lacking() -> str:
    """Say what keeps the stand-in from being loaded; "" when nothing does. It cannot be unloaded, so: a guest only."""
    mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    overlaid = any(line.split()[1:3] == ["/", "overlay"] for line in mounts)
    vendor = Path("/sys/class/dmi/id/sys_vendor")
    if not (overlaid and vendor.exists() and vendor.read_text(encoding="ascii").strip() == "QEMU"):
        return "the stand-in NIC stays until the kernel ends: it is for guests, make test-vm boots one"
    return ""


def load(pairs: int) -> StandIn:
    """Load it for this kernel, built before or now; it stays until the kernel ends (see `lacking`)."""
    module = build(os.uname().release)
    _run("modprobe", "-a", "udp_tunnel", "ip6_udp_tunnel")
    _run("insmod", str(module), f"pairs={pairs}")
    return StandIn(pairs)


def _lines(name: str, namespace: str) -> list[str]:
    mark = f" netns={(namespaces.RUN / namespace).stat().st_ino}"
    lines = (_SHOWN / name).read_text(encoding="ascii").splitlines()
    return [line.replace(mark, "") for line in lines if f"{mark} " in f"{line} "]


def _run(*line: str) -> None:
    subprocess.run(line, check=True, stdin=subprocess.DEVNULL)
