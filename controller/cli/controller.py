# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve controller: runs the controller in the foreground."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import click

from controller.errors import ControllerError
from controller.settings import LOCAL_OVSDB, Settings

_DEFAULT_STATE = Path("/var/lib/ovs-geneve")
_DEFAULT_REST = "127.0.0.1:6680"


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
    "--store",
    help="Share the intent and the hosts with other controllers: the OVSDB of one that listens, or the members of a"
    " cluster, such as tcp:192.0.2.1:6641,tcp:192.0.2.2:6641. Plain TCP: on a management network you trust.",
)
@click.option(
    "--store-listen",
    help="Keep the store here and let others join: ptcp:6641:127.0.0.1. Plain TCP: on a management network you trust.",
)
@click.option(
    "--host", help="Serve this host alone, over the sockets of this machine (agent mode); needs --store."
)
@click.option(
    "--local-ovsdb",
    default=LOCAL_OVSDB,
    show_default=True,
    help="Where --host finds the OVSDB of this machine.",
)
@click.option(
    "--rest",
    help=f"ADDRESS:PORT of REST, or unix:PATH.  [default: {_DEFAULT_REST}; with --host unix:STATE/rest.sock]",
)
@click.option(
    "--rest-cert",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Certificate of REST, which is https then; needs --rest-key.",
)
@click.option(
    "--rest-key", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Its private key."
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
    if options["rest"] is None:
        options["rest"] = f"unix:{options['state_directory']}/rest.sock" if options["host"] else _DEFAULT_REST
    try:
        asyncio.run(serve(Settings(**options)))  # type: ignore[arg-type]  # click checked the types
    except (ControllerError, OSError) as error:
        raise click.ClickException(str(error)) from error
