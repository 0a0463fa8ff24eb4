# SPDX-License-Identifier: Apache-2.0
"""Encodes the flows of many objects of one shape, with features that know nothing of it. Pure.

A feature is a plain function from a view to flows. Two objects of one shape (as many addresses, the same options) get
flows that differ in a few numbers only. So a feature is called once a shape, with numbers that are easy to find again
in the bytes; what is between them is kept, and the flows of every other object of that shape are those pieces joined
around its own numbers: 1 us a flow in place of 20.

    feature(view of 0x2b53a9, …) ─► bytes ─► pieces, and which number goes between which
    object ─► numbers ─► join ─► cookies ─► Block

Whether a shape really is pieces and numbers is tried out with further numbers, the least and the greatest among them,
when the stencil is made. A feature that looks at a number (a branch, a sum) makes no stencil: `StencilError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import shake_128
from operator import itemgetter
from struct import Struct
from zlib import crc32

from controller.compiler.cookies import Feature, cause, digest
from ovs_geneve.openflow.bundle import ADD_OVERHEAD, Block
from ovs_geneve.openflow.flow import Flow
from ovs_geneve.openflow.template import encode_flow_add

Numbers = Sequence[int]
Make = Callable[[Numbers], Iterable[Flow]]
"A feature, as a function of the numbers of an object of one shape."

_COOKIE = Struct("!Q")
_COOKIE_AT = ADD_OVERHEAD + 8
_ATTEMPTS = 4
"A number of four bytes may turn up by chance where it does not belong; another one will not."


class StencilError(Exception):
    """What is made of numbers is not fixed pieces around them."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """Bytes of one shape: fixed pieces around a few numbers."""

    fixed: tuple[bytes, ...]
    widths: tuple[int, ...]
    "Bytes of each number."
    order: Callable[[Sequence[bytes]], Sequence[bytes]]
    "From all fixed pieces and then all numbers, as bytes, to the order in which they are joined."

    @classmethod
    def of(cls, make: Callable[[Numbers], bytes], widths: Sequence[int]) -> Pieces:
        """Learn a shape from what makes it; `widths` are the bytes of its numbers, in the order it takes them."""
        for attempt in range(_ATTEMPTS):
            numbers = [_probe(attempt, place, width) for place, width in enumerate(widths)]
            pieces = cls._cut(make(numbers), numbers, tuple(widths))
            if pieces._hold(make, attempt):
                return pieces
        raise StencilError(f"{make} does not put its numbers between fixed pieces")

    def fill(self, numbers: Numbers) -> bytes:
        """Join the pieces around these numbers."""
        known = [number.to_bytes(width) for number, width in zip(numbers, self.widths, strict=True)]
        return b"".join(self.order((*self.fixed, *known)))

    @classmethod
    def _cut(cls, data: bytes, numbers: Numbers, widths: tuple[int, ...]) -> Pieces:
        places = {
            number.to_bytes(width): place
            for place, (number, width) in enumerate(zip(numbers, widths, strict=True))
            if width
        }
        # Longer ones first: a short one may be part of a long one by chance.
        patterns = sorted(map(re.escape, places), key=len, reverse=True)
        pattern = b"(" + b"|".join(patterns) + b")"
        parts = re.split(pattern, data, flags=re.DOTALL) if patterns else [data]
        fixed = tuple(parts[0::2])
        order = [at // 2 if at % 2 == 0 else len(fixed) + places[part] for at, part in enumerate(parts)]
        return cls(fixed, widths, itemgetter(*order) if len(order) > 1 else itemgetter(slice(1)))

    def _hold(self, make: Callable[[Numbers], bytes], attempt: int) -> bool:
        least = [0] * len(self.widths)
        most = [(1 << 8 * width) - 1 for width in self.widths]
        others = [_probe(attempt + _ATTEMPTS, place, width) for place, width in enumerate(self.widths)]
        return all(self.fill(numbers) == make(numbers) for numbers in (least, most, others))


@dataclass(frozen=True, slots=True)
class Stencil:
    """The flows of one shape of object."""

    pieces: Pieces
    ends: tuple[int, ...]

    @classmethod
    def of(cls, make: Make, widths: Sequence[int]) -> Stencil:
        """Learn a shape from a feature; `widths` are the bytes of its numbers, in the order in which it takes them."""
        pieces = Pieces.of(lambda numbers: _encoded(make(numbers)).data, widths)
        return cls(pieces, _encoded(make([0] * len(widths))).ends)

    def pack(self, feature: Feature, object_key: int, numbers: Numbers, salt: bytes = b"") -> Block:
        """Encode the flows of an object; the same as `seal_flows` of what the feature gives for it."""
        return _with_cookies(self.pieces.fill(numbers), self.ends, feature, object_key, salt)


def seal_flows(flows: Iterable[Flow], feature: Feature, object_key: int, salt: bytes = b"") -> Block:
    """Encode the flows of one object and give each the cookie that says what it does.

    `salt` is what their bytes do not show.
    """
    block = _encoded(flows)
    return _with_cookies(block.data, block.ends, feature, object_key, salt)


def _encoded(flows: Iterable[Flow]) -> Block:
    return Block.of(*(encode_flow_add(flow) for flow in flows))


def _probe(attempt: int, place: int, width: int) -> int:
    """Return a number that is not likely to be anywhere else."""
    return int.from_bytes(shake_128(b"%d %d" % (attempt, place)).digest(width))


def _with_cookies(
    data: bytes, ends: tuple[int, ...], feature: Feature, object_key: int, salt: bytes
) -> Block:
    common, seed = cause(feature, object_key), crc32(salt)
    view, sealed = memoryview(data), bytearray(data)
    start = 0
    for end in ends:
        value = common | digest(view[start + ADD_OVERHEAD : end], seed)
        _COOKIE.pack_into(sealed, start + _COOKIE_AT, value)
        start = end
    return Block(bytes(sealed), ends)
