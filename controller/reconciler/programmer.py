# SPDX-License-Identifier: Apache-2.0
"""Keeps one bridge equal to what is desired. A state machine: no loop, no clock, no socket of its own.

    ABSENT ──connect──► OBSERVING ──Observed──► APPLYING ──Applied──► IDLE
       ▲                    ▲                     │  ▲  │              │
       │ disconnect, any    └──Refused, again()───┘  │  │  └──enqueue──┘
                                                     │  └─Applied, a burst─► GATHERING
                                                     └───────────────────────────┘ a moment later

While APPLYING, further deltas fold into one: a slow switch delays nobody and holds no more than its own size.
A change of its flow tables costs ovs-vswitchd 0.3 to 1 ms however small it is (it grows with the bridge's ports): while
changes come faster than they are carried out, the next bundle waits a little for more. A change alone never waits.
What the switch refuses is left out, by name, until the compiler says something else in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import Protocol

from controller.compiler import groups, meters
from controller.compiler.cookies import parse
from controller.hoststate import Held, HostDelta, HostState, Installation, Observed, difference
from controller.reconciler.foreign import ALL_SPACE, Taken, find_taken, foreign_maps, leaving_out
from controller.reconciler.plan import excluding, mapped_after, plan, plan_installation
from controller.reconciler.refusals import Refusals
from controller.southbound.ports import SwitchChannel
from ovs_geneve.openflow import events
from ovs_geneve.openflow.meters import contents
from ovs_geneve.openflow.tlv_table import TlvMap, TlvTable

_RETRY_FIRST, _RETRY_MOST = 0.05, 30.0
"""Seconds until a refusal that leaving out flows does not cure is tried again, twice as long each time; the first is
short, since OVS lets go of an option about 10 ms after the last flow that used it."""

TAKEN = "SlotTaken"
"Why an object is not on a bridge that has no place for an option: somebody else mapped the slot, or the option."

_LOOK_AGAIN = 30.0
"Seconds until a bridge on which others mapped options is read anew: OVS does not tell when they let go of one."

_GATHER_FIRST, _GATHER_MOST = 0.01, 0.1
"Seconds that a bundle waits for more while a burst goes on, twice as long each time."

_BURST = 16
"Objects that change in one commit of a burst: who declares ports one by one changes two, the port and its binding."


class Phase(Enum):
    """Where the programming of a bridge stands."""

    ABSENT = "absent"
    OBSERVING = "observing"
    APPLYING = "applying"
    GATHERING = "gathering"
    IDLE = "idle"


def _ours(event: events.Observed) -> Observed:
    """Leave out what others put on the bridge; flows are asked for by our cookie."""
    return Observed(
        tlv_maps=frozenset(event.tlv_maps),
        flows=event.flows,
        groups={number: raw for number, (_, raw) in event.groups.items() if groups.is_ours(number)},
        meters={number: content for number, content in event.meters.items() if meters.is_ours(number)},
    )


class Desired(Protocol):
    """All that a bridge should hold, in the forms in which it is asked for (`controller.compiler.compile.HostView`)."""

    def state(self) -> HostState:
        """Return it flow by flow."""

    def installation(self) -> Installation:
        """Return the bytes that put it on a bridge that holds nothing of ours."""

    def tlv_maps(self) -> tuple[frozenset[TlvMap], frozenset[TlvMap]]:
        """Return what the bridge should map, and what it should map no more: all else is somebody else's."""

    def is_met(self, observed: Observed) -> bool:
        """Tell whether a bridge holds exactly that: what a reconnect mostly finds."""


