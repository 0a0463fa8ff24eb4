# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve agent: keeps the kernel of a host without Open vSwitch."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from controller.agent.agent import Agent
from controller.agent.kept import Kept
from controller.agent.kernel import NamespaceKernel
from controller.agent.source import RestSource
from controller.cli.client import CA, DEFAULT_SERVER
from controller.errors import ControllerError, SetupError
from controller.settings import check_remotes
from controller.tls import introduced
from ovs_geneve.kernel.objects import KernelState
from ovs_geneve.vport import GENEVE_PORT

if TYPE_CHECKING:
    from controller.agent.store_source import StoreSource

_DEFAULT_STATE = Path("/var/lib/ovs-geneve-agent")
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_OF_STORES = {"cert": "--cert", "key": "--key", "tunnel_port": "--tunnel-port"}


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
    "--store",
    help="Follow the intent store itself, no controller is needed: its OVSDB or the members of a cluster, such as"
    " tcp:192.0.2.1:6641,tcp:192.0.2.2:6641; instead of --controller.",
)
@click.option(
    "--ca",
    envvar=CA,
    type=_FILE,
    help="Certificates of who signed the controller's; of those that the system trusts by default. Or the store's.",
)
@click.option("--cert", type=_FILE, help="Ours, for a store at ssl:ADDRESS:PORT; with --ca and --key.")
@click.option("--key", type=_FILE, help="Its private key.")
@click.option(
    "--tunnel-port",
    type=click.IntRange(1, 65535),
    default=GENEVE_PORT,
    show_default=True,
    help="UDP port, as controllers have it; with --store.",
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
@click.pass_context
def agent(
    context: click.Context,
    host: str,
    url: str,
    store: str | None,
    ca: Path | None,
    cert: Path | None,
    key: Path | None,
    tunnel_port: int,
    namespace: str | None,
    state: Path,
    remove: bool,
    verbose: int,
) -> None:
    """Keep this host's kernel equal to what the controller or the store says, until told to stop.

    For hosts of kind linux. What it made stays when it ends.
    """
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _check_options(context, store)
    kept = Kept(state)
    try:
        if remove:
            asyncio.run(_remove(namespace, kept))
        elif store is not None:
            tls = _store_tls(store, ca, cert, key)
            asyncio.run(_run(lambda: _of_store(store, host, tls, tunnel_port), namespace, kept))
        else:
            asyncio.run(_run(lambda: RestSource(url, host, ca), namespace, kept))
    except (ControllerError, OSError) as error:
        raise click.ClickException(str(error)) from error
    except ExceptionGroup as group:
        raise click.ClickException("; ".join(map(str, group.exceptions))) from group


def _check_options(context: click.Context, store: str | None) -> None:
    """Refuse what does not go together; an address in the environment is no matter of who names a store."""
    given = {
        name
        for name in ("url", *_OF_STORES)
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    if store is not None and "url" in given:
        raise click.UsageError("give one of --controller and --store")
    for name in sorted(given & _OF_STORES.keys()) if store is None else ():
        raise click.UsageError(f"{_OF_STORES[name]} goes with --store")


def _store_tls(store: str, ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    is_tls = any(remote.is_tls for remote in check_remotes(store, "--store", passive=False))
    if ca is not None and cert is not None and key is not None:
        return introduced(ca, cert, key)
    if is_tls or cert is not None or key is not None:
        raise SetupError(f"--store {store}: certificates of both ends", "give --ca, --cert and --key")
    return None


def _of_store(store: str, host: str, tls: ssl.SSLContext | None, tunnel_port: int) -> StoreSource:
    # The parts of a controller take a second to import; who follows one over REST does not pay for them.
    from controller.agent.beside_store import BesideStore  # noqa: PLC0415
    from controller.agent.store_source import StoreSource  # noqa: PLC0415

    return StoreSource(BesideStore(store, host, tls, tunnel_port), host)


async def _run(
    make_source: Callable[[], RestSource | StoreSource], namespace: str | None, kept: Kept
) -> None:
    source = make_source()
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
