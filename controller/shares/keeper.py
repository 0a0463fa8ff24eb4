# SPDX-License-Identifier: Apache-2.0
"""Holds this controller's share of the hosts: a session that beats, and leases in the intent's database.

             open                      beats are acknowledged
    (none) ────────► SERVING ◄──────────────────────────────┐
       ▲                │ none for LAPSE_SECONDS             │
       │                ▼                                    │
       └─ row is gone ─ LAPSED: serves nothing ──────────────┘

A controller whose beat stands still for DEAD_SECONDS, by our own monotonic clock, is dead: its row is deleted, which
frees its leases at once, since they refer to it weakly. By then it has stopped to serve on its own: a beat counts
from when it was sent. No clock is compared with another one's.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from uuid import UUID

from controller.shares import table
from controller.shares.decide import Decision, Session, decide
from controller.shares.roster import Roster
from controller.shares.table import ControllerRow, LeaseRow, Progress
from ovs_geneve.errors import ConnectionLost, TransactionFailed
from ovs_geneve.ovsdb.client import ConnectionState, OvsdbClient
from ovs_geneve.ovsdb.operations import Operation
from ovs_geneve.ovsdb.replica import RowChange
from ovs_geneve.ovsdb.results import OperationResult

BEAT_SECONDS = 0.5
LAPSE_SECONDS = 1.5
"After the last beat that was acknowledged, we serve no host any more …"
DEAD_SECONDS = 2.0
"… and after the last beat that was seen, others may take them."

TELL_SECONDS = 0.05
"Between two times that progress is written."

LEAVE_SECONDS = 5.0
"How long a host keeps its lease once it is no longer declared: our flows are taken off it meanwhile."

_PAUSE = 0.05
_GENERATIONS = 1 << 20
"A new lease begins at its host's revision times this: generations grow also for one that was declared anew."

_log = logging.getLogger(__name__)


class Keeper:
    """Shares hosts with the other controllers of the store at `remote`. Implements Peers.

    `serve` is told the hosts that are ours, whenever that changes. `name` is ours alone, also after a restart.
    With `dedicated` hosts it serves them alone, and before all others.
    """

    def __init__(
        self,
        remote: str,
        database: str,
        name: str,
        serve: Callable[[frozenset[str]], None],
        *,
        dedicated: frozenset[str] = frozenset(),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self.on_peers: Callable[[], None] = _ignore
        "Called when a host changed hands, a controller told how far it is, or went."
        self.progress: Callable[[], Progress] = Progress
        "Asked how far our hosts are."
        self._serve = serve
        self._dedicated = dedicated
        self._loop = asyncio.get_running_loop()
        self._client = OvsdbClient(
            remote,
            database,
            table.MONITORED,
            tls=tls,
            on_change=self._changed,
            on_state=self._entered,
            leader_only=True,
            min_backoff=0.05,
            max_backoff=0.5,
            probe_interval=1.0,
            name=f"leases {remote}",
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._declared: Mapping[str, int] = {}
        self._leaving = frozenset[str]()
        "Hosts of ours that are no longer declared."
        self._undeclared: dict[str, float] = {}
        "When the lease of a host that is not declared was first seen."
        self._roster = Roster(name)
        self._seen: dict[UUID, float] = {}
        "When the beat of each other controller was last seen to change."
        self._session: UUID | None = None
        self._had_session = False
        self._first_beat = random.getrandbits(60)
        "By it we know our row again when the answer to its insertion was lost."
        self._valid_until = 0.0
        self._next_beat = 0.0
        self._next_tell = 0.0
        self._told = Progress()
        self._has_progress = False
        self._has_heard = False
        self._is_settled = False
        "What is to be done about leases has been done; time alone may change that."
        self._handing = frozenset[str]()
        self._served = frozenset[str]()
        self._lapse: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to take part."""
        self._tasks = [
            asyncio.create_task(self._client.run(), name="leases"),
            asyncio.create_task(self._keep(), name="lease-keeper"),
        ]

    async def stop(self) -> None:
        """Serve nothing and leave at once, so that others take over; harmless when repeated."""
        running, self._tasks = self._tasks, []
        for task in running[1:]:
            task.cancel()
            await asyncio.wait({task})
        session, self._session = self._session, None
        self._tell_hosts()
        if session is not None:
            with suppress(ConnectionLost, TimeoutError):  # then others wait until we are dead
                await self._transact(table.close_session(session))
        if self._lapse is not None:
            self._lapse.cancel()
        await self._client.close()
        for task in running[:1]:
            await asyncio.wait({task})

    def declare(self, hosts: Mapping[str, int]) -> None:
        """Take what hosts there are, each with its revision."""
        self._leaving = self._served - hosts.keys()
        self._declared = hosts
        self._tell_hosts()
        self._look_again()

    def progressed(self) -> None:
        """Have `progress` asked and written, soon."""
        if not self._has_progress:
            self._has_progress = True
            self._loop.call_at(self._next_tell, self._wake.set)

    # Peers

    @property
    def served(self) -> frozenset[str]:
        """The hosts that are ours now."""
        return self._served

    def holder_of(self, host: str) -> str | None:
        """Return the name of the controller that serves a host, or hears its agent."""
        return self._roster.holder_of(host)

    def is_behind(self, host: str, revision: int) -> bool:
        """Tell whether a host may lack a change of this revision, as far as its holder has told."""
        return self._roster.is_behind(host, revision)

    def told_of(self, host: str) -> str:
        """Return what is wrong on a host without Open vSwitch, as its holder tells it."""
        return self._roster.told_of(host)

    def heard_by_others(self) -> frozenset[tuple[str, str]]:
        """Return which other controller hears the agent of which host: pairs of host and controller."""
        return self._roster.heard_by_others()

    def may_be_held(self, host: str) -> bool:
        """Tell whether some controller may serve a host: one does, or we have not heard of any yet."""
        return not self._has_heard or self.holder_of(host) is not None

    async def ready(self) -> None:
        """Return once it is known which controllers there are. Raises NotSupported for a store that is too old."""
        await self._client.ready()

    # What happens

    def _changed(self, changes: Sequence[RowChange]) -> None:
        now = self._loop.time()
        for change in changes:
            if table.differs(change, "beat"):
                self._seen[change.uuid] = now
        self._roster.take_in(table.controllers(self._client.replica))
        if not all(table.is_news(change) for change in changes):
            self._take_in()
            self._look_again()
        if any(map(table.moves_hosts, changes)):
            _call(self.on_peers)

    def _take_in(self) -> None:
        """Take in who is there and who holds what."""
        replica = self._client.replica
        self._roster.leases = {row.lease.host: row for row in table.leases(replica)}
        if self._session is not None and replica.get(table.CONTROLLER, self._session) is None:
            _log.warning("controller %s was taken for dead: it begins anew", self.name)
            self._session = None
            self._first_beat = random.getrandbits(60)
        self._tell_hosts()

    def _look_again(self) -> None:
        self._is_settled = False
        self._wake.set()

    def _entered(self, state: ConnectionState) -> None:
        if state is ConnectionState.READY:
            # While we could not see them they may well have beaten.
            self._seen = dict.fromkeys(self._client.replica.rows(table.CONTROLLER), self._loop.time())
            self._next_beat = 0.0
            self._has_heard = True
            self._look_again()

    def _tell_hosts(self) -> None:
        """Tell which hosts are ours, if that has changed."""
        served = self._our_hosts()
        if served != self._served:
            self._served = served
            _call(lambda: self._serve(served))

    def _our_hosts(self) -> frozenset[str]:
        if self._session is None or self._loop.time() >= self._valid_until:
            return frozenset()
        known = self._declared.keys() | self._leaving
        held = {host for host, row in self._roster.leases.items() if row.controller == self._session}
        return frozenset((held & known) - self._handing)

    # What is done

    async def _keep(self) -> None:
        while True:
            try:
                await self._client.ready()
                self._wake.clear()
                await self._step()
            except (ConnectionLost, TimeoutError) as error:
                _log.info("leases: %s", error)
                self._look_again()
                await asyncio.sleep(_PAUSE)
            except Exception:  # whatever it is, we go on to beat
                _log.exception("leases")
                await asyncio.sleep(_PAUSE)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._next_look()):
                    await self._wake.wait()

    def _next_look(self) -> float:
        leaves = (since + LEAVE_SECONDS for since in self._undeclared.values())
        return max(self._loop.time() + _PAUSE, min((self._next_beat, *self._deaths(), *leaves)))

    def _deaths(self) -> list[float]:
        """Return when each other controller will have to be taken for dead."""
        rows = self._roster.controllers.values()
        return [self._seen[row.uuid] + DEAD_SECONDS for row in rows if row.uuid != self._session]

    async def _step(self) -> None:
        if self._session is None:
            await self._open()
        elif self._loop.time() >= self._next_beat:
            await self._beat()
        if self._session is not None:
            now = self._loop.time()
            if not self._is_settled or self._undeclared or any(now >= death for death in self._deaths()):
                self._is_settled = True
                await self._act(self._session, self._decide())
            await self._tell_progress(self._session)

    async def _open(self) -> None:
        """Make our row; one that an earlier process of our name left is in the way."""
        row = self._roster.controllers.get(self.name)
        if row is not None and row.beat == self._first_beat:
            self._begin(row.uuid, 0.0)
            return
        if row is not None and self._had_session and not self._is_dead(row):
            _log.error("another controller is named %s as well: this one serves no host", self.name)
            self._next_beat = self._loop.time() + BEAT_SECONDS
            return
        sent = self._loop.time()
        stale = None if row is None else row.uuid
        results = await self._transact(
            table.open_session(self.name, self._first_beat, self._dedicated, stale)
        )
        if results and results[-1].uuid is not None:
            self._begin(results[-1].uuid, sent)

    def _begin(self, session: UUID, sent: float) -> None:
        self._session, self._had_session = session, True
        self._told = Progress()
        self._has_progress = True
        self._renewed(sent)

    async def _beat(self) -> None:
        assert self._session is not None  # else there is nothing to beat
        sent = self._loop.time()
        results = await self._transact(table.beat(self._session))
        self._has_progress = True  # nobody may have told us of the last
        if results and results[0].count:
            self._renewed(sent)

    def _renewed(self, sent: float) -> None:
        """Count on our leases until a while after a beat was sent."""
        self._next_beat = sent + BEAT_SECONDS
        self._valid_until = sent + LAPSE_SECONDS
        if self._lapse is not None:
            self._lapse.cancel()
        self._lapse = self._loop.call_at(self._valid_until, self._lapsed)
        self._tell_hosts()

    def _lapsed(self) -> None:
        if self._served:
            _log.warning("the store has not answered for %.1f s: no host is served", LAPSE_SECONDS)
        self._valid_until = 0.0  # a timer may be early by a tick
        self._tell_hosts()

    def _decide(self) -> Decision:
        sessions = [
            Session(
                name=row.name,
                is_alive=row.uuid == self._session or not self._is_dead(row),
                dedicated=row.dedicated,
            )
            for row in self._roster.controllers.values()
        ]
        return decide(
            self.name, sessions, (row.lease for row in self._roster.leases.values()), self._declared
        )

    def _is_dead(self, row: ControllerRow) -> bool:
        return self._loop.time() >= self._seen[row.uuid] + DEAD_SECONDS

    async def _act(self, session: UUID, decision: Decision) -> None:
        # All is looked up here, before the first wait: what changes meanwhile makes its transaction fail.
        silent = [self._roster.controllers[name] for name in sorted(decision.expire)]
        first = {host: self._declared[host] * _GENERATIONS + 1 for host in decision.take}
        take = table.take(session, decision.take, self._roster.leases, first)
        gifts = [
            (self._roster.leases[host], self._roster.controllers.get(name or ""))
            for host, name in decision.hand_over
        ]
        drops = self._ripe({host: self._roster.leases[host] for host in decision.drop})
        for row in silent:
            _log.warning("controller %s is silent: its hosts are taken over", row.name)
            await self._transact(table.expire(row))
        if take:
            await self._transact(take)
        if gifts:
            await self._hand_over(gifts)
        for lease in drops:
            await self._transact(table.drop(lease))

    async def _hand_over(self, gifts: Sequence[tuple[LeaseRow, ControllerRow | None]]) -> None:
        """Let go of hosts, and only then give them away."""
        self._handing = frozenset(row.lease.host for row, _ in gifts)
        self._tell_hosts()
        operations = [
            operation
            for row, heir in gifts
            for operation in table.give(row, None if heir is None else heir.uuid)
        ]
        try:
            await self._transact(operations)
        finally:
            self._handing = frozenset()
            self._tell_hosts()

    def _ripe(self, rows: Mapping[str, LeaseRow]) -> list[LeaseRow]:
        """Return the leases of hosts that have not been declared for long: we may not have heard of one yet."""
        now = self._loop.time()
        self._undeclared = {host: self._undeclared.get(host, now) for host in rows}
        return [row for host, row in rows.items() if now >= self._undeclared[host] + LEAVE_SECONDS]

    async def _tell_progress(self, session: UUID) -> None:
        """Write how far we are, where somebody may want to know."""
        now = self._loop.time()
        if not self._has_progress or now < self._next_tell or len(self._roster.controllers) < 2:
            return
        self._next_tell = now + TELL_SECONDS
        self._has_progress = False
        progress = self.progress()
        if progress != self._told:
            told = await self._transact(table.tell(session, progress))
            self._told = progress if told else Progress()
            self._has_progress = self._has_progress or not told

    async def _transact(self, operations: Sequence[Operation]) -> Sequence[OperationResult]:
        """Store, or find that things have changed: then all is looked at again, and nothing is returned."""
        try:
            async with asyncio.timeout(LAPSE_SECONDS):
                return await self._client.transact(operations)
        except TransactionFailed as error:
            _log.debug("leases: %s", error)
            self._is_settled = False
            return ()


def _call(hear: Callable[[], None]) -> None:
    """Call who wants to hear; leases are what they are, and their connection must not end because of it."""
    try:
        hear()
    except Exception:
        _log.exception("leases have changed")


def _ignore() -> None:
    """Stand in until somebody wants to hear."""
