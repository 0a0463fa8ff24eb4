# SPDX-License-Identifier: Apache-2.0
"""The controller as one process: builds every part, starts them in order, stops them in reverse.

This and the command line are the only places where concrete parts meet.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version

import uvicorn

from controller.api.server import create_app
from controller.app import GeneveApp
from controller.collector import Collector
from controller.compiler.compile import recompute
from controller.compiler.cookies import Feature
from controller.compiler.punts import Punt
from controller.compiler.recompute import Recomputation
from controller.drop_log import DropLog
from controller.errors import SetupError
from controller.events import Event, EventKind, EventLog
from controller.guard.guard import Guard
from controller.intent.commands import Delete, Put
from controller.intent.embedded import EmbeddedDatabase, lock_directory
from controller.intent.following import following
from controller.intent.intent import Intent
from controller.intent.model import AnyObject, Change, Kind
from controller.intent.ovsdb_store import DATABASE
from controller.intent.service import IntentService, Result
from controller.offload.live import EveryEyes, Eyes, LocalEyes
from controller.prober.bridges import FleetBridges
from controller.prober.prober import Prober
from controller.proof.prove import prove
from controller.proof.report import Proof
from controller.reconciler.binder import Binder
from controller.reconciler.counting import count
from controller.reconciler.reconciler import Reconciler
from controller.reconciler.recorder import Recorder
from controller.reconciler.status import Condition, HostProgress, Work
from controller.rollout.hosts import RolloutHosts
from controller.rollout.probing import ProbedCanary
from controller.rollout.runner import Rollouts
from controller.rollout.telling import describe
from controller.settings import Settings
from controller.shares.keeper import Keeper
from controller.shares.sharing import Handover, progress, served_elsewhere, with_bridges
from controller.southbound.ovsdb import OvsdbHosts
from controller.southbound.packets import PacketExchange
from controller.southbound.ports import HostDatabases, HostReport, WaitingHost
from controller.tls import presentable
from controller.workers import working
from ovs_geneve.openflow.osken_transport import AppHost, OpenFlowServer
from ovs_geneve.openflow.stats import Count

_SHUTDOWN_SECONDS = 3
"How long requests under way, such as those that wait for bridges, may hold up the end."

MakeHosts = Callable[[Settings, OpenFlowServer], HostDatabases]
"Makes the OVSDB side of the hosts; anything but `OvsdbHosts` is for measuring."


class ControllerProcess:
    """The running controller; what REST asks of it (`controller.api.backend.Controller`)."""

    version = version("ovs-geneve")

    def __init__(
        self,
        service: IntentService,
        binder: Binder,
        reconciler: Reconciler,
        hosts: HostDatabases,
        rollouts: Rollouts,
        prober: Prober,
        guard: Guard,
        events: EventLog,
        tunnel_port: int,
    ) -> None:
        self._service = service
        self._binder = binder
        self._hosts = hosts
        self._rollouts = rollouts
        self._guard = guard
        self._events = events
        self._proving = asyncio.Lock()
        self.reconciler = reconciler
        self.prober = prober
        self.linux = reconciler.linux
        self.tunnel_port = tunnel_port
        local = LocalEyes(reconciler.run_directories, lambda: self.intent)
        self.eyes: Eyes = EveryEyes(local, self.linux)

    @property
    def intent(self) -> Intent:
        """The intent as committed last."""
        return self._service.intent

    async def submit(self, command: Put | Delete) -> Result:
        """Decide on a command and store what it changes; a port whose interface is plugged is bound with it."""
        return await self._enqueue(command)

    async def submit_all(self, commands: Iterable[Put | Delete]) -> Sequence[Result | BaseException]:
        """Decide on commands in their order, each for itself, as `submit` does."""
        begun = [self._enqueue(command) for command in commands]
        return await asyncio.gather(*begun, return_exceptions=True)

    def _enqueue(self, command: Put | Delete) -> asyncio.Future[Result]:
        return self._service.enqueue(command, then=self._binder.follow_up(command))

    def conditions(self, held: AnyObject) -> tuple[Condition, ...]:
        """Say how an object stands."""
        said = self.reconciler.conditions(held)
        return (*said, *self._guard.conditions(held.name)) if held.kind is Kind.HOST else said

    def guards(self, host: str) -> bool:
        """Tell whether a host's datapath is watched for bad options."""
        return self._guard.guards(host)

    def events(self, since: int, limit: int) -> tuple[Event, ...]:
        """Return what happened after an event, oldest first."""
        return self._events.since(since, limit)

    def hosts_concerned(self, held: AnyObject) -> frozenset[str]:
        """Return the hosts whose bridges hold something because of an object."""
        return self.reconciler.hosts_concerned(held)

    async def acknowledged(self, hosts: Iterable[str], revision: int, object_key: int) -> None:
        """Return once bridges have acknowledged a revision, or one has refused the object."""
        await self.reconciler.acknowledged(hosts, revision, object_key)

    async def rolled_out(self, network: str) -> None:
        """Return once no option is on its way into or out of a network."""
        await self._rollouts.finished(network)

    def report(self, host: str) -> HostReport:
        """Return what a host's OVSDB tells."""
        return self.reconciler.report(host)

    def progress(self, host: str) -> HostProgress:
        """Return how far the programming of a host is."""
        return self.reconciler.progress(host)

    def network_mtu(self, network: str) -> int | None:
        """Return the largest IP packet that a network carries; None while no host is declared."""
        return self.reconciler.network_mtu(network)

    async def counters(self, held: AnyObject, feature: Feature) -> dict[str, Count | None]:
        """Return what the flows that an object has for a feature counted, by connected host; None: no answer."""
        return await count(self.reconciler.bridges.channels(self.hosts_concerned(held)), feature, held.key)

    def work(self) -> Work:
        """Return what changes cost."""
        return self.reconciler.work()

    async def recompute(self) -> Recomputation:
        """Compile everything from nothing, beside the running controller, and compare."""
        return await asyncio.to_thread(recompute, self.reconciler.compiler.snapshot())

    async def prove(self) -> tuple[Proof, float]:
        """Prove that what is compiled keeps networks apart, beside the running controller; return the seconds, too."""
        async with self._proving:
            begun = time.monotonic()
            proof = await asyncio.to_thread(prove, self.reconciler.compiler.snapshot())
            return proof, time.monotonic() - begun

    def waiting_hosts(self) -> tuple[WaitingHost, ...]:
        """Return strangers that called in; a host that another controller serves is none."""
        known = self._service.intent.host_by_system_id
        return tuple(one for one in self._hosts.strangers() if known(one.system_id) is None)

    def ready(self) -> tuple[bool, str]:
        """Say whether requests can be served, and why not."""
        return (True, "") if self._service.is_certain else (False, "the intent store does not answer")


