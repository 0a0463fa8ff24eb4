# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve debug: looks into a running controller."""

from __future__ import annotations

import click

from controller.cli.client import Client, server_option


@click.group("debug")
def debug() -> None:
    """Look into a running controller."""


@debug.command("recompute")
@server_option
def recompute(server: str) -> None:
    """Compile everything from nothing and compare it with what the controller keeps up to date.

    The controller goes on meanwhile. Status 1 when anything differs.
    """
    found = Client(server).post("debug/recompute").json()
    for one in found["disagreements"]:
        click.echo(f"{one['fault']}: {one['what']} (on {', '.join(one['hosts'])})")
    click.echo(
        f"revision {found['revision']}: {found['parts']} parts for {found['hosts']} hosts, "
        f"{len(found['disagreements'])} differ"
    )
    if found["disagreements"]:
        raise click.ClickException("the controller has an error; restarting it compiles everything anew")
