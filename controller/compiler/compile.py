# SPDX-License-Identifier: Apache-2.0
"""From intent to what every bridge should hold, part by part.

`Compiler.update` costs what a change touches: it compiles the dirty parts anew, compares fragments, and answers with
what each host concerned must change. `Compiler.desired` is the whole of a host, for a bridge that connects.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

from controller.compiler.dirty import (
    parts_of_change,
    parts_of_membership,
    parts_of_move,
    parts_of_network,
    parts_on_host,
    ports_to_seat,
)
from controller.compiler.edits import Edits, HostChange, changes_of
from controller.compiler.fragments import Fragment, FragmentId, Layer, LayerKind, shared_layer
from controller.compiler.layers import Layers
from controller.compiler.meters import METERS
from controller.compiler.part import Part, PartKind
from controller.compiler.parts import produce
from controller.compiler.recompute import Recomputation, Snapshot, compare
from controller.compiler.seats import Seat
from controller.compiler.situation import Situation
from controller.compiler.views import resting_map, tlv_map
from controller.hoststate import EncodedFlow, HostState, Installation, Observed, maps_fit
from controller.intent.intent import Intent
from controller.intent.model import Change, Kind
from ovs_geneve.errors import EncodeError
from ovs_geneve.openflow.bundle import Block
from ovs_geneve.openflow.meters import MeterEntry, contents
from ovs_geneve.openflow.tlv_table import TlvMap

_log = logging.getLogger(__name__)

Place = tuple[Layer, FragmentId]
Edit = tuple[Layer, Fragment | None, Fragment | None]
"A fragment of a layer, before and after."

_NO_LAYERS: frozenset[Layer] = frozenset()
_NO_PLACES: frozenset[Place] = frozenset()


@dataclass(frozen=True, slots=True)
class HostView:
    """What one host should hold, as its programmer asks for it."""

    compiler: Compiler
    host: str

    def state(self) -> HostState:
        """Return all of it."""
        return self.compiler.desired(self.host)

    def installation(self) -> Installation:
        """Return the bytes that put it on a bridge that holds nothing of ours."""
        return self.compiler.installation(self.host)

    def tlv_maps(self) -> tuple[frozenset[TlvMap], frozenset[TlvMap]]:
        """Return what it should map, and what it should map no more."""
        return self.compiler.tlv_maps_of(self.host)

    def is_met(self, observed: Observed) -> bool:
        """Tell whether a bridge holds exactly that."""
        return self.compiler.holds_all(self.host, observed)


class Compiler:
    """What every host should hold, kept up to date with intent and facts."""

    def __init__(self) -> None:
        self._situation = Situation()
        self._layers = Layers()
        self._places: dict[Part, frozenset[Place]] = {}
        self._memberships: dict[str, frozenset[Layer]] = {}
        "The networks that each declared host is in, as compiled last."
        self._reach: dict[str, frozenset[Layer]] = {}
        "The layers of ways to elsewhere that each network's ports were compiled into last."
        self._tlv_maps: frozenset[TlvMap] = frozenset()
        self._released: frozenset[TlvMap] = frozenset()
        "Mappings that were ours and that every bridge is to let go."
        self.parts_compiled = 0
        "How many parts were ever compiled: what changes cost."
        self._compile((Part(PartKind.PIPELINE), Part(PartKind.PROBES)))

    @property
    def intent(self) -> Intent:
        """Return the intent compiled last."""
        return self._situation.intent

    def update(self, intent: Intent, changes: Iterable[Change]) -> Mapping[str, HostChange]:
        """Follow the intent; `changes` lead from the last one to this. Return what each host concerned must change."""
        changes = tuple(changes)
        old = self._situation.intent
        self._situation.move_on(intent, changes)
        moves = self._seat_ports(set(ports_to_seat(changes, old, intent)))
        parts = {part for change in changes for part in parts_of_change(change, old, self._situation)}
        parts.update(
            p for port, (was, now) in moves.items() for p in parts_of_move(port, was, now, self._situation)
        )
        remap = any(change.kind in (Kind.OPTION_SCHEMA, Kind.RETIRED_SLOT) for change in changes)
        return self._refresh(_touched_hosts(changes, moves), parts, old, remap=remap)

    def update_ofports(self, host: str, ofports: Mapping[str, int]) -> HostChange | None:
        """Follow what a host's OVSDB says about its interfaces; return what the host must change, if anything."""
        old = self._situation.ofports.pop(host, {})
        if ofports:
            self._situation.ofports[host] = ofports
        moved = {name for name in old.keys() | ofports.keys() if old.get(name) != ofports.get(name)}
        ports = (self.intent.port_by_interface_id(interface_id) for interface_id in moved)
        edits: dict[str, Edits] = defaultdict(Edits)
        self._spread(self._compile({Part(PartKind.LOCAL, port) for port in ports if port is not None}), edits)
        return changes_of(edits).get(host)

    def serve(self, hosts: frozenset[str] | None) -> Mapping[str, HostChange]:
        """Compile for these hosts alone, None for all; return what those that are new must hold."""
        served = {host for host in self.intent.hosts if self._situation.serves(host)}
        self._situation.serve(hosts)
        touched = served ^ {host for host in self.intent.hosts if self._situation.serves(host)}
        parts = {part for host in touched for part in parts_on_host(host, self._situation)}
        changes = self._refresh(frozenset(touched), parts, self.intent)
        return {host: change for host, change in changes.items() if self._situation.serves(host)}

    def desired(self, host: str) -> HostState:
        """Return everything that a host's bridge should hold."""
        fragments = self._fragments(host)
        flows: dict[bytes, EncodedFlow] = {}
        for fragment in fragments:
            flows.update((flow.key, flow) for flow in fragment.flows)
        groups = {group.group_id: group for fragment in fragments for group in fragment.groups}
        wanted, released = self.tlv_maps_of(host)
        return HostState(
            tlv_maps=wanted, flows=flows, groups=groups, released=released, meters=self._meters_of(host)
        )

    def holds_all(self, host: str, observed: Observed) -> bool:
        """Tell whether a host's bridge holds exactly what it should; quicker than to look for what differs."""
        groups = (group for fragment in self._fragments(host) for group in fragment.groups)
        return (
            maps_fit(*self.tlv_maps_of(host), observed.tlv_maps)
            and observed.meters == contents(self._meters_of(host))
            and observed.groups == {group.group_id: group.content for group in groups}
            and observed.flows == self._layers.cookies(host)
        )

    def installation(self, host: str) -> Installation:
        """Return the same for a bridge that holds nothing of ours: what is encoded goes out as it is."""
        # Groups are in a host's own layer.
        own = self._layers.fragments(host, [shared_layer(LayerKind.HOST, host)])
        groups = [Block.of(group.message) for fragment in own for group in fragment.groups]
        wanted, released = self.tlv_maps_of(host)
        blocks = [*groups, *self._layers.blocks(host)]
        return Installation(tlv_maps=wanted, blocks=blocks, released=released, meters=self._meters_of(host))

    def tlv_maps_of(self, host: str) -> tuple[frozenset[TlvMap], frozenset[TlvMap]]:
        """Return what a host's bridge should map, and what it should map no more: all of it for one that leaves."""
        if host in self._layers.hosts:
            return self._tlv_maps, self._released
        if host in self.intent.hosts:
            return frozenset(), frozenset()  # another controller serves it
        return frozenset(), self._tlv_maps | self._released

    def size(self, host: str) -> tuple[int, int]:
        """Return how many flows and groups a host's bridge should hold, without looking at them."""
        return self._layers.size(host)

    def hosts_with(self, network: str) -> Iterable[str]:
        """Return the hosts that have ports of a network."""
        return self._situation.seats.hosts_of(network).keys()

    def snapshot(self) -> Snapshot:
        """Return all that was told and all that is kept, as it is now."""
        return Snapshot(
            intent=self.intent,
            ofports=dict(self._situation.ofports),
            served=self._situation.served,
            layers=self._layers.held(),
            layers_of={host: self._layers.of(host) for host in self._layers.hosts},
            tlv_maps=self._tlv_maps,
            released=self._released,
        )

    @classmethod
    def of(cls, told: Snapshot) -> Compiler:
        """Compile from nothing what a compiler was told."""
        fresh = cls()
        fresh.serve(told.served)
        for host, ofports in told.ofports.items():
            fresh.update_ofports(host, ofports)
        objects = (held for kind in Kind for held in told.intent.objects(kind).values())
        fresh.update(told.intent, [Change(kind=o.kind, name=o.name, old=None, new=o) for o in objects])
        return fresh

    def _refresh(
        self, touched: Set[str], parts: set[Part], old: Intent, *, remap: bool = False
    ) -> Mapping[str, HostChange]:
        """Compile parts and what else depends on hosts' places; `touched` hosts may have other layers now."""
        situation = self._situation
        before = {host: self._layers.of(host) for host in touched}
        after = {host: situation.layers_of(host) for host in touched}
        parts.update(self._parts_of_memberships(touched, old))

        edits: dict[str, Edits] = defaultdict(Edits)
        for host in touched:
            edits[host].gone += self._layers.fragments(host, before[host] - after[host])
            self._layers.assign(host, before[host] & after[host])
        self._spread(self._compile(parts), edits)
        for host in touched:
            edits[host].come += self._layers.fragments(host, after[host] - before[host])
            self._layers.assign(host, after[host])
        if remap:
            self._remap(edits)
        for host in touched:
            if bool(before[host]) != bool(after[host]):
                # A host that is declared again may not have been away: its switch holds the map it had, or none.
                edits[host].tlv_maps, edits[host].released = self.tlv_maps_of(host)
                edits[host].meters = self._meters_of(host)
        return changes_of(edits)

    def _seat_ports(self, ports: Iterable[str]) -> dict[str, tuple[Seat | None, Seat | None]]:
        moves = {port: self._situation.seats.move(port, self.intent) for port in ports}
        moves = {port: (was, now) for port, (was, now) in moves.items() if was != now}
        self._situation.moved({seat.network for pair in moves.values() for seat in pair if seat is not None})
        return moves

    def _parts_of_memberships(self, touched: Set[str], old: Intent) -> Iterator[Part]:
        """Yield what depends on a network's set of hosts, for networks that a host joined or left."""
        changed = set()
        for host in touched:
            before = self._memberships.pop(host, _NO_LAYERS)
            after = self._situation.memberships_of(host)
            if after:
                self._memberships[host] = after
            for layer in before ^ after:
                changed.add(layer.name)
                yield Part(PartKind.REMOTE_GROUP, layer.name, host)
        for network in changed:
            yield from parts_of_membership(network, self._situation)
        for network in changed.union(*(self._situation.seats.networks_on(host) for host in touched)):
            reach = self._situation.remote_layers(network)
            if reach != self._reach.pop(network, _NO_LAYERS):
                yield from parts_of_network(network, old, self.intent)
            if reach:
                self._reach[network] = reach

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
            for layer, fragment_id in self._places.get(part, _NO_PLACES) - places:
                edits.append((layer, self._layers.take_out(layer, fragment_id), None))
            for (layer, fragment_id), fragment in fragments.items():
                stood = self._layers.get(layer, fragment_id)
                if stood != fragment:
                    self._layers.put(layer, fragment)
                    edits.append((layer, stood, fragment))
            if places:
                self._places[part] = places
            else:
                self._places.pop(part, None)
        return edits

    def _spread(self, changed: Iterable[Edit], edits: dict[str, Edits]) -> None:
        """Record changed fragments for the hosts that had their layer and still have it."""
        for layer, stood, stands in changed:
            for host in self._layers.holders(layer):
                if stood is not None and stood.except_host != host:
                    edits[host].gone.append(stood)
                if stands is not None and stands.except_host != host:
                    edits[host].come.append(stands)

    def _fragments(self, host: str) -> list[Fragment]:
        return self._layers.fragments(host, self._layers.of(host))

    def _meters_of(self, host: str) -> frozenset[MeterEntry]:
        return METERS if host in self._layers.hosts else frozenset()

    def _remap(self, edits: dict[str, Edits]) -> None:
        maps = tlv_map(self.intent), resting_map(self.intent)
        if maps != (self._tlv_maps, self._released):
            self._tlv_maps, self._released = maps
            for host in self._layers.hosts:
                edits[host].tlv_maps, edits[host].released = maps


def _touched_hosts(
    changes: Iterable[Change], moves: Mapping[str, tuple[Seat | None, Seat | None]]
) -> frozenset[str]:
    """Return the hosts that may have other layers after the changes."""
    declared = {change.name for change in changes if change.kind is Kind.HOST}
    moved = {seat.host for pair in moves.values() for seat in pair if seat is not None}
    return frozenset(declared | moved)


def recompute(kept: Snapshot) -> Recomputation:
    """Compile from nothing what a compiler was told, and compare with what it keeps."""
    fresh = Compiler.of(kept)
    return Recomputation(
        revision=kept.intent.revision,
        hosts=len(kept.layers_of),
        parts=fresh.parts_compiled,
        disagreements=tuple(compare(kept, fresh.snapshot())),
    )
