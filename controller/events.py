# SPDX-License-Identifier: Apache-2.0
"""What happened that somebody should know of: a short memory, in order. Pure: time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from enum import StrEnum

KEPT = 1_000
"Events remembered."

MERGE_SECONDS = 60.0
"An event that repeats sooner is counted with the one before."


class EventKind(StrEnum):
    """What an event tells of."""

    BAD_OPTIONS = "bad-options"
    "Packets with options that the network does not take were dropped, or let through where OVS cannot tell."
    PEER_CUT_OFF = "peer-cut-off"
    "Open vSwitch dropped good packets of a peer together with bad ones; the guard took that drop out."
    CANNOT_HEAL = "cannot-heal"
    "The guard could not do what it had to."
    UPCALLS_LOST = "upcalls-lost"
    "A kernel's datapath dropped packets because ovs-vswitchd did not take them."
    DENIED = "denied"
    "A policy between groups refused packets, and tells of it."
    ROLLOUT = "rollout"
    "An option moved on, on its way into a network or out of it, or waits for a host."


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, perhaps many times."""

    number: int
    "Grows with every event, and when one is counted again."
    first: float
    last: float
    "Seconds since 1970."
    kind: EventKind
    host: str
    "Where it was seen; empty where it is about a network as a whole."
    peer: str = ""
    "Who caused it: a host, or its address."
    network: str = ""
    message: str = ""
    count: int = 1
    "Packets, where it is about packets."


class EventLog:
    """Events, oldest first; the oldest are forgotten."""

    def __init__(self) -> None:
        self._events: OrderedDict[tuple[str, ...], Event] = OrderedDict()
        "By what makes two of them the same."
        self._number = 0

    def add(
        self,
        kind: EventKind,
        *,
        host: str,
        message: str,
        now: float,
        peer: str = "",
        network: str = "",
        count: int = 1,
    ) -> Event:
        """Remember an event, or count it with one of the last minute that says the same."""
        self._number += 1
        same = kind.value, host, peer, network, message
        before = self._events.pop(same, None)
        if before is not None and now - before.last < MERGE_SECONDS:
            event = replace(before, number=self._number, last=now, count=before.count + count)
        else:
            if before is not None:
                self._events[*same, str(before.number)] = before
                self._events.move_to_end((*same, str(before.number)), last=False)
            event = Event(
                number=self._number,
                first=now,
                last=now,
                kind=kind,
                host=host,
                peer=peer,
                network=network,
                message=message,
                count=count,
            )
        self._events[same] = event
        while len(self._events) > KEPT:
            self._events.popitem(last=False)
        return event

    def since(self, number: int, limit: int) -> tuple[Event, ...]:
        """Return the events after a number, oldest first."""
        found = sorted((e for e in self._events.values() if e.number > number), key=lambda e: e.number)
        return tuple(found[:limit])
