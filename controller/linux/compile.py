# SPDX-License-Identifier: Apache-2.0
"""From intent to what the kernels of Linux hosts should hold, part by part.

    parts_of(host, intent, interfaces)          everything of one host, from nothing
    LinuxCompiler().update(intent, changes)     what changed, by host and part; None is a part that goes

A change compiles the parts that depend on it (`dirty.py`), on Linux hosts alone: what a port adds to a network is one
part on each of that network's hosts, whatever else the network has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set

from controller.compiler.dirty import ports_to_seat
from controller.intent.intent import Intent
from controller.intent.model import Change, Kind
from controller.linux.dirty import (
    Place,
    parts_on,
    places_of_change,
    places_of_interfaces,
    places_of_moves,
    places_of_underlay,
    places_sharing,
)
from controller.linux.part import Interfaces, LinuxPart, Part
from controller.linux.produce import produce
from controller.linux.situation import LinuxSituation
from controller.linux.views import LinuxViews
from ovs_geneve.vport import GENEVE_PORT

Parts = Mapping[Part, LinuxPart]

HostChanges = Mapping[str, Mapping[Part, LinuxPart | None]]
"By host, then part; None where the part is no more."

_NO_PARTS: Parts = {}


def parts_of(host: str, intent: Intent, interfaces: Interfaces, tunnel_port: int = GENEVE_PORT) -> Parts:
    """Return all parts of a Linux host, none when it is no such host; `interfaces` by interface ID."""
    situation = LinuxSituation(tunnel_port=tunnel_port)
    situation.begin(intent)
    situation.interfaces[host] = interfaces
    views = LinuxViews(situation)
    parts = ((part, produce(host, part, views)) for part in parts_on(host, situation))
    return {part: made for part, made in parts if made is not None}


class LinuxCompiler:
    """What every Linux host should hold, or `only` one, kept up to date with intent and reports."""

    def __init__(self, tunnel_port: int = GENEVE_PORT, only: str | None = None) -> None:
        self._situation = LinuxSituation(tunnel_port=tunnel_port, only=only)
        self._parts: dict[str, dict[Part, LinuxPart]] = {}
        "Of every Linux host that is asked for; while there is none, nothing else is kept."
        self.parts_compiled = 0
        "How many parts were ever compiled: what changes cost."

    @property
    def intent(self) -> Intent:
        """Return the intent compiled last."""
        return self._situation.intent

    def parts(self, host: str) -> Parts:
        """Return all parts of a host; none when it is no Linux host."""
        return self._parts.get(host, _NO_PARTS)

    def update(self, intent: Intent, changes: Iterable[Change]) -> HostChanges:
        """Follow the intent; `changes` lead from the last one to this. Return the parts that are others now."""
        situation, changes = self._situation, tuple(changes)
        if not self._parts:
            situation.intent = intent
            if not situation.linux_hosts:
                return {}
            situation.begin(intent)
            return self._compile({place for host in situation.linux_hosts for place in self._all_of(host)})
        old, underlay = situation.intent, situation.underlay
        situation.move_on(intent, changes)
        moves = situation.seat(set(ports_to_seat(changes, old, intent)))
        places = set(places_of_moves(moves, situation))
        for change in changes:
            places.update(places_of_change(change, old, situation))
            name = change.name
            if change.kind is Kind.HOST and (name in self._parts or situation.is_asked_for(name)):
                places.update(self._all_of(name))
        places.update(places_sharing(changes, old, situation))
        if situation.underlay != underlay:
            places.update(places_of_underlay(situation))
        return self._compile(places)

    def update_interfaces(self, host: str, interfaces: Interfaces) -> HostChanges:
        """Follow what a host's agent says about its interfaces; return the parts that are others now."""
        situation = self._situation
        old = situation.interfaces.pop(host, {})
        if interfaces:
            situation.interfaces[host] = dict(interfaces)
        if host not in self._parts:
            return {}
        return self._compile(set(places_of_interfaces(host, old, interfaces, situation)))

    def _all_of(self, host: str) -> Iterator[Place]:
        """Yield what a host has, and all that it may have."""
        for part in {*self.parts(host), *parts_on(host, self._situation)}:
            yield host, part

    def _compile(self, places: Set[Place]) -> HostChanges:
        changed = defaultdict[str, dict[Part, LinuxPart | None]](dict)
        views = LinuxViews(self._situation)
        for host, part in places:
            self.parts_compiled += 1
            parts = self._parts.setdefault(host, {})
            made = produce(host, part, views)
            if made == parts.get(part):
                continue
            changed[host][part] = made
            if made is None:
                del parts[part]
            else:
                parts[part] = made
        for host in {host for host, _ in places}:
            if not self._parts[host]:
                del self._parts[host]
        return changed
