# SPDX-License-Identifier: Apache-2.0
"""Match, Flow, Bucket and GroupEntry as frozen values, for OpenFlow 1.5.

Values of fields are plain ints in network order: a MAC is a 48-bit int, an IPv6 address a 128-bit
one, tun_metadata the big-endian int of the option's data. A `Match` is canonical: it holds its terms
the way Open vSwitch dumps them, so that the raw bytes of a match are the same in what we send
and in what the switch reports, and a flow's key is table, priority and those bytes.

Prerequisites (eth_type before ipv4_src, …) are the caller's job: nothing is added silently, the
switch answers OFPBMC_BAD_PREREQ.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from ovs_geneve.errors import EncodeError
from ovs_geneve.openflow.actions import Action
from ovs_geneve.openflow.fields import (
    REGS,
    VLAN_PCP,
    VLAN_TCI,
    VLAN_VID,
    XREGS,
    XXREGS,
    Field,
    is_tun_metadata,
)

MAX_PRIORITY = 0xFFFF
MAX_TABLE = 0xFE
"OFPTT_MAX: table 255 means all tables."
MAX_GROUP = 0xFFFFFF00
"OFPG_MAX."

_KEY_PREFIX = struct.Struct("!BH")


class Term(NamedTuple):
    """One field of a match; a mask of None means that every bit counts."""

    field: Field
    value: int
    mask: int | None = None


TermLike: TypeAlias = tuple[Field, int] | tuple[Field, int, int | None]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Match:
    """Which packets a flow is for; build it with `Match.of`. Equal matches have equal bytes."""

    terms: tuple[Term, ...]
    "Sorted as OVS dumps them; registers are folded into xregs, vlan_tci into vlan_vid and vlan_pcp."
    raw: bytes
    "The OXM TLVs, without the match header and without padding."

    @classmethod
    def of(cls, *terms: TermLike) -> Match:
        """Build a match from (field, value) and (field, value, mask); without any it matches everything.

        Raise EncodeError for a value or mask out of range, for value bits outside the mask, for a mask
        that the field cannot have, and for the same bits given twice. A mask of zero is for
        tun_metadata only, where it asks for the presence of the option.
        """
        checked = [_checked(*term) for term in terms]
        if any(term.field in _FOLDED for term in checked):
            checked = _fold(checked)
        checked.sort(key=_rank)
        for before, after in pairwise(checked):
            if before.field.rank == after.field.rank:
                raise EncodeError(after.field.name, "is matched twice")
        return cls(tuple(checked), _raw(checked))

    def __eq__(self, other: object) -> bool:
        return self.raw == other.raw if isinstance(other, Match) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        terms = ", ".join(
            f"({field.name}, {value:#x})" if mask is None else f"({field.name}, {value:#x}, {mask:#x})"
            for field, value, mask in self.terms
        )
        return f"Match.of({terms})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One flow entry: what `actions` and then `goto` do with the packets of `match` in `table`."""

    table: int
    priority: int
    match: Match
    actions: tuple[Action, ...] = ()
    "Applied at once (OFPIT_APPLY_ACTIONS); none and no goto drops."
    goto: int | None = None
    cookie: int = 0
    idle_timeout: int = 0
    "Seconds without a packet until the switch removes the flow; 0 is never."
    hard_timeout: int = 0
    "Seconds until the switch removes the flow; 0 is never."

    def __post_init__(self) -> None:
        if not 0 <= self.table <= MAX_TABLE:
            raise EncodeError("table", f"{self.table}: want 0 to {MAX_TABLE}")
        if not 0 <= self.priority <= MAX_PRIORITY:
            raise EncodeError("priority", f"{self.priority}: want 0 to {MAX_PRIORITY}")
        if self.goto is not None and not self.table < self.goto <= MAX_TABLE:
            raise EncodeError("goto", f"table {self.goto}: want one after {self.table}")

    @property
    def key(self) -> bytes:
        """What makes a flow the same flow in a switch: table (1 byte), priority (2), raw match."""
        return _KEY_PREFIX.pack(self.table, self.priority) + self.match.raw


