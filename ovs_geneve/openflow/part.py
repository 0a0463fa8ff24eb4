# SPDX-License-Identifier: Apache-2.0
"""What goes to a switch between two acknowledgements: one bundle, or one TLV_TABLE_MOD. Pure.

    xid          xid + 1       SHARED_XID …   xid + 2     xid + 3
    bundle:      open          messages       barrier     commit or discard
    at once:     open          messages                   commit
    TLV map:     message                      barrier
    meters:      messages                     barrier

The messages of a bundle were wrapped once for any number of switches, so they have one xid; an error about one of
them quotes it, and that tells which it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain

from ovs_geneve.openflow.bundle import (
    ADD_OVERHEAD,
    SHARED_BUNDLE,
    SHARED_XID,
    Block,
    Wrapped,
    encode_bundle_commit,
    encode_bundle_discard,
    encode_bundle_open,
)
from ovs_geneve.openflow.events import Refusal
from ovs_geneve.openflow.messages import HEADER_LENGTH, ErrorMessage, encode_barrier, stamp

MAX_REFUSALS = 1_000
"Errors remembered of one part; a bundle of nothing but errors must not fill the memory."

PART_XIDS = 3
"Transaction identifiers that a part takes."

_BLOCK_MESSAGES = 16
"Messages wrapped together, where they are not wrapped yet: a block leaves whole."


class Part:
    """One bundle of messages, or some bare messages, on its way."""

    def __init__(
        self,
        messages: Sequence[bytes],
        *,
        step: int,
        xid: int,
        first: int = 0,
        bundled: bool = True,
        at_once: bool = False,
    ) -> None:
        self.step = step
        self.first = first
        "Index within the step of the first message here."
        self.bundled = bundled
        self.at_once = at_once
        "The commit goes out with the messages."
        self.barrier_xid = xid + 1
        self.end_xid = xid + 2
        self.refusals: list[Refusal] = []
        self._messages = messages
        self._blocks = _blocks(messages) if bundled else iter(())
        self._xid = xid
        self._begun = self._complete = False
        self._search_from = 0

    def owns(self, xid: int) -> bool:
        """Tell whether a message with this xid is about this part."""
        return self._xid <= xid <= self.end_xid or (xid == SHARED_XID and self.bundled)

    def take(self, room: int) -> list[bytes]:
        """Give what comes next, about `room` bytes; [] when all has been taken."""
        if self._complete:
            return []
        pieces = [] if self._begun else [self._beginning()]
        self._begun = True
        while room > 0:
            block = next(self._blocks, None)
            if block is None:
                self._complete = True
                return [*pieces, self.commit() if self.at_once else encode_barrier(self.barrier_xid)]
            pieces.append(block.data)
            room -= len(block.data)
        return pieces

    def commit(self) -> bytes:
        """Encode the end that carries the bundle out."""
        return encode_bundle_commit(SHARED_BUNDLE, xid=self.end_xid)

    def discard(self) -> bytes:
        """Encode the end that throws the bundle away."""
        return encode_bundle_discard(SHARED_BUNDLE, xid=self.end_xid)

    def refuse(self, xid: int, error: ErrorMessage) -> None:
        """Remember an error; that of the commit or discard itself only where it is the only one."""
        if len(self.refusals) >= MAX_REFUSALS or (xid == self.end_xid and self.refusals):
            return
        ours = xid == (SHARED_XID if self.bundled else self._xid)
        found = self._quoted(error.request) if ours else None
        if found is None:
            self.refusals.append(self.refusal(error))
        else:
            self.refusals.append(self.refusal(error, index=self.first + found[0], message=found[1]))

    @staticmethod
    def refusal(error: ErrorMessage, *, index: int | None = None, message: bytes | None = None) -> Refusal:
        """Turn a decoded error into a refusal of `message`, or of what the error quotes."""
        return Refusal(
            name=error.name,
            error_type=error.error_type,
            code=error.code,
            index=index,
            message=error.request if message is None else message,
        )

    def _beginning(self) -> bytes:
        if not self.bundled:
            return b"".join(stamp(message, self._xid) for message in self._messages)
        return encode_bundle_open(SHARED_BUNDLE, xid=self._xid)

    def _quoted(self, request: bytes) -> tuple[int, bytes] | None:
        """Find the message that an error quotes, whole or its beginning, wrapping included."""
        quoted = request[HEADER_LENGTH + (ADD_OVERHEAD if self.bundled else 0) :]
        messages = self._unwrapped
        if not self.bundled and len(messages) == 1:
            return 0, messages[0]
        if not quoted or not messages:
            return None
        # OVS works in order, so what is refused next comes after what was refused before.
        begin = self._search_from
        for index in chain(range(begin, len(messages)), range(begin)):
            if messages[index].startswith(quoted, HEADER_LENGTH):
                self._search_from = index + 1
                return index, messages[index]
        return None

    @cached_property
    def _unwrapped(self) -> Sequence[bytes]:
        return list(self._messages)


def _blocks(messages: Sequence[bytes]) -> Iterator[Block]:
    """Yield the blocks that are there, or wrap messages as they are taken: the switch begins with the first ones."""
    if isinstance(messages, Wrapped):
        yield from messages.blocks
        return
    for first in range(0, len(messages), _BLOCK_MESSAGES):
        yield Block.of(*messages[first : first + _BLOCK_MESSAGES])
