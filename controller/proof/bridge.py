# SPDX-License-Identifier: Apache-2.0
"""What one bridge does with a set of packets: every flow that any of them hits, every bucket, every copy. Pure.

Written from ovs-actions(7) and OVS ofproto-dpif-xlate.c, not from what the compiler means by its flows. What is not
understood raises Unprovable.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, assert_never

from controller.proof.packets import NOBODYS, Packets, Planes, Step, merged
from controller.proof.space import Layout, Unprovable
from controller.proof.tables import Table
from ovs_geneve.openflow import actions as a
from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.flow import Flow, GroupEntry

MAX_SETS = 400_000
"Sets of packets that one walk may come to; more is no pipeline of ours."

_TRACKED = 0x20
_PRESENT_TAG = 1 << 12

_NOTHING = Table((), Layout({}))


class Emission(NamedTuple):
    """Packets that leave a bridge."""

    port: int
    packets: Packets
    back: bool
    "To where they came from (IN_PORT)."


@dataclass(slots=True)
class Came:
    """What came of some packets."""

    emissions: list[Emission] = field(default_factory=list)
    told: int = 0
    "How often packets went up to the controller."
    hits: list[Step] | None = None
    "Every flow that was hit, if anybody wants to know."
    sets: int = 0


class Bridge:
    """The flows and groups of one host."""

    def __init__(
        self, host: str, layout: Layout, flows: Iterable[Flow], groups: Iterable[GroupEntry], source_mask: int
    ) -> None:
        self.host = host
        self.layout = layout
        self.source_mask = source_mask
        "Fields in which a packet says whose it is: when one is written that is to be proved again."
        by_table: dict[int, list[Flow]] = defaultdict(list)
        for flow in flows:
            by_table[flow.table].append(flow)
        self.tables: Mapping[int, Table] = {number: Table(some, layout) for number, some in by_table.items()}
        self.groups: Mapping[int, GroupEntry] = {group.group_id: group for group in groups}
        self.tracking = layout.mask_of((f.CT_STATE, f.CT_ZONE, f.CT_MARK, f.CT_LABEL))


Check = Callable[[Packets], Packets]
"Marks packets as proved when all of them say of themselves only what their sender may."


class Walk:
    """One way through a bridge: all that becomes of some packets.

    `check` is asked of packets that are to be merged whether all of them say of themselves what they may; without it
    nothing is merged. `tracked` is what conntrack says of every packet; None is anything.
    """

    def __init__(self, bridge: Bridge, check: Check | None = None, *, tracked: int | None = None) -> None:
        self._bridge = bridge
        self._layout = bridge.layout
        self._check = check
        self._tracked_as = tracked
        self._waiting: dict[int, list[Packets]] = defaultdict(list)
        self.came = Came()

    def run(self, packets: Packets, table: int = 0) -> Came:
        """Follow packets until none is left."""
        self._waiting[table].append(packets)
        while self._waiting:
            number = min(self._waiting)
            for one in self._together(self._waiting.pop(number)):
                self._look_up(number, one, None)
        return self.came

    def _together(self, some: list[Packets]) -> list[Packets]:
        if self._check is None:
            return some
        if len(some) == 1:
            return some
        return merged([self._check(one) for one in some], self._layout.headers)

    def _look_up(self, number: int, packets: Packets, ends: list[Packets] | None) -> None:
        """Apply a table; `ends` gets what comes out at the end, if anybody asks."""
        host = self._bridge.host
        exact = self._check is None or not packets.proved
        for got, flow in self._bridge.tables.get(number, _NOTHING).found(packets, exact=exact):
            if flow is None:
                if ends is not None:
                    ends.append(got)  # OVS goes on behind the resubmit
                continue
            self.came.sets += 1
            if self.came.sets > MAX_SETS:
                raise Unprovable(f"{host}: more than {MAX_SETS} sets of packets from one port")
            hit = got.through(host, number, flow.priority, flow.cookie)
            if self.came.hits is not None and hit.step is not None:
                self.came.hits.append(hit.step)
            last = flow.goto is None and ends is None
            for after in self._act((hit,), flow.actions, last=last):
                if flow.goto is None:
                    if ends is not None:
                        ends.append(after)
                elif ends is None:
                    self._waiting[flow.goto].append(after)
                else:
                    self._look_up(flow.goto, after, ends)

    def _act(
        self, packets: Iterable[Packets], actions: Sequence[a.Action], *, last: bool = False
    ) -> Iterable[Packets]:
        """Apply actions; with `last` nobody asks what they end with."""
        for place, action in enumerate(actions):
            if isinstance(action, a.Resubmit):
                if action.in_port is not None:
                    raise Unprovable(f"{self._bridge.host}: resubmit with another in_port")
                if last and place == len(actions) - 1:
                    for one in packets:
                        self._again(one, action.table)
                    return ()
                packets = [end for one in packets for end in self._resubmitted(one, action.table)]
            else:
                packets = [self._done(one, action) for one in packets]
        return packets

    def _again(self, packets: Packets, table: int) -> None:
        deeper = packets.deeper()
        if deeper is not None:
            self._waiting[table].append(deeper)

    def _resubmitted(self, packets: Packets, table: int) -> list[Packets]:
        deeper = packets.deeper()
        ends: list[Packets] = []
        if deeper is None:
            return ends
        self._look_up(table, deeper, ends)
        return [end._replace(depth=packets.depth) for end in ends]

    def _done(self, packets: Packets, action: a.Action) -> Packets:
        """Do one action; return the packets as they go on."""
        match action:
            case a.SetField():
                return self._set(packets, action)
            case a.Move():
                return self._moved(packets, action)
            case a.Ct():
                return self._tracked(packets, action)
            case a.CtClear():
                return packets.put(self._bridge.tracking, 0, self._bridge.tracking)
            case a.DeleteField(field=option):
                mask = self._layout.at(option).mask | self._layout.present(option)
                return packets.put(mask, 0, mask)
            case a.PopVlan() | a.PushVlan():
                return self._tagged(packets, isinstance(action, a.PushVlan))
            case a.DecTtl():
                mask = self._layout.at(f.IP_TTL).mask
                return packets.put(mask, 0, 0, _within(packets.said, mask))
            case _:
                self._sent(packets, action)
                return packets

    def _sent(
        self,
        packets: Packets,
        action: (
            a.Output | a.OutputField | a.Group | a.Clone | a.Controller | a.Meter | a.SetQueue | a.Resubmit
        ),
    ) -> None:
        """Do an action that leaves the packets as they are."""
        match action:
            case a.Output(port=port):
                self._output(packets, port)
            case a.Group(group_id=number):
                group = self._bridge.groups.get(number)
                for bucket in group.buckets if group is not None else ():
                    self._act((packets,), bucket.actions, last=True)
            case a.Clone(actions=inner):
                self._act((packets,), inner, last=True)
            case a.Controller():
                self.came.told += 1
            case a.OutputField(field=number_field, offset=offset, width=width):
                place = self._layout.at(number_field)
                self._output_field(packets, place.offset + offset, (1 << width) - 1)
            case a.Meter() | a.SetQueue():
                pass
            case a.Resubmit():
                raise Unprovable(f"{self._bridge.host}: a resubmit where none can be")
            case _:
                assert_never(action)

    def _set(self, packets: Packets, action: a.SetField) -> Packets:
        offset, ones = self._layout.at(action.field)
        present = self._layout.present(action.field)
        mask = (ones if action.mask is None else action.mask) << offset | present
        return self._written(packets, mask, action.value << offset | present, mask, NOBODYS)

    def _moved(self, packets: Packets, action: a.Move) -> Packets:
        ones = (1 << action.bits) - 1
        source = self._layout.at(action.source).offset + action.source_offset
        target = self._layout.at(action.destination).offset + action.destination_offset
        present = self._layout.present(action.destination)
        value, known = packets.cube
        said = Planes(*((plane >> source & ones) << target for plane in packets.said))
        known = (known >> source & ones) << target | present
        value = (value >> source & ones) << target & known | present
        after = self._written(packets, ones << target | present, value, known, said)
        if packets.origin is not None and after.origin is not None:
            kept = after.origin.overwritten(ones << target).copies
            traced = packets.origin.copied(source, target, ones).copies[len(packets.origin.copies) :]
            after = after._replace(origin=after.origin._replace(copies=(*kept, *traced)))
        return after

    def _written(self, packets: Packets, mask: int, value: int, known: int, said: Planes) -> Packets:
        after = packets.put(mask, value, known, said)
        if after.proved and mask & self._bridge.source_mask:
            after = after.unproved()
        return after

    def _tagged(self, packets: Packets, pushed: bool) -> Packets:
        mask = self._layout.mask_of((f.VLAN_VID, f.VLAN_PCP))
        value = _PRESENT_TAG << self._layout.at(f.VLAN_VID).offset if pushed else 0
        return self._written(packets, mask, value, mask, NOBODYS)

    def _tracked(self, packets: Packets, action: a.Ct) -> Packets:
        tracking = self._bridge.tracking
        if action.table is not None:
            # What conntrack says may be anything; the mark and label as well, whoever set them.
            state, known = self._layout.at(f.CT_STATE).offset, _TRACKED
            if self._tracked_as is not None:
                known = f.CT_STATE.ones
            copy = packets.put(tracking, (self._tracked_as or _TRACKED) << state, known << state)
            self._again(copy, action.table)
        return packets.put(tracking, 0, tracking)

    def _output(self, packets: Packets, port: int) -> None:
        if port == a.OFPP_CONTROLLER:
            self.came.told += 1
            return
        came_from = packets.value_of(self._layout, f.IN_PORT)
        if port == a.OFPP_IN_PORT:
            self.came.emissions.append(Emission(port if came_from is None else came_from, packets, True))
        elif port != came_from:  # OVS sends nothing back unless it is told to by that name
            self.came.emissions.append(Emission(port, packets, False))

    def _output_field(self, packets: Packets, shift: int, ones: int) -> None:
        value, known = packets.cube
        if known >> shift & ones != ones:
            raise Unprovable(f"{self._bridge.host}: output to a port that packets name")
        self._output(packets, value >> shift & ones)


def _within(said: Planes, mask: int) -> Planes:
    return Planes(*(plane & mask for plane in said))
