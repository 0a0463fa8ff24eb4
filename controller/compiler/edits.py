# SPDX-License-Identifier: Apache-2.0
"""What an update does to hosts: fragments that go and come, worked out flow by flow only when a host asks. Pure.

Hosts to which the same happens share one `HostChange`, and so its delta and the bytes that carry it: a port more in a
network is planned once, not once a host. A host that is not connected asks for nothing and costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from controller.compiler.fragments import Fragment
from controller.hoststate import EncodedFlow, HostDelta
from ovs_geneve.openflow.meters import MeterEntry
from ovs_geneve.openflow.tlv_table import TlvMap


@dataclass(slots=True, eq=False)
class HostChange:
    """What some hosts must change. Shared, so nobody alters it or its delta."""

    gone: Sequence[Fragment] = ()
    come: Sequence[Fragment] = ()
    tlv_maps: frozenset[TlvMap] | None = None
    released: frozenset[TlvMap] = frozenset()
    meters: frozenset[MeterEntry] | None = None
    _taken: dict[int, tuple[EncodedFlow, ...]] = field(default_factory=dict)
    "Flows by the fragment that was taken apart; the changes of one update share it."
    _delta: HostDelta | None = None

    def delta(self) -> HostDelta:
        """Return it flow by flow."""
        if self._delta is None:
            self._delta = HostDelta(tlv_maps=self.tlv_maps, released=self.released, meters=self.meters)
            self._delta.replace_flows(self._flows(self.gone), self._flows(self.come))
            self._delta.replace_groups(
                (group for fragment in self.gone for group in fragment.groups),
                (group for fragment in self.come for group in fragment.groups),
            )
        return self._delta

    def _flows(self, fragments: Iterable[Fragment]) -> Iterator[EncodedFlow]:
        for fragment in fragments:
            flows = self._taken.get(id(fragment))
            if flows is None:
                flows = self._taken[id(fragment)] = tuple(fragment.flows)
            yield from flows


@dataclass(slots=True)
class Edits:
    """What happens to one host, being collected."""

    gone: list[Fragment] = field(default_factory=list)
    come: list[Fragment] = field(default_factory=list)
    tlv_maps: frozenset[TlvMap] | None = None
    released: frozenset[TlvMap] = frozenset()
    meters: frozenset[MeterEntry] | None = None


def changes_of(edits: Mapping[str, Edits]) -> dict[str, HostChange]:
    """Return the change of each host that has one; hosts with the same edits get the same."""
    shared: dict[tuple[object, ...], HostChange] = {}
    taken: dict[int, tuple[EncodedFlow, ...]] = {}
    changes = {}
    for host, edit in edits.items():
        if edit.gone or edit.come or edit.tlv_maps is not None or edit.meters is not None:
            maps = edit.tlv_maps, edit.released, edit.meters
            what = tuple(map(id, edit.gone)), tuple(map(id, edit.come)), maps
            change = shared.get(what)
            if change is None:
                change = shared[what] = HostChange(edit.gone, edit.come, *maps, taken)
            changes[host] = change
    return changes
