# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve apply, get, delete, status: the declared objects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import IO, Any

import click
import yaml
from rich.console import Console
from rich.table import Table

from controller.cli.client import Client, Refused, collection_of, server_option
from controller.cli.yaml_documents import read_documents

_WAIT_SECONDS = 30

ACCEPTED, NOT_FOUND = 202, 404


@click.command("apply")
@click.option("-f", "--file", "source", type=click.File(), required=True, help="YAML documents; - for stdin.")
@click.option("--wait", is_flag=True, help="Until every bridge concerned acknowledged it.")
@server_option
def apply(source: IO[str], wait: bool, server: str) -> None:
    """Create or replace the objects of a file, in its order."""
    client = Client(server)
    query = _waiting(wait)
    for number, (kind, name, document) in enumerate(read_documents(source), 1):
        try:
            path = f"{collection_of(kind)}/{name}"
            before = _revision(client, path)
            answer = client.put(path, document, **query)
        except click.ClickException as error:
            where = f"{source.name}, document {number}, {kind}/{name}"
            raise click.ClickException(f"{where}: {error.message}") from error
        after = answer.json()["revision"]
        word = "created" if before is None else "unchanged" if before == after else "configured"
        click.echo(f"{kind}/{name} {word}")
        if answer.status_code == ACCEPTED:
            raise click.ClickException(
                f"{kind}/{name} is not programmed: {_conditions(answer.json()['status'])}"
            )


@click.command("get")
@click.argument("kind")
@click.argument("name", required=False)
@click.option(
    "-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True
)
@server_option
def get(kind: str, name: str | None, output: str, server: str) -> None:
    """Show objects of a KIND, or one by NAME."""
    client, collection = Client(server), collection_of(kind)
    items = [client.get(f"{collection}/{name}")] if name else list(client.each(collection))
    if output == "json":
        click.echo(json.dumps(items[0] if name else items, indent=2))
    elif output == "yaml":
        click.echo(yaml.safe_dump_all(items, sort_keys=False), nl=False)
    elif collection == "tunnels":
        _print(("SOURCE", "DESTINATION", "NETWORKS", "PROGRAMMED"), [_tunnel_row(item) for item in items])
    else:
        _print(("NAME", "SPEC", "STATUS", "REVISION"), [_object_row(item) for item in items])


@click.command("delete")
@click.argument("kind")
@click.argument("name")
@click.option("--wait", is_flag=True, help="Until every bridge concerned acknowledged it.")
@server_option
def delete(kind: str, name: str, wait: bool, server: str) -> None:
    """Delete the object of this KIND and NAME."""
    Client(server).delete(f"{collection_of(kind)}/{name}", **_waiting(wait))
    click.echo(f"{kind}/{name} deleted")


@click.command("status")
@server_option
def status(server: str) -> None:
    """Show the controller, its hosts, and strangers that called in."""
    view = Client(server).get("status")
    counts = ", ".join(f"{count} {kind}" for kind, count in view["objects"].items())
    click.echo(f"ovs-geneve {view['version']}, revision {view['revision']}: {counts}")
    rows = [
        (name, host["ovs_version"], _flows(host), _conditions(host)) for name, host in view["hosts"].items()
    ]
    _print(("HOST", "OVS", "FLOWS", "STATUS"), rows)
    work = view["work"]
    click.echo(
        f"last change: revision {work['last_revision']}, {work['last_parts']} parts compiled, "
        f"{work['last_hosts']} hosts; {work['messages_sent']} messages sent to bridges in all"
    )
    for host in view["waiting"]:
        click.echo(f"waiting to be enrolled: {host['system_id']} from {host['remote']}")


def _waiting(wait: bool) -> dict[str, str]:
    return {"wait": "programmed", "timeout": f"{_WAIT_SECONDS}s"} if wait else {}


def _revision(client: Client, path: str) -> int | None:
    try:
        revision: int = client.get(path)["revision"]
    except Refused as error:
        if error.status == NOT_FOUND:
            return None
        raise
    return revision


def _print(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    console = Console()
    if console.is_terminal:
        table = Table(*heads, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    for row in (heads, *rows):
        click.echo("\t".join(row))


def _object_row(item: Mapping[str, Any]) -> tuple[str, ...]:
    said = {
        key: value
        for key, value in item["spec"].items()
        if value not in (None, "", [], {}) and key != "labels"
    }
    spec = ", ".join(f"{key}={_short(value)}" for key, value in said.items())
    return item["name"], spec, _conditions(item["status"]), str(item["revision"])


def _tunnel_row(item: Mapping[str, Any]) -> tuple[str, ...]:
    ends = (f"{end['host']} {end['address']}" for end in (item["source"], item["destination"]))
    return (*ends, ", ".join(item["networks"]), str(item["programmed"]))


def _short(value: object) -> str:
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def _flows(host: Mapping[str, Any]) -> str:
    return str(host["progress"]["flows"])


def _conditions(view: Mapping[str, Any]) -> str:
    wrong = [c for c in view["conditions"] if c["status"] != "True"]
    if wrong:
        return "; ".join(
            f"{c['type']}={c['status']} {c['reason']}: {c['message']}".rstrip(": ") for c in wrong
        )
    return ", ".join(c["type"] for c in view["conditions"])