class GroupKind(IntEnum):
    """What a group does with its buckets (OpenFlow 1.5.1, 7.3.4.3)."""

    ALL = 0
    SELECT = 1
    INDIRECT = 2
    FAST_FAILOVER = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """The actions that one bucket of a group applies to its own copy of the packet."""

    actions: tuple[Action, ...]
    bucket_id: int | None = None
    "None numbers it by its place in the group."
    watch_port: int | None = None
    "For FAST_FAILOVER: the bucket is live while this port is."
    weight: int | None = None
    "For SELECT: the share of packets; None is 1."


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEntry:
    """One group of a bridge; the order of ALL buckets is no order of delivery."""

    group_id: int
    kind: GroupKind
    buckets: tuple[Bucket, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.group_id <= MAX_GROUP:
            raise EncodeError("group", f"{self.group_id:#x}: want at most {MAX_GROUP:#x}")
        if self.kind is GroupKind.INDIRECT and len(self.buckets) != 1:
            raise EncodeError("group", f"{len(self.buckets)} buckets: an indirect group has exactly one")
        if self.kind is GroupKind.FAST_FAILOVER and any(b.watch_port is None for b in self.buckets):
            raise EncodeError("group", "a bucket of a fast failover group watches a port")


def _rank(term: Term) -> int:
    return term.field.rank


def _checked(field: Field, value: int, mask: int | None = None) -> Term:
    if mask is None or mask == field.ones:
        if not 0 <= value <= field.ones:
            raise EncodeError(field.name, f"{value:#x}: has more than {field.bits} bits")
        return Term(field, value, field.ones if field.kept_mask else None)
    if not field.maskable:
        raise EncodeError(field.name, "cannot be masked")
    if not 0 <= mask <= field.ones:
        raise EncodeError(field.name, f"mask {mask:#x}: has more than {field.bits} bits")
    if mask == 0 and not is_tun_metadata(field):
        raise EncodeError(field.name, "a mask of zero matches everything")
    if value & ~mask:
        raise EncodeError(field.name, f"{value:#x}/{mask:#x}: the value has bits that the mask ignores")
    return Term(field, value, mask)


class _Part(NamedTuple):
    """Some bits of a dumped field: `width` bits of the source from `source_shift` go to `shift`."""

    field: Field
    source_shift: int
    width: int
    shift: int


def _parts() -> dict[Field, tuple[_Part, ...]]:
    parts: dict[Field, tuple[_Part, ...]] = {}
    for n, reg in enumerate(REGS):
        parts[reg] = (_Part(XREGS[n // 2], 0, 32, 0 if n % 2 else 32),)
    for xreg in XREGS:
        parts[xreg] = (_Part(xreg, 0, 64, 0),)
    for n, xxreg in enumerate(XXREGS):
        parts[xxreg] = (_Part(XREGS[2 * n], 64, 64, 0), _Part(XREGS[2 * n + 1], 0, 64, 0))
    parts[VLAN_TCI] = (_Part(VLAN_VID, 0, 13, 0), _Part(VLAN_PCP, 13, 3, 0))
    return parts


_FOLDED = _parts()


def _fold(terms: Iterable[Term]) -> list[Term]:
    """Write registers and vlan_tci as the fields in which OpenFlow 1.5 dumps have them."""
    kept: list[Term] = []
    folded: dict[Field, tuple[int, int]] = {}
    for term in terms:
        if term.field not in _FOLDED:
            kept.append(term)
            continue
        mask = term.field.ones if term.mask is None else term.mask
        for part in _FOLDED[term.field]:
            value_bits, mask_bits = _extract(part, term.value), _extract(part, mask)
            before_value, before_mask = folded.get(part.field, (0, 0))
            if before_mask & mask_bits:
                raise EncodeError(term.field.name, f"bits of {part.field.name} are matched twice")
            folded[part.field] = before_value | value_bits, before_mask | mask_bits
    _drop_pcp_of_untagged(folded)
    return kept + [_checked(field, value, mask) for field, (value, mask) in folded.items() if mask]


def _extract(part: _Part, number: int) -> int:
    return (number >> part.source_shift & (1 << part.width) - 1) << part.shift


def _drop_pcp_of_untagged(folded: dict[Field, tuple[int, int]]) -> None:
    # "No tag" is vlan_vid 0 with the CFI bit matched; such a packet has no priority bits either.
    if VLAN_PCP not in folded:
        return
    vid, vid_mask = folded[VLAN_VID]
    pcp, pcp_mask = folded[VLAN_PCP]
    untagged = bool(vid_mask & 0x1000) and not vid & 0x1000
    if untagged and pcp == 0:
        del folded[VLAN_PCP]
    elif pcp_mask and not vid & 0x1000:
        raise EncodeError("vlan_tci", "priority bits can be matched on tagged packets only")


@cache
def _layout(shape: tuple[tuple[Field, bool], ...]) -> struct.Struct:
    """Return the packing of one shape of match: per term the header, the value, perhaps the mask."""
    codes = []
    for field, masked in shape:
        code = _CODES.get(field.width, f"{field.width}s")
        codes.append("4s" + code * (2 if masked else 1))
    return struct.Struct("!" + "".join(codes))


_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


def _raw(terms: list[Term]) -> bytes:
    numbers: list[int | bytes] = []
    for field, value, mask in terms:
        width = field.width
        plain = width in _CODES
        numbers.append(field.header if mask is None else field.masked_header)
        numbers.append(value if plain else value.to_bytes(width))
        if mask is not None:
            numbers.append(mask if plain else mask.to_bytes(width))
    return _layout(tuple([(field, mask is not None) for field, _, mask in terms])).pack(*numbers)
