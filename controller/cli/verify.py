# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve verify: have the controller prove with packets that hosts reach each other as they should."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from controller.cli.client import Client, server_option
from controller.prober.model import RANK, Verdict

_EVERY = 0.1
"Seconds between two looks at how far it is."

_ROOMY = 8
"Hosts up to which a cell has room for the round trip."

_LINES = 50
"Faults that are explained."

_COLOURS = {
    Verdict.OK: "green",
    Verdict.LOSSY: "yellow",
    Verdict.SKIPPED: "dim",
    Verdict.MTU: "magenta",
    Verdict.OPTIONS: "red",
    Verdict.ALTERED: "red",
    Verdict.UNREACHABLE: "bold red",
}

_SIGNS = {
    Verdict.OK: ".",
    Verdict.LOSSY: "~",
    Verdict.SKIPPED: "?",
    Verdict.MTU: "M",
    Verdict.OPTIONS: "O",
    Verdict.ALTERED: "A",
    Verdict.UNREACHABLE: "X",
}

Proof = Mapping[str, Any]
Matrix = Mapping[tuple[str, str], Proof]


@click.command("verify")
@click.option("--network", help="This network only.")
@click.option("--pair", "pairs", multiple=True, metavar="SOURCE:DESTINATION", help="These hosts only.")
@click.option("--all", "all_hosts", is_flag=True, help="Hosts without a port of the network, too.")
@click.option("--timeout", default="60s", show_default=True, help="When to end with what is known.")
@click.option("-o", "--output", type=click.Choice(["matrix", "json"]), default="matrix", show_default=True)
@server_option
def verify(
    network: str | None,
    pairs: tuple[str, ...],
    all_hosts: bool,
    timeout: str,
    output: str,
    server: str,
) -> None:
    """Prove that hosts reach each other, with every option and at full size.

    Probes go through the tunnels that the ports' packets take, and never to a port. Status 1 when anything is not well.
    """
    client = Client(server)
    document = {
        "network": network,
        "pairs": [_ends(pair) for pair in pairs] or None,
        "all_hosts": all_hosts,
        "timeout": timeout,
    }
    run = client.post("probes", document).json()
    _watch(client, run, bar=output == "matrix")
    done = client.get(f"probes/{run['id']}")
    if output == "json":
        click.echo(json.dumps(done, indent=2))
    else:
        _show(done)
    if done["failed"]:
        raise click.exceptions.Exit(1)


def _ends(pair: str) -> list[str]:
    source, colon, destination = pair.partition(":")
    if not colon:
        raise click.UsageError(f"--pair {pair!r}: want SOURCE:DESTINATION")
    return [source, destination]


def _watch(client: Client, run: Mapping[str, Any], *, bar: bool) -> None:
    """Wait for the end of a run, with a bar where there is a terminal."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(
        *columns, console=console, transient=True, disable=not (bar and console.is_terminal)
    ) as shown:
        task = shown.add_task("probing", total=run["progress"]["directions"])
        while run["state"] != "finished":
            time.sleep(_EVERY)
            run = client.get(f"probes/{run['id']}", results="false")
            shown.update(task, completed=run["progress"]["done"], description=run["state"])


def _show(done: Mapping[str, Any]) -> None:
    proofs = done["results"]
    if not proofs:
        click.echo(
            "nothing to prove: no two hosts have a port of the same network (--all takes in every host)"
        )
        return
    networks = dict.fromkeys(proof["network"] for proof in proofs)
    console = Console()
    for network in networks:
        _print_matrix(console, network, matrix(proof for proof in proofs if proof["network"] == network))
    for line in explained(proofs):
        click.echo(line)
    click.echo(_summary(done, proofs))


def matrix(proofs: Iterable[Proof]) -> Matrix:
    """Return the worst proof of each pair of hosts, whatever the underlay's IP version."""
    worst = dict[tuple[str, str], Proof]()
    for proof in proofs:
        pair = proof["source"], proof["destination"]
        if pair not in worst or RANK[Verdict(proof["verdict"])] > RANK[Verdict(worst[pair]["verdict"])]:
            worst[pair] = proof
    return worst


def explained(proofs: Iterable[Proof]) -> Iterator[str]:
    """Yield a line for each proof that is not well, and the host that they have in common, if there is one."""
    wrong = [proof for proof in proofs if proof["verdict"] != Verdict.OK]
    for proof in wrong[:_LINES]:
        ends = f"{proof['source']} -> {proof['destination']}"
        yield f"{proof['verdict']}: {proof['network']}, {ends} over {proof['underlay']}: {proof['reason']}"
    if len(wrong) > _LINES:
        yield f"and {len(wrong) - _LINES} more: -o json tells all"
    pairs = {frozenset((proof["source"], proof["destination"])) for proof in wrong}
    if len(pairs) > 1 and (common := frozenset.intersection(*pairs)):
        yield f"all of these have {', '.join(common)} at one end"


def _print_matrix(console: Console, network: str, cells: Matrix) -> None:
    hosts = sorted({host for pair in cells for host in pair})
    roomy = len(hosts) <= _ROOMY
    heads = hosts if roomy else [str(number) for number in range(1, len(hosts) + 1)]
    names = hosts if roomy else [f"{number} {host}" for number, host in enumerate(hosts, 1)]
    rows = [
        (name, [cells.get((host, other)) for other in hosts]) for name, host in zip(names, hosts, strict=True)
    ]
    if console.is_terminal:
        _print_table(console, network, heads, rows, roomy=roomy)
        return
    click.echo("\t".join((network, *heads)))
    for name, row in rows:
        click.echo("\t".join((name, *(_cell(proof, roomy=roomy) for proof in row))))


def _print_table(
    console: Console,
    network: str,
    heads: Sequence[str],
    rows: Iterable[tuple[str, Sequence[Proof | None]]],
    *,
    roomy: bool,
) -> None:
    table = Table(network, *heads, box=None, padding=(0, 1) if roomy else (0, 0, 0, 1))
    for name, row in rows:
        table.add_row(name, *(_coloured(proof, roomy=roomy) for proof in row))
    console.print(table)


def _coloured(proof: Proof | None, *, roomy: bool) -> str:
    text = _cell(proof, roomy=roomy)
    return text if proof is None else f"[{_COLOURS[Verdict(proof['verdict'])]}]{text}[/]"


def _cell(proof: Proof | None, *, roomy: bool) -> str:
    if proof is None:
        return "-"
    verdict = Verdict(proof["verdict"])
    if not roomy:
        return _SIGNS[verdict]
    if verdict is Verdict.MTU:
        return f"mtu {proof['proved_mtu']}"
    told = proof["rtt_ms"] if verdict in (Verdict.OK, Verdict.LOSSY) else None
    return f"{verdict.value} {told['min']:.2f} ms" if told else verdict.value


def _summary(done: Mapping[str, Any], proofs: Sequence[Proof]) -> str:
    counts = ", ".join(f"{count} {verdict}" for verdict, count in done["verdicts"].items())
    options = sorted({one["option"] for proof in proofs for one in proof["options"]})
    carried = f", options {', '.join(options)}" if options else ""
    sent = done["progress"]["sent"]
    return f"{len(proofs)} directions in {done['seconds']:.1f} s, {sent} probes{carried}: {counts}"
