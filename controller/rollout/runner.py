# SPDX-License-Identifier: Apache-2.0
"""Carries rollouts on and ends the rest of slots: asks `decide`, writes what it says, has canaries probed.

    something moved ─► look at every record ─► decide ─► commands ─► the store ─► something moved

All that counts is in the store: a controller that starts finds rollouts where they are. With several controllers one
acts on a record, and where two do for a moment, `seen` lets one of the commands through.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from typing import Protocol

from controller.errors import IntentError, StoreUnavailable
from controller.intent.commands import Command, Forget, Record
from controller.intent.companions import tlv_map_of
from controller.intent.intent import Intent
from controller.intent.model import Change, Kind, Object, RetiredSlotSpec, RolloutSpec, RolloutStage
from controller.rollout.canary import Canary, Outcome, Verdict
from controller.rollout.decide import Sight, Verify, Wait, decide, decide_rest
from ovs_geneve.openflow.tlv_table import TlvMap

_log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"Between two looks while there is anything to carry on: nobody tells when a host's slot becomes free, say."

CANARY_SECONDS = 120.0
"How long a canary may take until that counts as failed: other runs of probes may come before it."

_RecordKey = tuple[Kind, str]


class Hosts(Protocol):
    """What is asked about hosts (`controller.rollout.hosts.RolloutHosts`)."""

    @property
    def intent(self) -> Intent:
        """The intent that hosts are told of: never ahead of what `lacks` knows."""

    def hosts_of(self, network: str) -> frozenset[str]:
        """Return the hosts that have ports of a network."""

    def lacks(self, host: str, revision: int, object_key: int, option: TlvMap | None) -> str:
        """Say why a host may lack a revision, or cannot take an object or an option; "" when all is well."""

    def is_ours(self, hosts: Iterable[str]) -> bool:
        """Tell whether this controller is the one that acts for these hosts together."""


@dataclass(slots=True)
class _Seen:
    """Since when something about a record has been as it is."""

    revision: int
    settled_since: float | None = None
    waiting_for: str = ""
    waiting_since: float = 0.0
    probing: asyncio.Task[Outcome] | None = field(default=None, repr=False)


class Rollouts:
    """Carries on what is on its way. `canary` is None where nobody sends probes."""

    def __init__(
        self,
        hosts: Hosts,
        submit: Callable[[Command], Awaitable[object]],
        clock: Callable[[], float],
        *,
        quarantine: float,
    ) -> None:
        self._hosts = hosts
        self._submit = submit
        self._clock = clock
        self._quarantine = quarantine
        "Seconds that a slot rests once no host maps it."
        self._wake = asyncio.Event()
        self._next_look = POLL_SECONDS
        self._moved: asyncio.Future[None] | None = None
        self._seen: dict[_RecordKey, _Seen] = {}
        self.canary: Canary | None = None

    def look_again(self) -> None:
        """Have everything looked at: a host acknowledged something, or came, or went."""
        if self._hosts.intent.rollouts or self._hosts.intent.retired_slots:
            self._wake.set()

    def intent_changed(self, changes: Sequence[Change]) -> None:
        """Take note of what changed in the intent."""
        self.look_again()
        if self._moved is not None and any(change.kind is Kind.ROLLOUT for change in changes):
            self._moved.set_result(None)
            self._moved = None

    async def finished(self, network: str) -> None:
        """Return once no option is on its way into or out of a network; one that was rolled back is not."""
        while any(
            self._hosts.intent.rollouts[name].spec.stage is not RolloutStage.ROLLED_BACK
            for name in self._hosts.intent.rollouts_of(network)
        ):
            if self._moved is None:
                self._moved = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._moved)

    async def run(self) -> None:
        """Look, act and wait, for ever."""
        self._wake.set()
        try:
            while True:
                await self._wait()
                self._wake.clear()
                commands = self.look()
                await asyncio.gather(*map(self._write, commands))
        finally:
            for seen in self._seen.values():
                _forget_probe(seen)

    def look(self) -> list[Record | Forget]:
        """Look at every record that is ours to carry on; return what is to be stored."""
        intent = self._hosts.intent
        self._next_look = POLL_SECONDS
        actions = [self._look_at(held) for held in intent.rollouts.values()]
        actions += [self._look_at_slot(held) for held in intent.retired_slots.values()]
        for key in [key for key in self._seen if intent.get(*key) is None]:
            _forget_probe(self._seen.pop(key))
        return [action for action in actions if action is not None]

    async def _wait(self) -> None:
        intent = self._hosts.intent
        seconds = self._next_look if intent.rollouts or intent.retired_slots else None
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    def _look_at(self, rollout: Object[RolloutSpec]) -> Record | Forget | None:
        intent, network = self._hosts.intent, rollout.spec.network
        members = self._hosts.hosts_of(network)
        seen = self._seen_of(rollout)
        if not self._hosts.is_ours(members or intent.hosts):
            return None
        option = tlv_map_of(intent.option_schemas[rollout.spec.schema].spec)
        wanted = option if rollout.spec.incoming else None
        key = intent.networks[network].key
        lacking = {
            host: why for host in members if (why := self._hosts.lacks(host, rollout.revision, key, wanted))
        }
        pair, no_pair = _pair(intent, members)
        sight = self._sight(seen, lacking, pair, no_pair)
        action = decide(rollout, sight)
        if isinstance(action, Verify) and seen.probing is None:
            seen.probing = self._begin_probe(rollout.spec, action)
        elif isinstance(action, Wait):
            self._note_wait(seen, action)
        return action if isinstance(action, Record | Forget) else None

    def _look_at_slot(self, slot: Object[RetiredSlotSpec]) -> Forget | None:
        hosts = self._hosts.intent.hosts
        if not self._hosts.is_ours(hosts):
            return None
        lacking = {h: why for h in hosts if (why := self._hosts.lacks(h, slot.revision, slot.key, None))}
        seen = self._seen_of(slot)
        action = decide_rest(slot, self._sight(seen, lacking), self._quarantine)
        if isinstance(action, Wait):
            self._note_wait(seen, action)
            return None
        return action

    def _sight(
        self, seen: _Seen, lacking: dict[str, str], pair: tuple[str, str] | None = None, no_pair: str = ""
    ) -> Sight:
        now = self._clock()
        if lacking:
            seen.settled_since = None
        elif seen.settled_since is None:
            seen.settled_since = now
        probed = seen.probing is not None and seen.probing.done()
        return Sight(
            lacking=lacking,
            settled_for=0.0 if seen.settled_since is None else now - seen.settled_since,
            pair=pair,
            no_pair=no_pair,
            outcome=seen.probing.result() if probed and seen.probing is not None else None,
            waiting_for=seen.waiting_for,
            waiting=now - seen.waiting_since,
        )

    def _seen_of(self, held: Object[RolloutSpec] | Object[RetiredSlotSpec]) -> _Seen:
        key = held.kind, held.name
        seen = self._seen.get(key)
        if seen is None or seen.revision != held.revision:
            if seen is not None:
                _forget_probe(seen)
            seen = self._seen[key] = _Seen(held.revision)
        return seen

    def _note_wait(self, seen: _Seen, wait: Wait) -> None:
        if seen.waiting_for != wait.reason:
            seen.waiting_for, seen.waiting_since = wait.reason, self._clock()
        if wait.seconds is not None:
            self._next_look = min(self._next_look, wait.seconds)

    def _begin_probe(self, spec: RolloutSpec, hosts: Verify) -> asyncio.Task[Outcome]:
        task = asyncio.create_task(self._probe(spec, hosts), name=f"canary {spec.network}:{spec.schema}")
        task.add_done_callback(lambda _: self._wake.set())
        return task

    async def _probe(self, spec: RolloutSpec, hosts: Verify) -> Outcome:
        if self.canary is None:
            return Outcome(verdict=Verdict.NOT_PROBED, reason="this controller sends no probes")
        ways = (hosts.source, hosts.destination), (hosts.destination, hosts.source)
        try:
            async with asyncio.timeout(CANARY_SECONDS):
                for source, destination in ways:
                    outcome = await self.canary.verify(spec.network, spec.schema, source, destination)
                    if outcome.verdict is not Verdict.PASSED:
                        return outcome
        except TimeoutError:
            reason = f"{hosts.source} and {hosts.destination}: no answer within {CANARY_SECONDS:g} s"
            return Outcome(verdict=Verdict.FAILED, reason=reason)
        except Exception as error:  # nobody sends what could not be probed
            _log.exception("canary %s:%s", spec.network, spec.schema)
            return Outcome(verdict=Verdict.FAILED, reason=f"probing ended with {error!r}")
        return Outcome(verdict=Verdict.PASSED, reason=f"{hosts.source} and {hosts.destination}, both ways")

    async def _write(self, command: Record | Forget) -> None:
        try:
            await self._submit(command)
        except IntentError as error:
            # It ended, or somebody else carried it on: what made it so has us look again.
            _log.debug("%s: %s", command.name, error)
        except StoreUnavailable as error:
            _log.info("%s: %s", command.name, error)
        except Exception:  # a fault that met one record must not hold up all others
            _log.exception("%s: cannot be carried on", command.name)


def _pair(intent: Intent, members: Iterable[str]) -> tuple[tuple[str, str] | None, str]:
    """Choose the two hosts that a canary is sent between: the first that can talk, and be probed."""
    hosts = sorted(host for host in members if host not in intent.linux_hosts)
    if len(hosts) < 2:
        return None, "the network is on fewer than two hosts that can be probed"
    for one, other in combinations(hosts, 2):
        families = ({a.version for a in intent.hosts[name].spec.endpoints} for name in (one, other))
        if set.intersection(*families):
            return (one, other), ""
    return None, "no two of its hosts have an address family in common"


def _forget_probe(seen: _Seen) -> None:
    if seen.probing is not None:
        seen.probing.cancel()
