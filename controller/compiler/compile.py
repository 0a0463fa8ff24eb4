# SPDX-License-Identifier: Apache-2.0
"""From intent to what every bridge should hold, part by part.

`Compiler.update` costs what a change touches: it compiles the dirty parts anew, compares fragments, and answers with a
delta for each host that one of them concerns. `Compiler.desired` is the whole of a host, for a bridge that connects.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from controller.compiler.dirty import parts_of_change, parts_of_membership, parts_of_move, ports_to_seat
from controller.compiler.fragments import Fragment, FragmentId, Layer
from controller.compiler.parts import Part, PartKind, Situation, produce
from controller.compiler.seats import Seat
from controller.compiler.views import tlv_map
from controller.hoststate import EncodedFlow, EncodedGroup, HostDelta, HostState
from controller.intent.intent import Intent
from controller.intent.model import Change, Kind
from ovs_geneve.errors import EncodeError
from ovs_geneve.openflow.tlv_table import TlvMap

_log = logging.getLogger(__name__)

Place = tuple[Layer, FragmentId]
Edit = tuple[Layer, Fragment | None, Fragment | None]
"A fragment of a layer, before and after."

_NONE: Mapping[FragmentId, Fragment] = {}


@dataclass(slots=True)
class _Edits:
    """Fragments that leave and reach a host in one update."""

    gone: list[Fragment] = field(default_factory=list)
    come: list[Fragment] = field(default_factory=list)


class Compiler:
    """What every host should hold, kept up to date with intent and facts."""

    def __init__(self) -> None:
        self._situation = Situation()
        self._layers: dict[Layer, dict[FragmentId, Fragment]] = defaultdict(dict)
        self._places: dict[Part, frozenset[Place]] = {}
        self._layers_of: dict[str, frozenset[Layer]] = {}
        self._hosts_of: dict[Layer, set[str]] = defaultdict(set)
        self._sizes: dict[tuple[Layer, str], tuple[int, int]] = {}
        "Flows and groups by layer, of all fragments (no host) and of those that a host is excepted from."
        self._tlv_maps: frozenset[TlvMap] = frozenset()
        self.parts_compiled = 0
        "How many parts were ever compiled: what changes cost."
        self._compile((Part(PartKind.PIPELINE),))

    @property
    def intent(self) -> Intent:
        """Return the intent compiled last."""
        return self._situation.intent

    def update(self, intent: Intent, changes: Iterable[Change]) -> Mapping[str, HostDelta]:
        """Follow the intent; `changes` lead from the last one to this. Return what each host concerned must change."""
        changes = tuple(changes)
        old = self._situation.intent
        self._situation.intent = intent
        moves = self._seat_ports(set(ports_to_seat(changes, old, intent)))
        touched = _touched_hosts(changes, moves)
        before = {host: self._layers_of.get(host, frozenset()) for host in touched}
        after = {host: self._situation.layers_of(host) for host in touched}

        parts = {part for change in changes for part in parts_of_change(change, old, self._situation)}
        parts.update(
            p for port, (was, now) in moves.items() for p in parts_of_move(port, was, now, self._situation)
        )
        parts.update(self._parts_of_memberships(before, after))

        edits: dict[str, _Edits] = defaultdict(_Edits)
        for host in touched:
            self._leave(host, before[host] - after[host], edits[host])
        self._spread(self._compile(parts), edits)
        for host in touched:
            self._join(host, after[host] - before[host], after[host], edits[host])
        deltas = {host: _delta(edit) for host, edit in edits.items()}
        if any(change.kind is Kind.OPTION_SCHEMA for change in changes):
            self._remap(deltas)
        for host in touched:
            if bool(before[host]) != bool(after[host]):
                # A host that is declared again may not have been away: its switch holds the map it had, or none.
                deltas[host].tlv_maps = self._tlv_maps_of(host)
        return {host: delta for host, delta in deltas.items() if delta}

    def update_ofports(self, host: str, ofports: Mapping[str, int]) -> HostDelta:
        """Follow what a host's OVSDB says about its interfaces; return what the host must change."""
        old = self._situation.ofports.get(host, {})
        self._situation.ofports[host] = ofports
        moved = {name for name in old.keys() | ofports.keys() if old.get(name) != ofports.get(name)}
        ports = (self.intent.port_by_interface_id(interface_id) for interface_id in moved)
        edits: dict[str, _Edits] = defaultdict(_Edits)
        self._spread(self._compile({Part(PartKind.PORT, port) for port in ports if port is not None}), edits)
        return _delta(edits[host])

    def desired(self, host: str) -> HostState:
        """Return everything that a host's bridge should hold."""
        flows: dict[bytes, EncodedFlow] = {}
        groups: dict[int, EncodedGroup] = {}
        for layer in self._layers_of.get(host, ()):
            for fragment in self._fragments(layer, host):
                flows.update((flow.key, flow) for flow in fragment.flows)
                groups.update((group.group_id, group) for group in fragment.groups)
        return HostState(tlv_maps=self._tlv_maps_of(host), flows=flows, groups=groups)

    def size(self, host: str) -> tuple[int, int]:
        """Return how many flows and groups a host's bridge should hold, without looking at them."""
        flows = groups = 0
        for layer in self._layers_of.get(host, ()):
            all_flows, all_groups = self._sizes.get((layer, ""), (0, 0))
            not_flows, not_groups = self._sizes.get((layer, host), (0, 0))
            flows, groups = flows + all_flows - not_flows, groups + all_groups - not_groups
        return flows, groups

    def hosts_with(self, network: str) -> Iterable[str]:
        """Return the hosts that have ports of a network."""
        return self._situation.seats.hosts_of(network).keys()

    def recompiled(self) -> Compiler:
        """Compile everything from nothing: the same as this one, or this one has an error."""
        fresh = Compiler()
        for host, ofports in self._situation.ofports.items():
            fresh.update_ofports(host, ofports)
        intent = self.intent
        objects = (held for kind in Kind for held in intent.objects(kind).values())
        fresh.update(intent, [Change(kind=o.kind, name=o.name, old=None, new=o) for o in objects])
        return fresh

    def _seat_ports(self, ports: Iterable[str]) -> dict[str, tuple[Seat | None, Seat | None]]:
        moves = {port: self._situation.seats.move(port, self.intent) for port in ports}
        return {port: (was, now) for port, (was, now) in moves.items() if was != now}

    def _parts_of_memberships(
        self, before: Mapping[str, frozenset[Layer]], after: Mapping[str, frozenset[Layer]]
    ) -> Iterator[Part]:
        """Yield what depends on a network's set of hosts, for networks that a host joined or left."""
        changed = {layer.name for host in before for layer in before[host] ^ after[host] if layer.families}
        for network in changed:
            yield from parts_of_membership(network, self._situation)
            known = {layer for layer in self._hosts_of if layer.families and layer.name == network}
            if self._situation.remote_layers(network) - known:
                for port in self.intent.ports_of(network):
                    yield Part(PartKind.PORT, port)

    def _compile(self, parts: Iterable[Part]) -> list[Edit]:
        """Compile parts anew and put their fragments in place; return (layer, before, after) where it differs."""
        edits: list[Edit] = []
        for part in parts:
            self.parts_compiled += 1
            try:
                fragments = {(layer, f.id): f for layer, f in produce(part, self._situation)}
            except EncodeError as error:
                # A group of too many buckets, say: what stood stays, and all other parts go on.
                _log.error("%s %s %s: %s", part.kind.value, part.name, part.host, error)
                continue
            places = frozenset(fragments)
            for layer, fragment_id in self._places.get(part, frozenset()) - places:
                edits.append((layer, self._take_out(layer, fragment_id), None))
            for (layer, fragment_id), fragment in fragments.items():
                stood = self._layers[layer].get(fragment_id)
                if stood != fragment:
                    if stood is not None:
                        self._count(layer, stood, -1)
                    self._count(layer, fragment, 1)
                    self._layers[layer][fragment_id] = fragment
                    edits.append((layer, stood, fragment))
            self._remember(part, places)
        return edits

    def _take_out(self, layer: Layer, fragment_id: FragmentId) -> Fragment:
        fragments = self._layers[layer]
        fragment = fragments.pop(fragment_id)
        self._count(layer, fragment, -1)
        if not fragments:
            del self._layers[layer]
        return fragment

    def _count(self, layer: Layer, fragment: Fragment, sign: int) -> None:
        for place in {(layer, ""), (layer, fragment.except_host)}:
            flows, groups = self._sizes.pop(place, (0, 0))
            flows, groups = flows + sign * len(fragment.flows), groups + sign * len(fragment.groups)
            if flows or groups:
                self._sizes[place] = flows, groups

    def _remember(self, part: Part, places: frozenset[Place]) -> None:
        if places:
            self._places[part] = places
        else:
            self._places.pop(part, None)

    def _spread(
        self,
        changed: Iterable[Edit],
        edits: dict[str, _Edits],
    ) -> None:
        """Record changed fragments for the hosts that had their layer and still have it."""
        for layer, stood, stands in changed:
            for host in self._hosts_of.get(layer, ()):
                if stood is not None and stood.except_host != host:
                    edits[host].gone.append(stood)
                if stands is not None and stands.except_host != host:
                    edits[host].come.append(stands)

    def _fragments(self, layer: Layer, host: str) -> list[Fragment]:
        return [f for f in self._layers.get(layer, _NONE).values() if f.except_host != host]

    def _leave(self, host: str, layers: Iterable[Layer], edit: _Edits) -> None:
        for layer in layers:
            edit.gone += self._fragments(layer, host)
            self._hosts_of[layer].discard(host)
            if not self._hosts_of[layer]:
                del self._hosts_of[layer]

    def _join(self, host: str, layers: Iterable[Layer], all_layers: frozenset[Layer], edit: _Edits) -> None:
        for layer in layers:
            edit.come += self._fragments(layer, host)
            self._hosts_of[layer].add(host)
        if all_layers:
            self._layers_of[host] = all_layers
        else:
            self._layers_of.pop(host, None)

    def _tlv_maps_of(self, host: str) -> frozenset[TlvMap]:
        return self._tlv_maps if host in self._layers_of else frozenset()

    def _remap(self, deltas: dict[str, HostDelta]) -> None:
        wanted = tlv_map(self.intent)
        if wanted == self._tlv_maps:
            return
        self._tlv_maps = wanted
        for host in self._layers_of:
            deltas.setdefault(host, HostDelta()).tlv_maps = wanted


def _touched_hosts(
    changes: Iterable[Change], moves: Mapping[str, tuple[Seat | None, Seat | None]]
) -> frozenset[str]:
    """Return the hosts that may have other layers after the changes."""
    declared = {change.name for change in changes if change.kind is Kind.HOST}
    moved = {seat.host for pair in moves.values() for seat in pair if seat is not None}
    return frozenset(declared | moved)


def _delta(edit: _Edits) -> HostDelta:
    delta = HostDelta()
    delta.replace_flows(
        (flow for fragment in edit.gone for flow in fragment.flows),
        (flow for fragment in edit.come for flow in fragment.flows),
    )
    delta.replace_groups(
        (group for fragment in edit.gone for group in fragment.groups),
        (group for fragment in edit.come for group in fragment.groups),
    )
    return delta
