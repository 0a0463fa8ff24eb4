# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve apply, get, delete, status: the declared objects."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

import click
import yaml
from rich.console import Console
from rich.table import Table

from controller.cli.client import Client, collection_of, kind_of, server_option
from controller.cli.yaml_documents import read_documents

_WAIT_SECONDS = 30

_REQUEST_BYTES = 200_000
"About 1,000 ports; the controller takes 1 MiB."

ACCEPTED = 202

_OF_OTHER_KIND = {"ovs": ("tunnels",), "linux": ("bridge", "datapath")}
"Settings by kind of host that mean nothing there."


@click.command("apply")
@click.option("-f", "--file", "source", type=click.File(), required=True, help="YAML documents; - for stdin.")
@click.option("--wait", is_flag=True, help="Until every bridge concerned acknowledged it.")
@server_option
def apply(source: IO[str], wait: bool, server: str) -> None:
    """Create or replace the objects of a file, in its order; those that are refused keep no other from it."""
    client = Client(server)
    documents = [
        {"kind": kind_of(kind), "name": name, **document} for kind, name, document in read_documents(source)
    ]
    failed = False
    for number, item in enumerate(_applied(client, documents, wait), 1):
        name, problem = f"{item['kind']}/{item['name']}", _what_failed(client, item)
        if problem:
            failed = True
            click.echo(f"Error: {source.name}, document {number}, {name}: {problem}", err=True)
        else:
            click.echo(f"{name} {item['outcome']}")
    if failed:
        raise click.exceptions.Exit(1)


def _applied(client: Client, documents: Iterable[Mapping[str, Any]], wait: bool) -> Iterator[dict[str, Any]]:
    """Send documents, many in a request; yield what became of each."""
    part, size = list[Mapping[str, Any]](), 0
    for document in documents:
        length = len(json.dumps(document))
        if part and size + length > _REQUEST_BYTES:
            yield from client.post("apply", part, **_waiting(wait)).json()["items"]
            part, size = [], 0
        part.append(document)
        size += length
    if part:
        yield from client.post("apply", part, **_waiting(wait)).json()["items"]


def _what_failed(client: Client, item: Mapping[str, Any]) -> str:
    """Say why a document was refused, or what keeps its object from being programmed; nothing when all is well."""
    if item["outcome"] == "refused":
        problem = item["problem"]
        _, _, place = problem["pointer"].removeprefix("/").partition("/")
        return f"/{place}: {problem['detail']}" if place else str(problem["detail"])
    if item["status"] != ACCEPTED:
        return ""
    view = client.get(f"{collection_of(item['kind'])}/{item['name']}")
    return f"{item['outcome']}, but not programmed: {_conditions(view['status'])}"


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
    elif collection == "option-profiles":
        rows = [row for item in items for row in _profile_rows(item)]
        _print(("PROFILE", "OPTION", "CLASS", "TYPE", "LENGTH", "FIELDS"), rows)
    elif collection == "rollouts":
        _print(("NAME", "DIRECTION", "STAGE", "REASON"), [_rollout_row(item) for item in items])
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
        (name, _system(host), _options(host), _flows(host), _conditions(host))
        for name, host in view["hosts"].items()
    ]
    _print(("HOST", "SYSTEM", "OPTIONS", "FLOWS", "STATUS"), rows)
    work = view["work"]
    click.echo(
        f"last change: revision {work['last_revision']}, {work['last_parts']} parts compiled, "
        f"{work['last_hosts']} hosts; {work['messages_sent']} messages sent to bridges in all"
    )
    for host in view["waiting"]:
        click.echo(f"waiting to be enrolled: {host['system_id']} from {host['remote']}")


def _waiting(wait: bool) -> dict[str, str]:
    return {"wait": "programmed", "timeout": f"{_WAIT_SECONDS}s"} if wait else {}


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
        if value not in (None, "", [], {}) and key not in _unsaid(item["spec"])
    }
    spec = ", ".join(f"{key}={_short(value)}" for key, value in said.items())
    return item["name"], spec, _conditions(item["status"]), str(item["revision"])


def _unsaid(spec: Mapping[str, Any]) -> frozenset[str]:
    """Return the keys that are not shown: labels, and what means nothing for a host of its kind."""
    return frozenset(("labels", *_OF_OTHER_KIND.get(spec.get("kind", ""), ())))


def _tunnel_row(item: Mapping[str, Any]) -> tuple[str, ...]:
    ends = (f"{end['host']} {end['address']}" for end in (item["source"], item["destination"]))
    return (*ends, ", ".join(item["networks"]), str(item["programmed"]))


def _profile_rows(item: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for option in item["options"]:
        kind = "any" if option["type"] is None else f"{option['type']:#04x}"
        length = "any" if option["length"] is None else str(option["length"])
        fields = ", ".join(f"{field['name']}:{field['bits']}" for field in option["fields"]) or option["rest"]
        yield item["name"], option["name"], option["class"], kind, length, fields


def _rollout_row(item: Mapping[str, Any]) -> tuple[str, ...]:
    return item["name"], item["spec"]["direction"], item["status"]["stage"], item["status"]["reason"]


def _short(value: object) -> str:
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def _options(host: Mapping[str, Any]) -> str:
    """Say what a host can take, briefly: bytes of options, on which datapath, and whether it shares its TLV map."""
    told = host.get("capabilities")
    if not told:
        return "not told"
    foreign = f", {len(told['foreign'])} of others" if told["foreign"] else ""
    return f"{told['max_option_bytes']} B, {told['datapath']}{foreign}"


def _system(host: Mapping[str, Any]) -> str:
    """Say what forwards packets on a host: a version of Open vSwitch, or the release of a kernel without it."""
    told = host.get("capabilities")
    if told and told["datapath"] == "linux":
        return f"Linux {told['kernel']}"
    return str(host["ovs_version"])


def _flows(host: Mapping[str, Any]) -> str:
    return str(host["progress"]["flows"])


def _conditions(view: Mapping[str, Any]) -> str:
    # "Degraded" is there only while it is so, and is the one that is not wanted.
    wrong = [c for c in view["conditions"] if (c["status"] != "True") != (c["type"] == "Degraded")]
    if wrong:
        return "; ".join(
            f"{c['type']}={c['status']} {c['reason']}: {c['message']}".rstrip(": ") for c in wrong
        )
    return ", ".join(c["type"] for c in view["conditions"])