class Programmer:
    """One bridge. `on_progress` tells that `behind_since` may have moved."""

    def __init__(
        self,
        desired: Desired,
        on_progress: Callable[[], None],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._desired = desired
        self._on_progress = on_progress
        self._call_later = call_later
        self._channel: SwitchChannel | None = None
        self._held = Held()
        self._left_out: dict[bytes, int] = {}
        "Flows that need an option whose slot is taken, and the keys of their objects."
        self._looks_again = False
        self._pending = HostDelta()
        self._pending_since: int | None = 0
        self._flight_since: int | None = None
        self._retry = _RETRY_FIRST
        self._gather = _GATHER_FIRST
        self._bursts = False
        "Changes come faster than they are carried out, or many at once."
        self.phase = Phase.ABSENT
        self.equal_on: SwitchChannel | None = None
        "The connection on which the bridge was made equal to what it should hold; only what came later may be missing."
        self.refusals = Refusals()
        self.taken: tuple[Taken, ...] = ()
        "Mappings of ours that the bridge has no place for."
        self.table: TlvTable | None = None
        "What the bridge mapped when it was read last, and how much it can."
        self.foreign: frozenset[TlvMap] = frozenset()
        "What others had mapped then."
        self.messages_sent = 0
        "Flow and group messages sent so far: what changes cost on the wire."

    @property
    def behind_since(self) -> int | None:
        """Return the revision of the oldest change that the bridge may lack; None when it has them all."""
        return self._pending_since if self._flight_since is None else self._flight_since

    def refusal_of(self, object_key: int) -> str:
        """Return why the bridge lacks something of an object; "" when nothing was refused."""
        if object_key in self._left_out.values():
            return TAKEN
        return self.refusals.objects.get(object_key, "")

    def connect(self, channel: SwitchChannel) -> None:
        """Take a new connection, in place of one that may be still there."""
        if channel is self._channel:
            return  # told twice whose it is: observing beside what is under way would mix up the answers
        self._channel = channel
        self.equal_on = None
        # What it refused it may take now: a switch that restarted may be another version, or have room again.
        self.refusals = Refusals()
        self._observe(channel)

    def disconnect(self, channel: SwitchChannel) -> None:
        """Forget a connection; the bridge keeps its flows, so what it had it still has."""
        if channel is self._channel:
            self._channel = self.equal_on = None
            self.phase = Phase.ABSENT
            self._abandon_flight()
            self._on_progress()

    def enqueue(self, delta: Callable[[], HostDelta], revision: int, objects: int = 1) -> None:
        """Have a change made; `revision` of the intent brought it, in which so many objects changed.

        `delta` is asked only when it is needed.
        """
        if self._pending_since is None:
            self._pending_since = revision
        if self.refusals.flows or self.refusals.groups:
            self.refusals.forget(delta())
        alone = objects < _BURST and not self._pending
        if self.phase is Phase.IDLE or (self.phase is Phase.GATHERING and alone):
            self._bursts = objects >= _BURST
            self._carry_out(delta())
        elif self.phase in (Phase.APPLYING, Phase.GATHERING):
            # Another one while one is under way waits its turn; more than that are a burst.
            self._bursts = self._bursts or bool(self._pending) or objects >= _BURST
            self._pending.fold(delta())

    def observe_again(self) -> None:
        """Compare everything anew, as after a reconnect, once the bridge is idle."""
        if self._channel is not None and self.phase is Phase.IDLE:
            self._observe(self._channel)

    def handle(self, channel: SwitchChannel, event: events.Event) -> None:
        """Take in what the switch answered; an answer on a connection that was replaced means nothing."""
        if channel is not self._channel:
            return
        match event:
            case events.Observed():
                self._observed(event)
            case events.Applied():
                self._applied()
            case events.Refused():
                self._refused(event)
            case events.ObserveRefused():
                self.refusals.bridge = event.refusal.name
                self._try_later()
            case _:
                pass

    def _observe(self, channel: SwitchChannel) -> None:
        self.phase = Phase.OBSERVING
        self._abandon_flight()
        channel.observe()

    def _abandon_flight(self) -> None:
        """Count on nothing that was not acknowledged: the next observation finds what is missing."""
        self._pending = HostDelta()
        self._bursts = False
        self._pending_since = self.behind_since
        self._flight_since = None

    def _observed(self, event: events.Observed) -> None:
        self._left_out = {}
        seen = _ours(event)
        self._held = Held(seen.tlv_maps, seen.meters)
        self._note_table(event)
        refused = bool(self.refusals.flows or self.refusals.groups or self.refusals.meters)
        if not (refused or seen.flows or seen.groups):
            self._install(self._desired.installation(), seen)
        elif not refused and self._desired.is_met(seen):
            self.taken = ()
            self._send(())
        else:
            self._make_equal(seen)

    def _note_table(self, event: events.Observed) -> None:
        self.table = TlvTable(
            max_space=event.max_option_space, max_fields=event.max_fields, maps=event.tlv_maps
        )
        self.foreign = foreign_maps(self._held.tlv_maps, *self._desired.tlv_maps())
        if self.foreign:
            self._look_again_later()
        self._on_progress()

    def _install(self, whole: Installation, seen: Observed) -> None:
        """Put everything on a bridge that holds nothing of ours."""
        if self._find_taken(whole.tlv_maps, whole.released):
            self._make_equal(seen)
            return
        steps = plan_installation(whole, self._held)
        mapped = mapped_after(self._held.tlv_maps, whole.tlv_maps, whole.released)
        self._held = Held(mapped, contents(whole.meters))
        self._send(steps)

    def _make_equal(self, seen: Observed) -> None:
        desired = self._desired.state()
        self._find_taken(desired.tlv_maps, desired.released)
        delta = difference(desired, seen)
        delta = self._without_taken(excluding(delta, self.refusals.flows, self.refusals.groups))
        for key in self._left_out.keys() - seen.flows.keys():
            del delta.flows[key]
        self._execute(delta)

    def _find_taken(self, wanted: frozenset[TlvMap], released: frozenset[TlvMap]) -> bool:
        space = ALL_SPACE if self.table is None else self.table.max_space
        self.taken = find_taken(self._held.tlv_maps, wanted, released, space)
        return bool(self.taken)

    def _carry_out(self, delta: HostDelta) -> None:
        if delta.tlv_maps is not None:
            self._find_taken(delta.tlv_maps, delta.released)
        self._execute(self._without_taken(delta))

    def _without_taken(self, delta: HostDelta) -> HostDelta:
        for key in self._left_out.keys() & delta.flows.keys():
            del self._left_out[key]
        if not self.taken:
            return delta
        kept, left_out = leaving_out(delta, self.taken)
        self._left_out.update((key, parse(flow.cookie).object_key) for key, flow in left_out.items())
        return kept

    def _execute(self, delta: HostDelta) -> None:
        if self.refusals.meters and delta.meters:
            delta = replace(delta, meters=None, planned=None)
        steps = plan(delta, self._held)
        self._held = Held(
            mapped_after(self._held.tlv_maps, delta.tlv_maps, delta.released),
            self._held.meters if delta.meters is None else contents(delta.meters),
        )
        self._send(steps)

    def _look_again_later(self) -> None:
        if self._looks_again:
            return
        self._looks_again = True

        def look() -> None:
            self._looks_again = False
            if self.foreign and self._channel is not None:
                self.observe_again()
                if self.phase is not Phase.OBSERVING:
                    self._look_again_later()

        self._call_later(_LOOK_AGAIN, look)

    def _send(self, steps: tuple[events.Step, ...]) -> None:
        assert self._channel is not None, "only a connected bridge is programmed"
        self._flight_since, self._pending_since = self._pending_since, None
        if not steps:
            self._applied()
            return
        self.phase = Phase.APPLYING
        self.messages_sent += sum(len(step.messages) for step in steps if isinstance(step, events.Bundle))
        self._channel.apply(steps)

    def _applied(self) -> None:
        self.equal_on = self._channel
        self._retry = _RETRY_FIRST
        self.refusals.bridge = ""
        self._flight_since = None
        if self._bursts:
            self._wait_for_more()
        else:
            self._go_on()
        self._on_progress()

    def _wait_for_more(self) -> None:
        self.phase = Phase.GATHERING
        channel, delay = self._channel, self._gather
        self._gather = min(2 * delay, _GATHER_MOST)

        def go_on() -> None:
            if channel is self._channel and self.phase is Phase.GATHERING:
                self._go_on()
                self._on_progress()

        self._call_later(delay, go_on)

    def _go_on(self) -> None:
        """Carry out what waits, or rest; a burst is over once nothing came while it was waited for."""
        if not self._pending:
            self._bursts, self._gather = False, _GATHER_FIRST
            self.phase = Phase.IDLE
            return
        pending, self._pending = self._pending, HostDelta()
        self._carry_out(pending)

    def _refused(self, event: events.Refused) -> None:
        curable = [self.refusals.note(refusal) for refusal in event.refusals]
        if curable and all(curable) and self._channel is not None:
            self._observe(self._channel)
        else:
            self._try_later()
        self._on_progress()

    def _try_later(self) -> None:
        # Not IDLE, so that deltas wait for the observation instead of meeting a bridge in an unknown state.
        self.phase = Phase.OBSERVING
        channel, delay = self._channel, self._retry
        self._retry = min(2 * delay, _RETRY_MOST)

        def again() -> None:
            if channel is not None and channel is self._channel:
                self._observe(channel)

        self._call_later(delay, again)
