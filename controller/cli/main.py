# SPDX-License-Identifier: Apache-2.0
"""The command ovs-geneve. Commands are imported when they are called: `ovs-geneve get` does not load a controller."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version

import click

_COMMANDS = {
    "agent": "controller.cli.agent",
    "apply": "controller.cli.objects",
    "controller": "controller.cli.controller",
    "debug": "controller.cli.debug",
    "decode": "controller.cli.decode",
    "delete": "controller.cli.objects",
    "dissector": "controller.cli.dissector",
    "events": "controller.cli.events",
    "get": "controller.cli.objects",
    "host": "controller.cli.host",
    "lab": "controller.cli.lab",
    "prove": "controller.cli.prove",
    "render": "controller.cli.render",
    "offload": "controller.cli.offload",
    "status": "controller.cli.objects",
    "verify": "controller.cli.verify",
}
"Where each command is defined, under its own name."


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(import_module(module), cmd_name)
        return command


@click.command(cls=_Lazy)
@click.version_option(version("ovs-geneve"))
def main() -> None:
    """GENEVE overlays on Open vSwitch, with options you declare."""
