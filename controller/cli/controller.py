# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve controller: runs the controller in the foreground."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import click

from controller.errors import ControllerError
from controller.settings import Settings

_DEFAULT_STATE = Path("/var/lib/ovs-geneve")


@click.command("controller")
@click.option(
    "--state",
    "state_directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=_DEFAULT_STATE,
    show_default=True,
    help="Directory of the intent's database and the Unix sockets.",
)
@click.option(
    "--store", help="OVSDB that keeps the intent, such as the members of a cluster: tcp:192.0.2.1:6641,tcp:…"
)
@click.option(
    "--rest", default="127.0.0.1:6680", show_default=True, help="ADDRESS:PORT of REST, or unix:PATH."
)
@click.option("--ovsdb", help="Where hosts call in, such as ptcp:6640:127.0.0.1, besides STATE/ovsdb.sock.")
@click.option("--openflow", help="ADDRESS:PORT where bridges of other machines dial, such as 192.0.2.1:6653.")
@click.option(
    "--advertise", help="OpenFlow target given to hosts, when it is not where their OVSDB reached us."
)
@click.option(
    "--owner", default="ovs-geneve", show_default=True, help="Our mark on rows of hosts' databases."
)
@click.option(
    "--tunnel-port", type=click.IntRange(1, 65535), default=6081, show_default=True, help="UDP port."
)
@click.option("-v", "--verbose", count=True, help="Log more; twice for everything.")
def controller(verbose: int, **options: object) -> None:
    """Run the controller until it is told to stop."""
    # The parts of a controller take a second to import; other commands do not pay for it.
    from controller.process import serve  # noqa: PLC0415

    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(serve(Settings(**options)))  # type: ignore[arg-type]  # click checked the types
    except (ControllerError, OSError) as error:
        raise click.ClickException(str(error)) from error
