# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve prove: whether the compiled flows keep networks apart."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from controller.cli.client import Client, server_option

View = Mapping[str, Any]


@click.command("prove")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@server_option
def prove(output: str, server: str) -> None:
    """Prove that no packet gets from one network to another, whatever it is.

    Every packet that any port, or any stranger, can send is followed through the flows of all hosts: none reaches a
    port of another network, none leaves with a source that is not its port's, and no option is what a guest wrote.
    Nothing is sent. Status 1 when that is not so, with the packet that shows it.
    """
    found = Client(server).get("reports/isolation")
    if output == "json":
        click.echo(json.dumps(found, indent=2))
    else:
        for line in told(found):
            click.echo(line)
    if not found["isolated"]:
        raise click.exceptions.Exit(1)


def told(found: View) -> Iterator[str]:
    """Yield a report as text."""
    for one in found["violations"]:
        yield from _violation(one)
    for one in found["doubts"]:
        yield f"not proved: {one['sender'] or 'the flows'}: {one['reason']}"
    at = found["looked_at"]
    verdict = "isolated" if found["isolated"] else "NOT isolated" if found["violations"] else "not proved"
    yield (
        f"revision {found['revision']}: {verdict}. {at['ports']} ports of {at['networks']} networks on "
        f"{at['hosts']} hosts, {at['flows']} flows; {at['sets']} sets of packets followed, {at['deliveries']} "
        f"delivered, in {found['seconds']:.1f} s"
    )
    yield "not proved by this:"
    for line in found["out_of_scope"]:
        yield f"  * {line}"


def _violation(found: View) -> Iterator[str]:
    yield f"{found['breach']}: {found['reason']}"
    yield f"  from    {found['sender']}"
    yield f"  packet  {found['packet']}"
    for hop in found["path"]:
        cause = f"  {hop['caused_by']}" if hop["caused_by"] else ""
        yield f"  flow    {hop['host']} {hop['table']} priority={hop['priority']} cookie={hop['cookie']}{cause}"
    yield f"  out of  {found['out_of']}"
