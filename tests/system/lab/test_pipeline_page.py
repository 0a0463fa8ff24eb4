# SPDX-License-Identifier: Apache-2.0
"""docs/pipeline.md shows flows as they are: each line of its dumps is looked for in a lab like the one it speaks of."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

import pytest

from controller.lab import Lab
from controller.lab.beside import ControllerBeside
from controller.lab.demo import POLICY, declare, plug
from controller.lab.waiting import wait_until

pytestmark = pytest.mark.system

PAGE = (Path(__file__).parents[3] / "docs" / "pipeline.md").read_text()
_SHOWN = re.compile(r"^    n=\d+ +(?P<flow>priority=.*)$")
_FROM = re.compile(r"^    # on (?P<host>hv\d)$")
_TABLE = re.compile(r"^## (?P<table>\d+) ")


def shown() -> Iterator[tuple[str, int, str]]:
    """Yield host, table and flow of every line of the dumps that are of this lab; others say of which they are."""
    table, host = 0, ""
    for line in PAGE.splitlines():
        if heading := _TABLE.match(line):
            table, host = int(heading["table"]), ""
        elif line.startswith("    #"):
            origin = _FROM.match(line)
            host = origin["host"] if origin is not None else ""
        elif host and (flow := _SHOWN.match(line)):
            yield host, table, plain(flow["flow"])


def plain(flow: str) -> str:
    """Leave out the numbers of ports, which depend on what was plugged first."""
    return re.sub(r"\b(in_port=|output:)\d\b", r"\1N", flow)


def flows_of(lab: Lab, host: str) -> set[tuple[int, str]]:
    dump = lab.host(host).ofctl("-O", "OpenFlow15", "--no-stats", "--no-names", "dump-flows", "br-int")
    found = set()
    for line in dump.splitlines():
        parts = re.fullmatch(r" *cookie=\S+, (?:table=(\d+), )?(priority=.*|ip.*|actions=.*)", line)
        if parts is not None:
            found.add((int(parts[1] or 0), plain(parts[2])))
    return found


def test_every_flow_of_the_page_is_there(bring_up, unused_tcp_port: int) -> None:
    lab = bring_up(hosts=3)
    with (
        tempfile.TemporaryDirectory(prefix="page") as directory,
        ControllerBeside(Path(directory) / "controller", f"127.0.0.1:{unused_tcp_port}") as controller,
    ):
        declare(lab, controller)
        plug(lab)
        controller.put("option-policies", "tier2-only", POLICY, wait=True)
        wait_until(lambda: _programmed(controller), 15, "all ports to be programmed")
        held = {host.name: flows_of(lab, host.name) for host in lab.hosts}
    claimed = list(shown())
    assert len(claimed) > 60
    missing = [one for one in claimed if one[1:] not in held[one[0]]]
    assert not missing, "\n".join(_explained(one, held[one[0]]) for one in missing)


def _explained(one: tuple[str, int, str], held: set[tuple[int, str]]) -> str:
    host, table, flow = one
    nearest = get_close_matches(flow, [text for number, text in held if number == table], n=1, cutoff=0.5)
    return f"{host} table={table} says {flow}\n      and has {nearest[0] if nearest else 'nothing like it'}"


def _programmed(controller: ControllerBeside) -> bool:
    ports = controller.get("ports")["items"]
    return all(c["status"] == "True" for port in ports for c in port["status"]["conditions"])
