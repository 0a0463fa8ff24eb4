# SPDX-License-Identifier: Apache-2.0
"""Rendered commands as few processes: where each one is emulated, starting them is most of the work."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

_TOOLS = ("ip -4", "ip -6", "ip", "bridge", "tc", "sysctl -qw")
_QDISCS = "tc -force"


def batched(commands: Iterable[str]) -> str:
    """Return a script that does what `ovs-geneve render` prints, on a machine that has no device of it yet."""
    lines = (_split(command.rpartition(" || ")[2]) for command in commands)
    groups = groupby(lines, lambda line: line[0])
    return "".join(_together(tool, [rest for _, rest in group]) for tool, group in groups)


def _split(line: str) -> tuple[str, str]:
    tool = next(one for one in _TOOLS if line.startswith(f"{one} "))
    rest = line.removeprefix(f"{tool} ")
    if rest.startswith("qdisc "):
        return _QDISCS, rest
    # Each address says of which family it is.
    return "ip" if tool.startswith("ip") else tool, rest


def _together(tool: str, lines: list[str]) -> str:
    if tool.startswith("sysctl"):
        return f"{tool} {' '.join(lines)}\n"
    # What is rendered looks first whether somebody made the qdisc already.
    anyway = " || true" if tool == _QDISCS else ""
    return "\n".join([f"{tool} -batch - <<'END'{anyway}", *lines, "END\n"])
