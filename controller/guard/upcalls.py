# SPDX-License-Identifier: Apache-2.0
"""Packets that a kernel's datapath asked ovs-vswitchd about in vain. Pure: time is an argument.

Such a packet is dropped, and no megaflow comes of it. A few are lost when very many flows begin at once. When all are,
ovs-vswitchd takes none: started within 10 s of boot, OVS 3.1 counts 0 processors, runs 0 handler threads and stays deaf
until it is restarted, also after it has counted again (docs/decisions/0010-kernel-datapath.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

KERNEL = "system@"
"How the names of the kernel's datapaths begin."

_SHOWN = re.compile(r"^(\S+@\S+):\n  lookups: hit:\d+ missed:(\d+) lost:(\d+)$", re.MULTILINE)

_SECONDS = 60.0
"How long a loss is spoken of."


class Misses(NamedTuple):
    """What a datapath counted since it was made."""

    missed: int
    "Packets that no megaflow matched: it asks about each."
    lost: int
    "Those that nobody took."


def parse_misses(shown: str) -> dict[str, Misses]:
    """Read what `dpctl/show` tells of the kernel's datapaths (OVS lib/dpctl.c, show_dpif), by their names."""
    found = _SHOWN.findall(shown)
    return {name: Misses(int(missed), int(lost)) for name, missed, lost in found if name.startswith(KERNEL)}


@dataclass(slots=True)
class Upcalls:
    """One host's, as long as its ovs-vswitchd runs."""

    _before: Mapping[str, Misses] = field(default_factory=dict)
    _message: str = ""
    _until: float = 0.0

    def look(self, misses: Mapping[str, Misses], now: float) -> bool:
        """Compare with the last look; tell whether a loss was found after a time without."""
        was_well = not self.message(now)
        for name, after in misses.items():
            before = self._before.get(name)
            if before is not None and after.lost > before.lost:
                self._message = _message(after.missed - before.missed, after.lost - before.lost)
                self._until = now + _SECONDS
        self._before = misses
        return was_well and bool(self.message(now))

    def message(self, now: float) -> str:
        """Say what was lost a moment ago and what to do; "" when nothing was."""
        return self._message if now < self._until else ""


def _message(missed: int, lost: int) -> str:
    if lost >= missed:
        return (
            f"ovs-vswitchd took none of {lost} packets that the kernel asked it about, and no new flow is let through: "
            "restart ovs-vswitchd (its log may say 'Overriding n-handler-threads to 0': it was started within 10 s of "
            "boot)"
        )
    return (
        f"ovs-vswitchd took {missed - lost} of {missed} packets that the kernel asked it about, {lost} were dropped: "
        "fewer flows may begin at once, or it needs processors or a higher other_config:n-handler-threads"
    )
