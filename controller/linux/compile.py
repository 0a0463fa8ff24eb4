# SPDX-License-Identifier: Apache-2.0
"""From intent to what the kernels of Linux hosts should hold, part by part.

    parts_of(host, intent, interfaces)          everything of one host, from nothing
    LinuxCompiler().update(intent, changes)     what changed, by host and part; None is a part that goes

A part is `host` (the device for all tunnels, who may send to it) or `network/NAME` (all of one network that has ports
on the host). A change compiles the parts that depend on it (`dirty.py`), on Linux hosts alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from controller.intent.intent import Intent
from controller.intent.model import Change, Kind
from controller.linux.dirty import networks_of_interfaces, networks_sharing, networks_touched, ports_to_seat
from controller.linux.part import HOST_PART, Interfaces, LinuxPart, network_part
from controller.linux.produce import host_part_of, network_part_of
from controller.linux.situation import LinuxSituation

HostChanges = Mapping[str, Mapping[str, LinuxPart | None]]
"By host, then part; None where the part is no more."

Network = str | None
"Stands for the part of a network, None for the host's own."


def parts_of(host: str, intent: Intent, interfaces: Interfaces) -> Mapping[str, LinuxPart]:
    """Return all parts of a Linux host, none when it is no such host; `interfaces` by interface ID."""
    situation = LinuxSituation()
    situation.begin(intent)
    situation.interfaces[host] = interfaces
    networks: tuple[Network, ...] = (None, *situation.seats.networks_on(host))
    parts = ((network, _part(host, network, situation)) for network in networks)
    return {_name_of(network): part for network, part in parts if part is not None}


class LinuxCompiler:
    """What every Linux host should hold, kept up to date with intent and reports."""

    def __init__(self) -> None:
        self._situation = LinuxSituation()
        self._parts: dict[str, dict[Network, LinuxPart]] = {}
        "Of every Linux host; while there is none, nothing else is kept."
        self.parts_compiled = 0
        "How many parts were ever compiled: what changes cost."

    @property
    def intent(self) -> Intent:
        """Return the intent compiled last."""
        return self._situation.intent

    def parts(self, host: str) -> Mapping[str, LinuxPart]:
        """Return all parts of a host; none when it is no Linux host."""
        return {_name_of(network): part for network, part in self._parts.get(host, {}).items()}

    def update(self, intent: Intent, changes: Iterable[Change]) -> HostChanges:
        """Follow the intent; `changes` lead from the last one to this. Return the parts that are others now."""
        situation, changes = self._situation, tuple(changes)
        if not self._parts:
            if not intent.linux_hosts:
                situation.intent = intent
                return {}
            situation.begin(intent)
            return self._compile({host: self._all_of(host) for host in intent.linux_hosts})
        old, underlay = situation.intent, situation.underlay
        situation.move_on(intent, changes)
        moves = situation.seat(set(ports_to_seat(changes, old, intent)))
        if situation.underlay != underlay:
            # All networks carry something else.
            return self._compile({host: self._all_of(host) for host in self._hosts()})
        networks = {network for change in changes for network in networks_touched(change, old, intent)}
        networks.update(seat.network for move in moves.values() for seat in move if seat is not None)
        networks.update(networks_sharing(changes, old, situation))
        return self._compile(self._dirty(changes, networks))

    def update_interfaces(self, host: str, interfaces: Interfaces) -> HostChanges:
        """Follow what a host's agent says about its interfaces; return the parts that are others now."""
        situation = self._situation
        old = situation.interfaces.pop(host, {})
        if interfaces:
            situation.interfaces[host] = dict(interfaces)
        if host not in self._parts:
            return {}
        networks = networks_of_interfaces(old, interfaces, situation.intent)
        return self._compile({host: networks & self._all_of(host)})

    def _hosts(self) -> Iterable[str]:
        return {*self._parts, *self._situation.intent.linux_hosts}

    def _all_of(self, host: str) -> set[Network]:
        return {None, *self._parts.get(host, ()), *self._situation.seats.networks_on(host)}

    def _dirty(self, changes: Iterable[Change], networks: Iterable[str]) -> Mapping[str, set[Network]]:
        dirty = defaultdict[str, set[Network]](set)
        for network in networks:
            for host in self._hosts_with(network):
                dirty[host].add(network)
        for change in changes:
            if change.kind is Kind.HOST:
                for host in self._hosts():
                    dirty[host].add(None)
                if change.name in self._hosts():
                    dirty[change.name] |= self._all_of(change.name)
        return dirty

    def _hosts_with(self, network: str) -> Iterable[str]:
        """Return the Linux hosts that have, or had, ports of a network."""
        held = (host for host, parts in self._parts.items() if network in parts)
        return {*held, *self._situation.linux_hosts_of(network)}

    def _compile(self, dirty: Mapping[str, Iterable[Network]]) -> HostChanges:
        changed = defaultdict[str, dict[str, LinuxPart | None]](dict)
        for host, networks in dirty.items():
            parts = self._parts.setdefault(host, {})
            for network in networks:
                self.parts_compiled += 1
                part = _part(host, network, self._situation)
                if part == parts.get(network):
                    continue
                changed[host][_name_of(network)] = part
                if part is None:
                    del parts[network]
                else:
                    parts[network] = part
            if not parts:
                del self._parts[host]
        return changed


def _part(host: str, network: Network, situation: LinuxSituation) -> LinuxPart | None:
    if not situation.is_linux(host):
        return None
    if network is None:
        return host_part_of(host, situation)
    if network not in situation.seats.networks_on(host):
        return None
    return network_part_of(host, network, situation)


def _name_of(network: Network) -> str:
    return HOST_PART if network is None else network_part(network)
