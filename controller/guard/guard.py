# SPDX-License-Identifier: Apache-2.0
"""The guard of the hosts on this machine: looks at their datapaths, carries out what `watch.py` decides, tells of it.

It needs the control socket of ovs-vswitchd, so it works where the controller runs beside Open vSwitch: in agent mode,
and in the lab. Elsewhere nothing shows: what OVS drops before its first table is in no counter of OpenFlow or OVSDB.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from controller.compiler.views import network_view, tlv_map
from controller.events import EventKind, EventLog
from controller.guard.judge import Rules
from controller.guard.upcalls import Upcalls, parse_misses
from controller.guard.watch import Decision, Watch
from controller.guard.words import Words
from controller.intent.intent import Intent
from controller.intent.model import Address
from controller.reconciler.status import Condition, Truth
from ovs_geneve.errors import ConnectionLost
from ovs_geneve.geneve.profiles import options_of
from ovs_geneve.megaflow import TunnelMegaflow, parse_megaflows
from ovs_geneve.unixctl import Command, CommandFailed, Reply, call
from ovs_geneve.values import OptionClass, OptionType

_log = logging.getLogger(__name__)

_EVERY = 0.5
"Seconds between looks at the counter of packets that OVS could make no sense of."

_SOON = 0.1
"The same right after a cached drop was taken out: the next shape of bad option may have made another."

_DUMP_EVERY = 3.0
"Seconds between dumps when that counter rests: only a dump shows options that are refused by flows, or doubled."

_LARGE = 20_000
"Megaflows of a datapath from which on it is dumped only when the counter moved."

_DEGRADED_SECONDS = 60.0

_SEEN_SECONDS = 10.0

_COUNTER = ("coverage/read-counter", "drop_action_invalid_tunnel_metadata")
"Counted by the userspace datapath (OVS lib/odp-execute.c); the kernel's own counters do not reach it."


@dataclass(slots=True)
class _Trouble:
    """The last that a peer did."""

    message: str
    until: float


class Guard:
    """Watches over hosts. `where` says which there are and where the run directory of their Open vSwitch is."""

    def __init__(
        self, where: Callable[[], Mapping[str, Path]], intent: Callable[[], Intent], events: EventLog
    ) -> None:
        self._where = where
        self._intent = intent
        self._events = events
        self._patrols: dict[str, asyncio.Task[None]] = {}
        self._troubles: dict[str, dict[str, _Trouble]] = {}
        "By host and peer."
        self._upcalls: dict[str, Upcalls] = {}
        self._seen: dict[str, float] = {}
        "When a host's ovs-vswitchd answered last."
        self._words = Words()
        self._rules: tuple[Intent, Rules] | None = None
        "Made from which intent."

    def guards(self, host: str) -> bool:
        """Tell whether a host was looked at a moment ago."""
        return time.monotonic() - self._seen.get(host, -math.inf) < _SEEN_SECONDS

    async def run(self) -> None:
        """Have every host patrolled until cancelled."""
        try:
            while True:
                for name in self._where():
                    if name not in self._patrols:
                        task = asyncio.create_task(self._patrol(name), name=f"guard {name}")
                        self._patrols[name] = task
                        task.add_done_callback(partial(self._ended, name))
                await asyncio.sleep(1)
        finally:
            tasks = set(self._patrols.values())
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    def conditions(self, host: str) -> tuple[Condition, ...]:
        """Say that a host suffers from a peer or from itself, or did a moment ago; nothing while all is well."""
        now = time.monotonic()
        upcalls = self._upcalls.get(host)
        lost = "" if upcalls is None else upcalls.message(now)
        troubles = self._troubles.get(host, {})
        for peer in [peer for peer, trouble in troubles.items() if trouble.until < now]:
            del troubles[peer]
        messages = [*([lost] if lost else []), *(troubles[peer].message for peer in sorted(troubles))]
        if not messages:
            return ()
        reason = "UpcallsLost" if lost else "BadOptions"
        return (Condition(type="Degraded", status=Truth.TRUE, reason=reason, message="; ".join(messages)),)

    def _ended(self, host: str, _: asyncio.Task[None]) -> None:
        self._patrols.pop(host, None)

    async def _patrol(self, host: str) -> None:
        """Watch one host until it is no more on this machine."""
        watches, beat = dict[str, Watch](), _Beat()
        while (directory := self._where().get(host)) is not None:
            pause = _EVERY
            try:
                socket = control_socket(directory)
                holds = any(watch.holds_shields for watch in watches.values())
                if socket is not None and await beat.is_due(socket, holds=holds):
                    pause = await self._look(host, socket, watches, beat)
                if socket is not None:
                    self._seen[host] = time.monotonic()
            except (ConnectionLost, CommandFailed) as error:
                _log.debug("guard of %s: %s", host, error)  # its link says that it is away
                watches, beat = {}, _Beat()
                self._upcalls.pop(host, None)
            except Exception:  # the guard of a host must not end before the host does
                _log.exception("guard of %s", host)
            await asyncio.sleep(pause)

    async def _look(self, host: str, socket: Path, watches: dict[str, Watch], beat: _Beat) -> float:
        """Look at every datapath of a host; return after how many seconds to look again."""
        intent = self._intent()
        rules, peers = self._rules_of(intent), _peers_of(intent, host)
        datapaths, shown = await call(socket, [("dpctl/dump-dps",), ("dpctl/show",)])
        self._count_upcalls(host, shown)
        pause = _EVERY
        for datapath in datapaths.text.split():
            began = time.monotonic()
            (dump,) = await call(socket, [("dpctl/dump-flows", "-m", datapath)])
            beat.dumped(time.monotonic() - began)
            flows = await asyncio.to_thread(_parsed, dump.text)
            watch = watches.setdefault(datapath, Watch())
            decision = watch.look(flows, rules, peers, datapath, time.monotonic())
            if decision.commands:
                pause = _SOON
                beat.again()
                replies = await call(socket, decision.commands)
                self._tell_failures(host, zip(decision.commands, replies, strict=True))
            self._tell(host, decision, intent)
        return pause

    def _count_upcalls(self, host: str, shown: Reply) -> None:
        upcalls, now = self._upcalls.setdefault(host, Upcalls()), time.monotonic()
        if shown.error is None and upcalls.look(parse_misses(shown.text), now):
            message = upcalls.message(now)
            self._events.add(EventKind.UPCALLS_LOST, host=host, message=message, now=time.time())
            _log.warning("host %s: %s", host, message)

    def _rules_of(self, intent: Intent) -> Rules:
        if self._rules is None or self._rules[0] is not intent:
            self._rules = intent, rules_of(intent)
        return self._rules[1]

    def _tell(self, host: str, decision: Decision, intent: Intent) -> None:
        for offence in decision.offences:
            peer = intent.host_by_endpoint(offence.source) or str(offence.source)
            network = intent.network_by_vni(offence.vni) or f"VNI {offence.vni}"
            message = self._words.describe(host, offence, peer, network, partial(_called, intent))
            told = partial(
                self._events.add, host=host, peer=peer, network=network, message=message, now=time.time()
            )
            event = told(EventKind.BAD_OPTIONS, count=offence.packets)
            if offence.cuts_off:
                told(EventKind.PEER_CUT_OFF)
            troubles, now = self._troubles.setdefault(host, {}), time.monotonic()
            if peer not in troubles or troubles[peer].until < now:
                _log.warning("host %s: %s", host, message)
            troubles[peer] = _Trouble(f"{message}, {event.count} packets", now + _DEGRADED_SECONDS)

    def _tell_failures(self, host: str, done: Iterable[tuple[Command, Reply]]) -> None:
        for command, reply in done:
            # The megaflow may have gone by itself, or another packet brought the next one first: the next look tells.
            if reply.error is None or "No such file" in reply.error or "File exists" in reply.error:
                continue
            message = f"{command[0]}: {reply.error.strip()}"
            self._events.add(EventKind.CANNOT_HEAL, host=host, message=message, now=time.time())
            _log.warning("host %s: %s", host, message)


class _Beat:
    """When a dump is due: often where bad packets come, seldom where none do, never for nothing where it is costly."""

    def __init__(self) -> None:
        self._counted: str | None = None
        self._dumped = 0.0
        self._not_before = 0.0

    def again(self) -> None:
        """Dump at the next look, whatever the counter says: the kernel's datapath moves none."""
        self._dumped = -math.inf

    async def is_due(self, socket: Path, *, holds: bool) -> bool:
        """Ask ovs-vswitchd."""
        counter, upcalls = await call(socket, [_COUNTER, ("upcall/show",)])
        now = time.monotonic()
        if now < self._not_before:
            return False
        moved = counter.error is None and counter.text != self._counted
        self._counted = None if counter.error is not None else counter.text
        rested = now - self._dumped > _DUMP_EVERY
        if not moved and not (rested and (holds or _megaflows(upcalls) < _LARGE)):
            return False
        self._dumped = now
        return True

    def dumped(self, seconds: float) -> None:
        """Take note of how long a dump kept ovs-vswitchd from its work: it gets nine times as long for itself."""
        self._not_before = time.monotonic() + min(9 * seconds, _DUMP_EVERY)


