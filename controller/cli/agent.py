# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve agent: keeps the kernel of a host without Open vSwitch."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path

import click

from controller.agent.agent import Agent
from controller.agent.kept import Kept
from controller.agent.kernel import NamespaceKernel
from controller.agent.source import RestSource
from controller.cli.client import CA, DEFAULT_SERVER
from controller.errors import ControllerError
from ovs_geneve.kernel.objects import KernelState

_DEFAULT_STATE = Path("/var/lib/ovs-geneve-agent")


@click.command("agent")
@click.option("--host", required=True, help="The host's name, as declared.")
@click.option(
    "--controller",
    "url",
    envvar="OVS_GENEVE_SERVER",
    default=DEFAULT_SERVER,
    show_default=True,
    help="The controller's REST API: https://ADDRESS:PORT, ADDRESS:PORT or unix:PATH.",
)
@click.option(
    "--ca",
    envvar=CA,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Certificates of who signed the controller's; of those that the system trusts by default.",
)
@click.option("--netns", "namespace", help="Keep this network namespace; our own by default.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=_DEFAULT_STATE,
    show_default=True,
    help="Directory of what to restore when no controller answers after a boot.",
)
@click.option("--remove", is_flag=True, help="Take everything of ours off the host and end.")
@click.option("-v", "--verbose", count=True, help="Log more; twice for everything.")
def agent(
    host: str, url: str, ca: Path | None, namespace: str | None, state: Path, remove: bool, verbose: int
) -> None:
    """Keep this host's kernel equal to what the controller says, until told to stop.

    For hosts of kind linux. What it made stays when it ends.
    """
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    kept = Kept(state)
    try:
        if remove:
            asyncio.run(_remove(namespace, kept))
        else:
            asyncio.run(_run(RestSource(url, host, ca), namespace, kept))
    except (ControllerError, OSError) as error:
        raise click.ClickException(str(error)) from error
    except ExceptionGroup as group:
        raise click.ClickException("; ".join(map(str, group.exceptions))) from group


async def _run(source: RestSource, namespace: str | None, kept: Kept) -> None:
    agent = Agent(source, kept)
    loop = asyncio.get_running_loop()
    async with source, NamespaceKernel(namespace, agent.kernel_changed) as kernel:
        running = asyncio.create_task(agent.run(kernel))
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, running.cancel)
        await asyncio.wait({running})
        if not running.cancelled():
            running.result()


async def _remove(namespace: str | None, kept: Kept) -> None:
    async with NamespaceKernel(namespace, lambda: None) as kernel:
        sight = await kernel.converge(KernelState())
    kept.forget()
    if sight.problems:
        first = sight.problems[0]
        raise click.ClickException(f"{first.object}: {first.message}")
