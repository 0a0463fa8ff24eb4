# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve render: what a Linux host's kernel should hold, for a host without an agent."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from controller.cli.client import Client, server_option
from ovs_geneve.errors import EncodeError
from ovs_geneve.kernel.objects import KernelState, joined
from ovs_geneve.kernel.render import commands, removal
from ovs_geneve.kernel.render_files import ifupdown, networkd

_WAIT_SECONDS = 10.0
"For the controller to take in where ports are."


@click.command("render")
@click.option("--host", required=True, help="The host's name, as declared.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["commands", "ifupdown", "networkd"]),
    default="commands",
    show_default=True,
    help="A shell script, a stanza for /etc/network/interfaces.d, or files for systemd-networkd.",
)
@click.option(
    "--interface",
    "interfaces",
    multiple=True,
    metavar="PORT[=NAME]",
    help="A port on this host, which has no agent, and its interface; without NAME, its interface ID.",
)
@click.option("--remove", is_flag=True, help="Print the commands that end it all.")
@server_option
def render(host: str, form: str, interfaces: tuple[str, ...], remove: bool, server: str) -> None:
    """Print what makes a Linux host's kernel as it should be, once: whoever runs it again keeps it so.

    With --interface the controller learns which ports are on the host, as an agent would tell it: all of them have to
    be named. What a change of intent adds or takes away later is known to who renders again.
    """
    client = Client(server)
    plugged = dict(_plugged(client, one) for one in interfaces)
    if plugged:
        client.post(f"hosts/{host}/report", _report(plugged))
    state = _state(client, host, set(plugged.values()))
    try:
        click.echo(_text(state, form, remove=remove), nl=False)
    except EncodeError as error:
        raise click.ClickException(str(error)) from error


def _plugged(client: Client, one: str) -> tuple[str, str]:
    """Return the interface ID and the interface's name of a port."""
    port, _, name = one.partition("=")
    interface_id = client.get(f"ports/{port}")["spec"].get("interface_id") or port
    return interface_id, name or interface_id


def _report(plugged: Mapping[str, str]) -> Mapping[str, Any]:
    interfaces = [{"interface_id": one, "name": name} for one, name in plugged.items()]
    return {"interfaces": interfaces, "kernel": "unknown"}


def _state(client: Client, host: str, names: set[str]) -> KernelState:
    """Ask what the host should hold, until these interfaces are part of it."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        parts = msgspec.convert(client.get(f"hosts/{host}/kernel")["parts"], dict[str, KernelState])
        state = joined(parts.values())
        missing = names - {one.name for one in state.attachments}
        if not missing:
            return state
        if time.monotonic() > deadline:
            raise click.ClickException(
                f"the host leaves out {', '.join(sorted(missing))}: "
                "`ovs-geneve get port NAME` says why its port can not be there"
            )
        time.sleep(0.1)


def _text(state: KernelState, form: str, *, remove: bool) -> str:
    if remove:
        return _script(removal(state))
    match form:
        case "ifupdown":
            return ifupdown(state)
        case "networkd":
            return "".join(_file(path, text) for path, text in networkd(state).items())
        case _:
            return _script(commands(state))


def _script(lines: Sequence[str]) -> str:
    return "\n".join(("#!/bin/sh", *lines)) + "\n"


def _file(path: str, text: str) -> str:
    """Return a file so that the shell writes it."""
    return f"cat >{shlex.quote(path)} <<'EOF'\n{text}EOF\n"
