# SPDX-License-Identifier: Apache-2.0
"""Megaflows that Open vSwitch 3.1.0 dumped in the lab, by what was sent (tests/vectors/megaflows.txt).

Those that begin with "kernel" are the kernel's, Linux 6.1; the others of the userspace datapath.
"""

from __future__ import annotations

from pathlib import Path

from ovs_geneve.megaflow import TunnelMegaflow, parse_megaflows

_FILE = Path(__file__).resolve().parents[2] / "vectors" / "megaflows.txt"


def dump(name: str) -> str:
    """What was dumped after packets of this kind."""
    _, _, rest = _FILE.read_text().partition(f"# {name}\n")
    return rest.partition("\n# ")[0]


def megaflows(name: str) -> list[TunnelMegaflow]:
    return list(parse_megaflows(dump(name)))


def megaflow(name: str) -> TunnelMegaflow:
    """The first of them."""
    return megaflows(name)[0]