@dataclass(frozen=True, slots=True)
class _Fabric:
    """What stands between the intent and the hosts."""

    reconciler: Reconciler
    binder: Binder
    hosts: HostDatabases
    packets: PacketExchange


@asynccontextmanager
async def running(settings: Settings, make_hosts: MakeHosts = OvsdbHosts) -> AsyncIterator[ControllerProcess]:
    """Run everything but the REST server, for the duration of the context."""
    settings.state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        collector = stack.enter_context(Collector())
        remote = await _store_remote(settings, stack)
        service = await stack.enter_async_context(following(remote, settings.name))
        fabric = await _fabric(settings, service, make_hosts, stack)
        reconciler, binder = fabric.reconciler, fabric.binder
        prober = _prober(service, fabric)
        stack.push_async_callback(prober.stop)
        events = EventLog()
        refused = DropLog(lambda: service.intent, reconciler.bridges.host_of, events, time.time)
        fabric.packets.register(Punt.DROP_LOG, refused)
        guard = Guard(reconciler.run_directories, lambda: service.intent, events)
        sight = RolloutHosts(reconciler)
        clock = asyncio.get_running_loop().time
        rollouts = Rollouts(sight, service.submit, clock, quarantine=settings.slot_rest)
        rollouts.canary = ProbedCanary(prober)
        recorder = Recorder(lambda: service.intent, reconciler.programmers, reconciler.report, service.submit)
        # Nothing may come between: others write to the store as well.
        reconciler.start(service.intent)
        keeper = None
        if settings.shares_hosts:
            keeper = _share_hosts(settings, remote, service, binder, reconciler)
            sight.shared = keeper
            stack.push_async_callback(keeper.stop)
        _connect(service, reconciler, rollouts, recorder, events, keeper)
        await stack.enter_async_context(working(binder, rollouts, recorder, guard))
        if keeper is not None:
            keeper.start()
        collector.start()
        parts = (service, binder, reconciler, fabric.hosts, rollouts, prober, guard, events)
        yield ControllerProcess(*parts, settings.tunnel_port)


async def _fabric(
    settings: Settings, service: IntentService, make_hosts: MakeHosts, stack: AsyncExitStack
) -> _Fabric:
    """Listen for hosts and bridges; nothing is done with them before the reconciler is started."""
    apps = AppHost()
    stack.push_async_callback(apps.close)
    switches = OpenFlowServer(apps)
    stack.push_async_callback(switches.close)
    hosts = make_hosts(settings, switches)
    binder = Binder(lambda: service.intent, service.submit)
    call_later, token = asyncio.get_running_loop().call_later, secrets.token_hex(4)
    reconciler = Reconciler(binder, hosts, call_later, token, settings.tunnel_port)
    hosts.events = reconciler
    packets = PacketExchange()
    apps.add(GeneveApp, switches=reconciler, packets=packets)
    if settings.openflow is not None:
        address, port = _address(settings.openflow)
        await switches.listen_tcp(address or None, port)
    await hosts.start()
    stack.push_async_callback(hosts.close)
    if settings.shares_hosts:
        reconciler.serve(frozenset())
    return _Fabric(reconciler, binder, hosts, packets)


