# SPDX-License-Identifier: Apache-2.0
"""A set of packets on its way through bridges, and whose bits they are. Pure: every step makes a new one.

What is kept may be more than what can really come there, never less: a proof stays one. Where bits are overwritten,
what was known to be missing because of them is forgotten; sets are merged into the smallest cube around them.

A packet's bits are the sender's, or the controller's (a constant of a flow, or metadata that begins as zero). Planes
say which are the sender's: those of its DSCP and VLAN ID apart from all others, because policies may stamp them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from controller.proof.space import EVERYTHING, Cube, Layout
from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.fields import Field

MAX_DEPTH = 64
"Resubmits within resubmits until Open vSwitch gives up and drops (ofproto-dpif-xlate.c, MAX_DEPTH)."

_VLAN_ID = 0xFFF


class Planes(NamedTuple):
    """Which bits are the sender's."""

    others: int
    dscp: int
    vlan: int


NOBODYS = Planes(0, 0, 0)


class Step(NamedTuple):
    """A flow that packets went through; steps are a list from the last to the first."""

    before: Step | None
    host: str
    table: int
    priority: int
    cookie: int


class Copy(NamedTuple):
    """Bits that are what others were when packets came in."""

    source: int
    target: int
    ones: int


class Origin(NamedTuple):
    """What is known of the packets as they came in."""

    cube: Cube
    without: tuple[Cube, ...]
    same: int
    "Bits that still are as they came in."
    copies: tuple[Copy, ...] = ()
    "Bits elsewhere that are, too."

    def learn(self, value: int, known: int) -> Origin:
        """Return it with what bits of the packets as they are now turned out to be."""
        learnt = known & self.same
        meant = value & learnt
        for copy in self.copies:
            asked = (known >> copy.target & copy.ones) << copy.source
            meant |= (value >> copy.target & copy.ones) << copy.source & asked & ~learnt
            learnt |= asked
        cube = Cube(self.cube.value | meant & ~self.cube.known, self.cube.known | learnt)
        return self._replace(cube=cube)

    def overwritten(self, mask: int) -> Origin:
        """Return it without bits that are no longer as they came in."""
        copies = tuple(one for one in self.copies if not one.ones << one.target & mask)
        return self._replace(same=self.same & ~mask, copies=copies)

    def copied(self, source: int, target: int, ones: int) -> Origin:
        """Return it with bits that were copied, if they were as they came in."""
        if not ones << source & ~self.same:
            return self._replace(copies=(*self.copies, Copy(source, target, ones)))
        for one in self.copies:
            if not ones << source & ~(one.ones << one.target):
                copy = Copy(source - one.target + one.source, target, ones)
                return self._replace(copies=(*self.copies, copy))
        return self


