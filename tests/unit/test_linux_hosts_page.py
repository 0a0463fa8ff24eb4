# SPDX-License-Identifier: Apache-2.0
"""docs/linux-hosts.md says what each sort of host cannot do, as admission has it."""

from __future__ import annotations

from pathlib import Path

from controller.intent.model import HostKind, TunnelStyle
from controller.intent.needs import Need, lacked_by

PAGE = Path(__file__).parents[2] / "docs" / "linux-hosts.md"


def table() -> list[str]:
    sorts = [
        lacked_by(HostKind.OVS, TunnelStyle.METADATA),
        lacked_by(HostKind.LINUX, TunnelStyle.METADATA),
        lacked_by(HostKind.LINUX, TunnelStyle.FIXED),
    ]
    rows = ["| | Open vSwitch | Linux, `metadata` | Linux, `fixed` |", "|---|---|---|---|"]
    for need in Need:
        cells = [f"no: {sort[need]}" if need in sort else "yes" for sort in sorts]
        rows.append(f"| {need} | {' | '.join(cells)} |")
    return rows


def test_the_page_has_the_table_of_the_code() -> None:
    said = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    wanted = table()
    at = said.index(wanted[0])
    assert said[at : at + len(wanted)] == wanted
