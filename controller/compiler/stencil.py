# SPDX-License-Identifier: Apache-2.0
"""Encodes the flows of many objects of one shape, with features that know nothing of it. Pure.

A feature is a plain function from a view to flows. Two objects of one shape (as many addresses, the same options) get
flows that differ in a few numbers only. So a feature is called once a shape, with numbers that are easy to find again
in the bytes; what is between them is kept, and the flows of every other object of that shape are those pieces joined
around its own numbers: 1 us a flow in place of 10.

    feature(view of 0x2b53a9, …) ─► bytes ─► pieces, and which number goes between which
    object ─► numbers ─► join ─► cookies ─► Block

Whether a shape really is pieces and numbers is tried out when the stencil is made (`Pieces.learnt`). A feature that
looks at a number (a branch, a sum) makes no stencil: EncodeError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from struct import Struct
from zlib import crc32

from controller.compiler.cookies import Feature, cause, digest
from ovs_geneve.openflow.bundle import ADD_OVERHEAD, Block
from ovs_geneve.openflow.flow import Flow
from ovs_geneve.openflow.pieces import Numbers, Pieces
from ovs_geneve.openflow.template import encode_flow_add

Make = Callable[[Numbers], Iterable[Flow]]
"A feature, as a function of the numbers of an object of one shape."

_COOKIE = Struct("!Q")
_COOKIE_AT = ADD_OVERHEAD + 8


@dataclass(frozen=True, slots=True)
class Stencil:
    """The flows of one shape of object."""

    pieces: Pieces
    ends: tuple[int, ...]

    @classmethod
    def of(cls, make: Make, widths: Sequence[int]) -> Stencil:
        """Learn a shape from a feature; `widths` are the bytes of its numbers, in the order in which it takes them."""
        pieces = Pieces.learnt(lambda numbers: _encoded(make(numbers)).data, widths)
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