class Packets(NamedTuple):
    """A set of packets: those of a cube but for some."""

    cube: Cube
    without: tuple[Cube, ...] = ()
    "Cubes over bits that `cube` does not know."
    said: Planes = NOBODYS
    proved: bool = False
    "All of them say of themselves only what their sender may; no longer when such a field is written."
    depth: int = 0
    step: Step | None = None
    origin: Origin | None = None
    "Kept only where a counter-example is looked for."

    def among(self, match: Cube) -> Packets | None:
        """Return those that a flow matches; None when there are none."""
        (value, known), (wanted, asked) = self.cube, match
        if (value ^ wanted) & known & asked:
            return None
        new = asked & ~known
        if not new:
            return self
        cube = Cube(value | wanted, known | asked)
        without = narrowed(self.without, cube)
        if without is None:
            return None
        origin = self.origin
        if origin is not None:
            origin = origin.learn(wanted & new, new)
        return Packets(cube, without, self.said, self.proved, self.depth, self.step, origin)

    def but_for(self, matches: Sequence[Cube], *, keep: bool = True) -> Packets | None:
        """Return those that flows of a higher priority leave; None when there are none.

        Without `keep` all are returned unless one of the flows gets them all.
        """
        value, known = self.cube
        if not keep:
            taken = any(
                not one.known & ~known and not (value ^ one.value) & one.known & known for one in matches
            )
            return None if taken else self
        without = list(self.without)
        lacking: list[Cube] = []
        for wanted, asked in matches:
            if (value ^ wanted) & known & asked:
                continue
            free = asked & ~known
            if not free:
                return None
            gone = Cube(wanted & free, free)
            without.append(gone)
            if self.origin is not None and not free & ~self.origin.same:
                lacking.append(gone)
        if len(without) == len(self.without):
            return self
        origin = self.origin
        if origin is not None:
            origin = origin._replace(without=(*origin.without, *lacking))
        return self._replace(without=tuple(without), origin=origin)

    def through(self, host: str, table: int, priority: int, cookie: int) -> Packets:
        """Note the flow."""
        step = Step(self.step, host, table, priority, cookie)
        return Packets(self.cube, self.without, self.said, self.proved, self.depth, step, self.origin)

    def put(self, mask: int, value: int, known: int, said: Planes = NOBODYS) -> Packets:
        """Write bits: those of `mask` become `value` where `known`; `said` are those of them that are the sender's."""
        cube = Cube(self.cube.value & ~mask | value, self.cube.known & ~mask | known)
        without = self.without and tuple([one for one in self.without if not one.known & mask])
        others, dscp, vlan = self.said
        kept = ~mask
        planes = Planes(others & kept | said.others, dscp & kept | said.dscp, vlan & kept | said.vlan)
        origin = self.origin
        if origin is not None:
            origin = origin.overwritten(mask)
        return Packets(cube, without, planes, self.proved, self.depth, self.step, origin)

    def unproved(self) -> Packets:
        """Return them as such of which it is not known whether they say what they may."""
        return self._replace(proved=False)

    def deeper(self) -> Packets | None:
        """Return them on another look-up; None where Open vSwitch has had enough."""
        return self._replace(depth=self.depth + 1) if self.depth < MAX_DEPTH else None

    def value_of(self, layout: Layout, field: Field) -> int | None:
        """Return what a field is in all of them; None when that differs."""
        offset, ones = layout.at(field)
        if self.cube.known >> offset & ones != ones:
            return None
        return self.cube.value >> offset & ones


def narrowed(without: tuple[Cube, ...], cube: Cube) -> tuple[Cube, ...] | None:
    """Return what is missing of a cube, over bits that it does not know; None when nothing is left of it."""
    if not without:
        return without
    value, known = cube
    kept = []
    for gone in without:
        if (value ^ gone.value) & known & gone.known:
            continue
        free = gone.known & ~known
        if not free:
            return None
        kept.append(gone if free == gone.known else Cube(gone.value & free, free))
    return tuple(kept)


def merged(some: Sequence[Packets], headers: int) -> list[Packets]:
    """Return fewer sets that hold at least the same packets: one for all that differ in headers alone."""
    together: dict[tuple[int, int], list[Packets]] = {}
    result = []
    for one in some:
        if one.proved:
            key = one.cube.value & ~headers, one.cube.known & ~headers
            together.setdefault(key, []).append(one)
        else:
            result.append(one)
    return result + [_hull(those) for those in together.values()]


def _hull(some: Sequence[Packets]) -> Packets:
    first = some[0]
    if len(some) == 1:
        return first._replace(without=()) if first.without else first
    (value, known), (others, dscp, vlan), depth = first.cube, first.said, first.depth
    for one in some[1:]:
        known &= one.cube.known & ~(value ^ one.cube.value)
        value &= known
        others, dscp, vlan = others | one.said.others, dscp | one.said.dscp, vlan | one.said.vlan
        depth = max(depth, one.depth)
    planes = Planes(others, dscp, vlan)
    return first._replace(cube=Cube(value, known), without=(), said=planes, depth=depth)


def from_port(layout: Layout, in_port: int, *, traced: bool = False) -> Packets:
    """Return everything that can come in through a port that is no tunnel."""
    metadata = layout.everything & ~layout.headers
    port = in_port << layout.at(f.IN_PORT).offset
    return _all(layout, Cube(port, metadata), traced=traced)


def from_anywhere(layout: Layout, cube: Cube = EVERYTHING, *, traced: bool = False) -> Packets:
    """Return everything in a cube, all of it the sender's word."""
    return _all(layout, cube, traced=traced)


def _all(layout: Layout, cube: Cube, *, traced: bool) -> Packets:
    dscp, tag = layout.at(f.IP_DSCP).mask, layout.at(f.VLAN_VID)
    vlan = _VLAN_ID << tag.offset
    said = Planes((layout.headers | layout.everything & ~cube.known) & ~dscp & ~vlan, dscp, vlan)
    origin = Origin(cube, (), layout.everything) if traced else None
    return Packets(cube=cube, said=said, origin=origin)
