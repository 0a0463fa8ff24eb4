# SPDX-License-Identifier: Apache-2.0
"""The controller as one process: builds every part, starts them in order, stops them in reverse.

This and the command line are the only places where concrete parts meet.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib.metadata import version

import uvicorn

from controller.api.server import create_app
from controller.app import GeneveApp
from controller.errors import SetupError
from controller.intent.commands import Delete, Put
from controller.intent.embedded import EmbeddedDatabase
from controller.intent.intent import Intent
from controller.intent.model import AnyObject
from controller.intent.ovsdb_store import OvsdbStore
from controller.intent.service import IntentService, Result
from controller.reconciler.binder import Binder
from controller.reconciler.reconciler import Reconciler
from controller.reconciler.status import Condition, HostProgress
from controller.settings import Settings
from controller.southbound.ovsdb import OvsdbHosts
from controller.southbound.ports import HostDatabases, HostReport, WaitingHost
from ovs_geneve.openflow.osken_transport import AppHost, OpenFlowServer

_SHUTDOWN_SECONDS = 3
"How long requests under way, such as those that wait for bridges, may hold up the end."

MakeHosts = Callable[[Settings, OpenFlowServer], HostDatabases]
"Makes the OVSDB side of the hosts; anything but `OvsdbHosts` is for measuring."


class ControllerProcess:
    """The running controller; what REST asks of it (`controller.api.backend.Controller`)."""

    version = version("ovs-geneve")

    def __init__(
        self, service: IntentService, binder: Binder, reconciler: Reconciler, hosts: HostDatabases
    ) -> None:
        self._service = service
        self._binder = binder
        self._hosts = hosts
        self.reconciler = reconciler

    @property
    def intent(self) -> Intent:
        """The intent as committed last."""
        return self._service.intent

    async def submit(self, command: Put | Delete) -> Result:
        """Decide on a command and store what it changes; a port whose interface is plugged is bound with it."""
        return await self._service.submit(command, then=self._binder.follow_up(command))

    def conditions(self, held: AnyObject) -> tuple[Condition, ...]:
        """Say how an object stands."""
        return self.reconciler.conditions(held)

    def hosts_concerned(self, held: AnyObject) -> frozenset[str]:
        """Return the hosts whose bridges hold something because of an object."""
        return self.reconciler.hosts_concerned(held)

    async def acknowledged(self, hosts: Iterable[str], revision: int, object_key: int) -> None:
        """Return once bridges have acknowledged a revision, or one has refused the object."""
        await self.reconciler.acknowledged(hosts, revision, object_key)

    def report(self, host: str) -> HostReport:
        """Return what a host's OVSDB tells."""
        return self.reconciler.report(host)

    def progress(self, host: str) -> HostProgress:
        """Return how far the programming of a host is."""
        return self.reconciler.progress(host)

    def waiting_hosts(self) -> tuple[WaitingHost, ...]:
        """Return strangers that called in."""
        return self._hosts.strangers()

    def ready(self) -> tuple[bool, str]:
        """Say whether requests can be served, and why not."""
        return (True, "") if self._service.is_certain else (False, "the intent store does not answer")


@asynccontextmanager
async def running(settings: Settings, make_hosts: MakeHosts = OvsdbHosts) -> AsyncIterator[ControllerProcess]:
    """Run everything but the REST server, for the duration of the context."""
    settings.state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        # What is loaded and compiled stays for long: the collector would look at it over and over, now and later.
        gc.disable()
        stack.callback(gc.enable)
        database = await stack.enter_async_context(EmbeddedDatabase(settings.state_directory))
        store = OvsdbStore(database.remote)
        stack.push_async_callback(store.close)
        service = IntentService(store)
        await service.start()
        stack.push_async_callback(service.stop)

        apps = AppHost()
        stack.push_async_callback(apps.close)
        switches = OpenFlowServer(apps)
        stack.push_async_callback(switches.close)
        hosts = make_hosts(settings, switches)
        binder = Binder(lambda: service.intent, service.submit)
        reconciler = Reconciler(binder, hosts, asyncio.get_running_loop().call_later)
        hosts.events = reconciler
        service.on_change = reconciler.intent_changed
        apps.add(GeneveApp, switches=reconciler)
        if settings.openflow is not None:
            address, port = _address(settings.openflow)
            await switches.listen_tcp(address or None, port)
        await hosts.start()
        stack.push_async_callback(hosts.close)
        reconciler.start(service.intent)
        binding = asyncio.create_task(binder.run(), name="binder")
        stack.push_async_callback(_end, binding)
        gc.freeze()
        gc.enable()
        stack.callback(gc.unfreeze)
        yield ControllerProcess(service, binder, reconciler, hosts)


async def serve(settings: Settings, make_hosts: MakeHosts = OvsdbHosts) -> None:
    """Run the controller until it is asked to stop (SIGINT, SIGTERM)."""
    async with running(settings, make_hosts) as process:
        server = _Server(_rest_config(settings, process))
        await server.serve()
        if not server.started:
            raise SetupError(f"REST cannot listen on {settings.rest}", "is another controller running?")


class _Server(uvicorn.Server):
    """Leaves it to us to end the process: uvicorn raises the signal again, which would cut our own ending short."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop serving on SIGINT and SIGTERM (uvicorn calls this)."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def _rest_config(settings: Settings, process: ControllerProcess) -> uvicorn.Config:
    config = uvicorn.Config(
        create_app(process),
        log_config=None,
        lifespan="off",
        access_log=False,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    if settings.rest.startswith("unix:"):
        config.uds = settings.rest.removeprefix("unix:")
    else:
        config.host, config.port = _address(settings.rest)
    return config


def _address(text: str) -> tuple[str, int]:
    """Take ADDRESS:PORT apart; an IPv6 address stands in brackets."""
    address, _, port = text.rpartition(":")
    return address.strip("[]"), int(port)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
