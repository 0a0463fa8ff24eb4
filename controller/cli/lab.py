# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve lab: hosts in network namespaces on this machine, and workloads behind them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from controller.lab import Lab, LabError, LabSettings, Underlay, demo, playground
from controller.lab import down as take_down
from controller.lab.settings import MAX_HOSTS, MAX_LINUX_HOSTS

P = ParamSpec("P")

_UNDERLAYS = [underlay.value for underlay in Underlay]
_name = click.option("--name", default=LabSettings().name, show_default=True, help="Of the lab.")
_underlay = click.option("--underlay", type=click.Choice(_UNDERLAYS), default="ipv4", show_default=True)


def _explained(command: Callable[P, None]) -> Callable[P, None]:
    """Turn a LabError into its message and hint."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except LabError as error:
            raise click.ClickException(
                f"{error.message}\n  {error.hint}" if error.hint else error.message
            ) from error

    return run


@click.group("lab")
def lab() -> None:
    """Hosts in network namespaces, each with its own Open vSwitch; needs root."""


@lab.command("up")
@click.option("--hosts", type=click.IntRange(1, MAX_HOSTS), default=3, show_default=True)
@click.option(
    "--linux-hosts", type=click.IntRange(0, MAX_LINUX_HOSTS), default=0, help="Without Open vSwitch."
)
@_underlay
@_name
@_explained
def up(hosts: int, linux_hosts: int, underlay: str, name: str) -> None:
    """Bring a lab up: hosts only, for a controller and agents of yours."""
    settings = LabSettings(name=name, hosts=hosts, linux_hosts=linux_hosts, underlay=Underlay(underlay))
    _show_hosts(_with_bar(lambda progress: Lab.up(settings, progress)))


@lab.command("down")
@_name
@_explained
def down(name: str) -> None:
    """End a lab and all that is left of it; harmless when there is none."""
    playground.stop(name)
    gone = take_down(name)
    click.echo(f"ended: {len(gone.namespaces)} namespaces, {len(gone.processes)} processes")


@lab.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("where")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@_name
@_explained
def execute(where: str, command: tuple[str, ...], name: str) -> None:
    """Run a COMMAND as a port's workload, on a host, or in the fabric: lab exec web1 -- ping 10.0.0.2."""
    process = _load(name).popen(where, list(command))
    sys.exit(process.wait())


@lab.command("list")
@_name
@_explained
def list_lab(name: str) -> None:
    """Show the hosts of a lab and what is plugged where."""
    loaded = _load(name)
    _show_hosts(loaded)
    for port in loaded.ports:
        click.echo(f"{port.name}\t{port.mac}\t{' '.join(port.addresses)}\ton {port.host}")


@lab.command("plug")
@click.argument("port")
@click.argument("host")
@click.option("--mac", required=True)
@click.option("--address", "addresses", multiple=True, help="With prefix length: 10.0.0.9/24.")
@_name
@_explained
def plug(port: str, host: str, mac: str, addresses: tuple[str, ...], name: str) -> None:
    """Make a workload and plug it into a host as PORT (external_ids:iface-id)."""
    _load(name).plug(host, port, mac, addresses)


@lab.command("move")
@click.argument("port")
@click.argument("host")
@_name
@_explained
def move(port: str, host: str, name: str) -> None:
    """Plug a workload into another host instead."""
    _load(name).move(port, host)


@lab.command("run")
@click.option("--hosts", type=click.IntRange(3, 240), default=3, show_default=True)
@_underlay
@_name
@_explained
def run(hosts: int, underlay: str, name: str) -> None:
    """Leave a lab running beside a controller, with two tenants plugged in, and say what to try."""
    settings = LabSettings(name=name, hosts=hosts, underlay=Underlay(underlay))
    _with_bar(lambda progress: playground.start(settings, progress))
    click.echo(playground.what_to_try())


@lab.command("demo")
@_underlay
@_explained
def tell(underlay: str) -> None:
    """Tell the story of the product in a minute, checking every line of it."""
    sys.exit(1 if demo.run(Underlay(underlay)) else 0)


def _show_hosts(lab: Lab) -> None:
    for host in lab.hosts:
        click.echo(f"{host.name}\tendpoint {host.endpoint}\tovsdb {host.ovsdb}")
    for linux in lab.linux_hosts:
        click.echo(f"{linux.name}\tendpoint {linux.endpoint}\tagent in namespace {linux.namespace}")


def _load(name: str) -> Lab:
    return Lab.load(LabSettings(name=name).home)


def _with_bar(work: Callable[[Callable[[str, int, int], None]], Lab]) -> Lab:
    columns = TextColumn("{task.description}"), BarColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("lab", total=None)
        return work(lambda text, done, total: bar.update(task, description=text, completed=done, total=total))
