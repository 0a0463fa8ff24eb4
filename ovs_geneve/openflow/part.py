# SPDX-License-Identifier: Apache-2.0
"""What goes to a switch between two acknowledgements: one bundle, or one TLV_TABLE_MOD. Pure.

    xid        xid + 1 … xid + n        xid + n + 1    xid + n + 2
    open       message 0 … n - 1        barrier        commit or discard

The xid tells which message an error is about; OVS uses that of the add also for what fails at the commit.
"""

from __future__ import annotations

from collections.abc import Sequence

from ovs_geneve.openflow.bundle import (
    ATOMIC_ORDERED,
    encode_bundle_adds,
    encode_bundle_commit,
    encode_bundle_discard,
    encode_bundle_open,
)
from ovs_geneve.openflow.events import Refusal
from ovs_geneve.openflow.messages import ErrorMessage, encode_barrier, stamp

MAX_REFUSALS = 1_000
"Errors remembered of one part; a bundle of nothing but errors must not fill the memory."


class Part:
    """One bundle (`bundle_id` is not 0) or bare messages, on their way."""

    def __init__(
        self, *, step: int, messages: Sequence[bytes], xid: int, first: int = 0, bundle_id: int = 0
    ) -> None:
        self.step = step
        self.first = first
        "Index within the step of the first message here."
        self.bundled = bundle_id != 0
        self.barrier_xid = xid + len(messages) + 1
        self.end_xid = xid + len(messages) + 2
        self.refusals: list[Refusal] = []
        self._bundle_id = bundle_id
        self._messages = messages
        self._waiting = iter(messages)
        self._xid = xid
        self._sent = 0
        self._complete = False

    @staticmethod
    def xids(messages: int) -> int:
        """Count the xids that a part of so many messages takes."""
        return messages + 3

    def owns(self, xid: int) -> bool:
        """Tell whether a message with this xid is about this part."""
        return self._xid <= xid <= self.end_xid

    def take(self, room: int) -> list[bytes]:
        """Encode what comes next, about `room` bytes; [] when all has been taken."""
        if self._complete:
            return []
        pieces: list[bytes] = []
        if self._sent == 0 and self.bundled:
            pieces.append(encode_bundle_open(self._bundle_id, xid=self._xid))
        pieces += self._encode(room)
        if self._sent == len(self._messages):
            pieces.append(encode_barrier(self.barrier_xid))
            self._complete = True
        return pieces

    def commit(self) -> bytes:
        """Encode the end that carries the bundle out."""
        return encode_bundle_commit(self._bundle_id, xid=self.end_xid)

    def discard(self) -> bytes:
        """Encode the end that throws the bundle away."""
        return encode_bundle_discard(self._bundle_id, xid=self.end_xid)

    def refuse(self, xid: int, error: ErrorMessage) -> None:
        """Remember an error; that of the commit or discard itself only where it is the only one."""
        if len(self.refusals) >= MAX_REFUSALS or (xid == self.end_xid and self.refusals):
            return
        index = xid - self._xid - 1
        if 0 <= index < len(self._messages):
            message = self._messages[index]
            self.refusals.append(self.refusal(error, index=self.first + index, message=message))
        else:
            self.refusals.append(self.refusal(error))

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

    def _encode(self, room: int) -> list[bytes]:
        xid = self._xid + 1 + self._sent
        if self.bundled:
            pieces, count = encode_bundle_adds(
                self._bundle_id, ATOMIC_ORDERED, self._waiting, xid=xid, room=room
            )
        else:
            pieces = [stamp(message, xid + place) for place, message in enumerate(self._waiting)]
            count = len(pieces)
        self._sent += count
        return pieces
