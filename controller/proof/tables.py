# SPDX-License-Identifier: Apache-2.0
"""The flows of a table, found by what is known of packets: one look for each form of match (tuple space search). Pure.

form: tun_id, dl_dst      packets of which both are known    ─► the flows with these values
                          packets of which tun_id is known   ─► the flows with that tun_id
                          packets of which neither is known  ─► all flows of the form
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter

from controller.proof.packets import Packets
from controller.proof.space import Cube, Layout
from ovs_geneve.openflow.flow import Flow

_by_priority = attrgetter("rank")


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A flow, and the packets that it matches."""

    flow: Flow
    cube: Cube
    rank: int
    "Less is looked at first."


@dataclass(slots=True)
class _Form:
    """The flows that match the same bits."""

    fields: tuple[int, ...]
    rules: list[Rule] = field(default_factory=list)
    indexes: dict[int, dict[int, list[Rule]]] = field(default_factory=dict)
    "By which bits are known, then by their value."

    def found(self, packets: Cube) -> list[Rule]:
        """Return the flows that may match."""
        known = 0
        for mask in self.fields:
            if not mask & ~packets.known:
                known |= mask
        if not known:
            return self.rules
        index = self.indexes.get(known)
        if index is None:
            index = self.indexes[known] = {}
            for rule in self.rules:
                index.setdefault(rule.cube.value & known, []).append(rule)
        return index.get(packets.value & known, [])


class Table:
    """A table of one bridge."""

    def __init__(self, flows: Iterable[Flow], layout: Layout) -> None:
        self._forms: dict[int, _Form] = {}
        for flow in flows:
            cube = layout.match(flow.match)
            form = self._forms.get(cube.known)
            if form is None:
                masks = tuple(layout.cube(term).known for term in flow.match.terms)
                form = self._forms[cube.known] = _Form(masks)
            form.rules.append(Rule(flow, cube, -flow.priority))

    def found(self, packets: Packets, *, exact: bool = True) -> Iterator[tuple[Packets, Flow | None]]:
        """Yield which of the packets each flow gets, those of the highest priority first, and which none gets.

        Of flows with one priority that match the same packet each gets it: OpenFlow leaves open which does. Without
        `exact` it is not kept which packets of a set another flow got.
        """
        candidates = [rule for form in self._forms.values() for rule in form.found(packets.cube)]
        candidates.sort(key=_by_priority)
        (value, known), above = packets.cube, list[Cube]()
        level: list[Cube] = []
        rank: int | None = None
        for rule in candidates:
            wanted, asked = rule.cube
            if (value ^ wanted) & known & asked:
                continue
            if rule.rank != rank:
                above += level
                level, rank = [], rule.rank
                if any(not one.known & ~known for one in above):
                    return
            level.append(rule.cube)
            got = packets.among(rule.cube)
            if got is not None and above:
                got = got.but_for(above, keep=exact)
            if got is not None:
                yield got, rule.flow
        rest = packets.but_for(above + level, keep=exact)
        if rest is not None:
            yield rest, None