async def _store_remote(settings: Settings, stack: AsyncExitStack) -> str:
    """Take the state directory, keep a store there if none is given, and return where the store is dialled."""
    if settings.store is not None:
        stack.callback(os.close, lock_directory(settings.state_directory))
        return settings.store
    database = EmbeddedDatabase(settings.state_directory, settings.store_listen)
    await stack.enter_async_context(database)
    return database.remote


def _prober(service: IntentService, fabric: _Fabric) -> Prober:
    """Give the prober its way to the bridges."""
    bridges = FleetBridges(fabric.reconciler.bridges)
    prober = Prober(
        bridges,
        lambda: service.intent,
        clock=asyncio.get_running_loop().time,
        wall=time.time,
        draw=lambda: secrets.randbits(64),
    )
    bridges.sighted = prober.sighted
    fabric.packets.register(Punt.PROBE, bridges)
    return prober


def _share_hosts(
    settings: Settings, remote: str, service: IntentService, binder: Binder, reconciler: Reconciler
) -> Keeper:
    """Have the reconciler serve the hosts that are ours, among the controllers on this store."""
    dedicated = frozenset[str]() if settings.host is None else frozenset({settings.host})
    keeper = Keeper(remote, DATABASE, settings.name, reconciler.serve, dedicated=dedicated)

    linux = reconciler.linux
    keeper.progress = lambda: progress(service.intent.revision, keeper.served, reconciler.programmers, linux)
    binder.elsewhere = served_elsewhere(keeper, linux)
    reconciler.elsewhere.peers = keeper
    keeper.declare(with_bridges(service.intent))
    return keeper


def _connect(
    service: IntentService,
    reconciler: Reconciler,
    rollouts: Rollouts,
    recorder: Recorder,
    events: EventLog,
    keeper: Keeper | None,
) -> None:
    """Have everybody told of what moves: the intent, bridges, other controllers."""

    def changed(before: Intent, after: Intent, changes: Sequence[Change]) -> None:
        reconciler.intent_changed(before, after, changes)
        rollouts.intent_changed(changes)
        for network, message in filter(None, map(describe, changes)):
            events.add(EventKind.ROLLOUT, host="", network=network, message=message, now=time.time())
        if keeper is not None:
            if any(change.kind is Kind.HOST for change in changes):
                keeper.declare(with_bridges(after))
            keeper.progressed()

    def progressed() -> None:
        rollouts.look_again()
        if keeper is not None:
            keeper.progressed()

    def peers_changed() -> None:
        reconciler.peers_changed()
        rollouts.look_again()

    def agents_progressed() -> None:
        peers_changed()
        if keeper is not None:
            keeper.progressed()

    service.on_change = changed
    reconciler.on_progress = progressed
    reconciler.on_host = recorder.look_again
    recorder.linux = reconciler.linux.capability
    reconciler.linux.on_host = recorder.look_again
    reconciler.linux.on_progress = agents_progressed
    reconciler.records_hosts = True
    if keeper is not None:
        handover = Handover(keeper.heard_by_others, reconciler.linux)

        def told() -> None:
            handover.look()
            peers_changed()

        keeper.on_peers = told


async def serve(settings: Settings, make_hosts: MakeHosts = OvsdbHosts) -> None:
    """Run the controller until it is asked to stop (SIGINT, SIGTERM)."""
    async with running(settings, make_hosts) as process:
        await serve_rest(settings, process)


async def serve_rest(settings: Settings, process: ControllerProcess) -> None:
    """Answer requests until asked to stop (SIGINT, SIGTERM). Raises SetupError where it cannot listen."""
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
    if settings.rest_cert is not None and settings.rest_key is not None:
        presentable(settings.rest_cert, settings.rest_key)
        config.ssl_certfile, config.ssl_keyfile = str(settings.rest_cert), str(settings.rest_key)
    if settings.rest.startswith("unix:"):
        config.uds = settings.rest.removeprefix("unix:")
    else:
        config.host, config.port = _address(settings.rest)
    return config


def _address(text: str) -> tuple[str, int]:
    """Take ADDRESS:PORT apart; an IPv6 address stands in brackets."""
    address, _, port = text.rpartition(":")
    return address.strip("[]"), int(port)
