# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve offload: what NICs take of the networks' packets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from controller.cli.client import Client, server_option

View = Mapping[str, Any]

_COLOURS = {"yes": "green", "no": "red", "unknown": "yellow"}


@click.group("offload")
def offload() -> None:
    """Whether NICs can take packets off the processors, and whether they do."""


@offload.command("report")
@click.option("--host", help="This host only.")
@click.option("--network", help="This network only.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True
)
@server_option
def report(host: str | None, network: str | None, output: str, server: str) -> None:
    """Show what each family of NICs can be hoped to take of each network, and what the hosts' own do take.

    By rules, a yes is that nothing known speaks against it. What is seen is what drivers say: a stand-in's word is no
    hardware's, and traffic control in software is no NIC.
    """
    filters = {key: value for key, value in (("host", host), ("network", network)) if value is not None}
    found = Client(server).get("reports/offload", **filters)
    if output == "json":
        click.echo(json.dumps(found, indent=2))
    elif output == "yaml":
        click.echo(yaml.safe_dump(found, sort_keys=False), nl=False)
    else:
        _show(found)


def _show(found: View) -> None:
    families = [family["family"] for one in found["networks"][:1] for family in one["families"]]
    _table(
        "By rules: sent / arriving",
        ("NETWORK", "OPTIONS", *families),
        (_network_row(one) for one in found["networks"]),
    )
    _table(
        "By rules, on hosts without Open vSwitch: sent / arriving",
        ("NETWORK", "OPTIONS", *families),
        (_network_row(one, "linux") for one in found["networks"] if one["linux"]),
    )
    _table(
        "Hosts",
        ("HOST", "OFFLOAD", "RUNNING", "DATAPATH", "DEVICES"),
        (_host_row(one) for one in found["hosts"]),
    )
    _table(
        "Networks on hosts",
        ("HOST", "NETWORK", "SENT", "ARRIVING", "IN A NIC", "MEGAFLOWS, FILTERS"),
        (_live_row(host, one) for host in found["hosts"] for one in host["networks"]),
    )
    _table("Why", ("WHERE", "WHAT", "CHANGE"), _reason_rows(found))


def _network_row(one: View, rules: str = "families") -> tuple[str | Text, ...]:
    cells = (
        Text.assemble(_word(family["sending"]), " / ", _word(family["receiving"])) for family in one[rules]
    )
    return one["network"], ", ".join(one["options"]) or "-", *cells


def _host_row(host: View) -> tuple[str, ...]:
    devices = (f"{nic['device']} ({nic['label']})" for nic in host["nics"] if nic["role"] == "uplink")
    shown = "; ".join(devices) or host["note"] or "none"
    if host["datapath"] == "linux":
        return host["host"], "-", "-", host["datapath"], shown
    running = host["running"] or "not seen"
    return host["host"], host["declared"] or "left alone", running, host["datapath"] or "-", shown


def _live_row(host: View, one: View) -> tuple[str | Text, ...]:
    flows = [f"{each['way']}: {each['flows']} {each['place']}" for each in one["live"]]
    filters = [
        f"{each['device']} {each['direction']}: {each['in_hardware']} of {each['filters']} filters in a NIC"
        for each in one["filters"]
    ]
    told = host["note"] or ", ".join((*flows, *filters)) or "none now"
    stands_in = any("stand-in" in nic["label"] for nic in host["nics"] if nic["role"] == "uplink")
    seen = f"{one['seen']} (stand-in)" if stands_in and one["seen"] in ("all", "some") else one["seen"]
    return host["host"], one["network"], _word(one["sending"]), _word(one["receiving"]), seen, told


def _reason_rows(found: View) -> Iterator[tuple[str, ...]]:
    """Yield each reason once, with all places that it holds for."""
    places = dict[tuple[str, str], list[str]]()
    for where, reason in _reasons(found):
        what = f"{reason['option']}: {reason['message']}" if reason.get("option") else reason["message"]
        held = places.setdefault((what, reason.get("change", "")), [])
        if where not in held:
            held.append(where)
    for (what, change), held in places.items():
        yield ", ".join(held), what, change or "-"


def _reasons(found: View) -> Iterator[tuple[str, View]]:
    for host in found["hosts"]:
        yield from ((host["host"], reason) for reason in host["reasons"])
        for nic in host["nics"]:
            yield from ((host["host"], reason) for reason in nic["reasons"])
        for one in host["networks"]:
            yield from ((f"{one['network']} on {host['host']}", reason) for reason in one["reasons"])
    for one in found["networks"]:
        yield from ((one["network"], reason) for reason in one["caveats"])
        for family in one["families"]:
            yield from ((f"{one['network']} on {family['family']}", reason) for reason in family["reasons"])
        for family in one["linux"]:
            where = f"{one['network']} on {family['family']} without Open vSwitch"
            yield from ((where, reason) for reason in family["reasons"])


def _word(verdict: str) -> Text:
    return Text(verdict, style=_COLOURS[verdict])


def _table(title: str, columns: Iterable[str], rows: Iterable[tuple[str | Text, ...]]) -> None:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) if isinstance(cell, str) else cell for cell in row))
    if table.row_count:
        Console().print(table)
