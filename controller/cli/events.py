# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve events: what happened."""

from __future__ import annotations

import json

import click

from controller.cli.client import Client, server_option


@click.command("events")
@click.option("--since", type=click.IntRange(0), default=0, help="Only those with a larger number.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@server_option
def events(since: int, output: str, server: str) -> None:
    """Show what happened, oldest first: rollouts, packets that policies refused (log), who sent bad options."""
    client = Client(server)
    items = []
    while page := client.get("events", since=str(since), limit="1000")["items"]:
        items += page
        since = page[-1]["number"]
    if output == "json":
        click.echo(json.dumps(items, indent=2))
        return
    for event in items:
        count = f" ({event['count']})" if event["count"] > 1 else ""
        told = f"{event['network']}: {event['message']}" if event["kind"] == "rollout" else event["message"]
        click.echo(f"{event['number']}\t{event['last']}\t{event['kind']}\t{event['host']}\t{told}{count}")
