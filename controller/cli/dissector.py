# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve dissector: what was declared, for Wireshark, tshark and tcpdump."""

from __future__ import annotations

from typing import IO

import click

from controller.cli.client import DEFAULT_SERVER
from controller.cli.declared import Carried, carried_layouts, declared_layouts
from ovs_geneve.errors import EncodeError
from ovs_geneve.geneve.capture_filter import capture_filter, parse_condition
from ovs_geneve.geneve.dissector import lua_plugin
from ovs_geneve.values import Vni


@click.command("dissector")
@click.option(
    "--format",
    "form",
    type=click.Choice(["lua", "tcpdump"]),
    default="lua",
    show_default=True,
    help="A Wireshark plugin, or a filter expression for tcpdump.",
)
@click.option("--network", help="For tcpdump: only packets of this network.")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="SCHEMA.FIELD=VALUE[/MASK]",
    help="For tcpdump: only packets of the network with this value; several must all hold.",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=6081, show_default=True, help="For tcpdump: UDP port."
)
@click.option(
    "--schemas",
    type=click.File(),
    help="YAML with the objects, instead of the controller's; slots in its order.",
)
@click.option(
    "--server", envvar="OVS_GENEVE_SERVER", help=f"The controller that knows the objects [{DEFAULT_SERVER}]."
)
def dissector(
    form: str,
    network: str | None,
    options: tuple[str, ...],
    port: int,
    schemas: IO[str] | None,
    server: str | None,
) -> None:
    """Print a Wireshark plugin (Lua) that shows options by name, or a filter expression for tcpdump.

    \b
    ovs-geneve dissector > ~/.local/lib/wireshark/plugins/ovs-geneve.lua
    tshark -X lua_script:ovs-geneve.lua -Y 'ovsgeneve.context.tier == 2'
    tcpdump "$(ovs-geneve dissector --format tcpdump --network blue --option context.tier=2)"
    """
    if form == "lua":
        if network or options:
            raise click.UsageError("--network and --option go with --format tcpdump")
        click.echo(lua_plugin(declared_layouts(schemas, server)), nl=False)
        return
    if options and not network:
        raise click.UsageError("--option wants --network: where an option is depends on the others")
    carried = carried_layouts(network, schemas, server) if network else Carried(None, ())
    number = None if carried.vni is None else Vni(carried.vni)
    try:
        conditions = [parse_condition(option) for option in options]
        click.echo(capture_filter(port, number, carried.layouts, conditions))
    except EncodeError as error:
        raise click.ClickException(str(error)) from error