def _parsed(dump: str) -> tuple[TunnelMegaflow, ...]:
    return tuple(parse_megaflows(dump))


def _megaflows(upcalls: Reply) -> int:
    """Read how many megaflows `upcall/show` tells of, over all datapaths."""
    words = upcalls.text.replace(")", " ").split()
    return sum(int(after) for word, after in pairwise(words) if word == "(current")


def control_socket(directory: Path) -> Path | None:
    """Return where ovs-vswitchd takes commands, in its run directory; None while it does not run.

    It names the socket after its process id unless it is told otherwise (OVS lib/unixctl.c).
    """
    named = directory / "ovs-vswitchd.ctl"
    if named.exists():
        return named
    try:
        pid = int((directory / "ovs-vswitchd.pid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return directory / f"ovs-vswitchd.{pid}.ctl"


def rules_of(intent: Intent) -> Rules:
    """Return what hosts understand and what networks carry."""
    carried = {
        view.vni: frozenset(
            (one.spec.layout.option_class, one.spec.layout.option_type) for one in view.options
        )
        for view in (network_view(intent, network) for network in intent.networks.values())
    }
    return Rules.of(tlv_map(intent), carried)


def _peers_of(intent: Intent, host: str) -> frozenset[Address]:
    return frozenset(
        address for one in intent.hosts.values() if one.name != host for address in one.spec.endpoints
    )


def _called(intent: Intent, option_class: int, option_type: int) -> str | None:
    """Return the name of a declared option, or of one that a coexistence profile knows."""
    declared = intent.schema_by_type(option_class, option_type)
    known = options_of((OptionClass(option_class), OptionType(option_type)))
    return declared or (known[0].title if known else None)
