# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve host: makes this machine a host of a controller, or ends that."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import httpx

from controller.cli.client import CA, Client, Refused
from controller.errors import SetupError
from controller.intent.model import HostKind
from controller.joining import layout
from controller.joining.carry_out import carry_out
from controller.joining.facts import ControllerAddress, Wish
from controller.joining.join import plan_join
from controller.joining.leave import plan_leave
from controller.joining.observe import Machine, observe, read_record
from controller.joining.steps import Plan, Step, render
from controller.settings import LOCAL_OVSDB
from ovs_geneve.vport import GENEVE_PORT

_dry_run = click.option("--dry-run", is_flag=True, help="Change nothing: print the steps.")
_ovsdb = click.option(
    "--ovsdb", default=LOCAL_OVSDB, show_default=True, help="Of this machine's Open vSwitch."
)


class Rest:
    """Implements Api; `ca` has who signed the controller's certificate."""

    def __init__(self, ca: str = "") -> None:
        self._ca = Path(ca) if ca else None

    def put_host(self, rest: str, host: str, document: Mapping[str, Any]) -> None:
        """Declare a host."""
        with closing(Client(rest, self._ca)) as client:
            client.put(f"hosts/{host}", document)

    def delete_host(self, rest: str, host: str) -> None:
        """Forget a host; no matter when it is not known."""
        with closing(Client(rest, self._ca)) as client:
            try:
                client.delete(f"hosts/{host}")
            except Refused as refused:
                if refused.status != httpx.codes.NOT_FOUND:
                    raise

    def hears(self, rest: str, host: str) -> bool:
        """Tell whether the controller is connected with a host, or its agent."""
        with closing(Client(rest, self._ca)) as client:
            conditions = client.get(f"hosts/{host}")["status"]["conditions"]
        return any((one["type"], one["status"]) == ("Connected", "True") for one in conditions)


@click.group("host")
def host() -> None:
    """This machine as a host of a controller; run it on the host, as root."""


@host.command("join")
@click.option(
    "--controller",
    "address",
    required=True,
    help="http://ADDRESS:6680: the host is enrolled over REST. Or where OVSDB calls in (ssl:ADDRESS:6640): it waits"
    " until somebody enrols it.",
)
@click.option(
    "--ca",
    envvar=CA,
    type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True),
    help="Certificates of who signed that of an https:// controller; the agent looks there too.",
)
@click.option("--manager", help="Where OVSDB calls in, when it is not port 6640 of the same address.")
@click.option(
    "--kind",
    type=click.Choice([kind.value for kind in HostKind]),
    default="ovs",
    show_default=True,
    help="linux: without Open vSwitch.",
)
@click.option("--name", help="Of the host.  [default: the machine's]")
@click.option(
    "--endpoint", help="Its tunnel endpoint.  [default: the address from which the controller is reached]"
)
@click.option(
    "--tunnels",
    type=click.Choice(["metadata", "fixed"]),
    default="metadata",
    show_default=True,
    help="With --kind linux: one geneve device for all; or one for each network and peer, without options.",
)
@click.option(
    "--tunnel-port",
    type=click.IntRange(1, 65535),
    default=GENEVE_PORT,
    show_default=True,
    help="The overlay's UDP port, when its controller has another one.",
)
@_ovsdb
@_dry_run
def join(
    address: str,
    ca: Path | None,
    manager: str | None,
    kind: str,
    name: str | None,
    endpoint: str | None,
    tunnels: str,
    tunnel_port: int,
    ovsdb: str,
    dry_run: bool,
) -> None:
    """Make this machine a host. Repeating it is harmless; what others set stays."""
    try:
        wish = Wish(
            host=name or socket.gethostname().partition(".")[0].lower(),
            kind=HostKind(kind),
            controller=ControllerAddress.parse(address, manager),
            endpoint=endpoint,
            tunnels=tunnels,
            tunnel_port=tunnel_port,
            ca=str(ca or ""),
        )
        machine = Machine(ovsdb=ovsdb)
        facts = observe(
            machine,
            controller_host=wish.controller.host,
            declared=_declared(wish),
            joined=read_record(machine),
            tunnel_port=wish.tunnel_port,
            with_kernel=wish.kind is HostKind.LINUX,
        )
        plan = plan_join(wish, facts, _packaged_unit())
        _do(plan, machine, Rest(wish.ca), dry_run=dry_run, done=f"{wish.host} is joined")
    except (SetupError, OSError) as error:
        raise click.ClickException(str(error)) from error


@host.command("leave")
@click.option("--local", is_flag=True, help="Do not tell the controller, for one that is gone for good.")
@_ovsdb
@_dry_run
def leave(local: bool, ovsdb: str, dry_run: bool) -> None:
    """Take away what the join made, and nothing else."""
    try:
        machine = Machine(ovsdb=ovsdb)
        facts = observe(machine, joined=read_record(machine), with_kernel=False)
        _do(
            plan_leave(facts, tell_controller=not local),
            machine,
            Rest(facts.joined.ca if facts.joined else ""),
            dry_run=dry_run,
            done="this machine has left",
        )
    except (SetupError, OSError) as error:
        raise click.ClickException(str(error)) from error


def _declared(wish: Wish) -> Mapping[str, Any] | None:
    """Ask the controller what it holds of this host."""
    if wish.controller.rest is None:
        return None
    try:
        view = Client(wish.controller.rest, Path(wish.ca) if wish.ca else None).get(f"hosts/{wish.host}")
    except Refused as refused:
        if refused.status == httpx.codes.NOT_FOUND:
            return None
        raise
    spec: Mapping[str, Any] = view["spec"]
    return spec


def _packaged_unit() -> str:
    return (files("controller") / "units" / layout.AGENT_SERVICE).read_text()


def _do(plan: Plan, machine: Machine, api: Rest, *, dry_run: bool, done: str) -> None:
    if plan.refusals:
        raise click.ClickException("\n".join(f"{one.reason} ({one.advice})" for one in plan.refusals))
    if dry_run:
        for step in plan.steps:
            click.echo(f"# {step.why}\n{render(step)}")
    else:
        carry_out(plan, machine, api, _say)
        click.echo(done if plan.steps else "nothing to do")
    for note in plan.notes:
        click.echo(f"note: {note}", err=True)


def _say(step: Step) -> None:
    click.echo(step.why)
