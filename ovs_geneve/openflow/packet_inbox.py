# SPDX-License-Identifier: Apache-2.0
"""Where packets of one switch wait for who wants them: few at a time, and what does not fit is dropped and counted.

A switch can send packets faster than any controller decodes them. One that is too many is not decoded, and nobody else
in the loop waits for more than `PER_TURN` of a switch: then it is the others' turn for `PACE`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ovs_geneve.errors import DecodeError
from ovs_geneve.openflow.packet_in import PacketIn, decode_packet_in

LIMIT = 1_000
"Packets that may wait."

PER_TURN = 20
"Packets decoded and handed over at a time."

PACE = 0.01
"Seconds until the next time, after so many at once. A flood gets through at 2,000 packets a second; one never waits."


class PacketInbox:
    """One switch's packets; without a `listener` nobody wants them."""

    def __init__(self, limit: int = LIMIT, pace: float = PACE) -> None:
        self.listener: Callable[[PacketIn], None] | None = None
        self.received = 0
        "Packets handed over."
        self.dropped = 0
        "Packets that found the inbox full."
        self.undecodable = 0
        self._limit = limit
        self._pace = pace
        self._waiting: deque[bytes] = deque()
        self._scheduled = False

    def put(self, message: bytes) -> None:
        """Take in an NXT_PACKET_IN2; the listener gets it in one of the loop's next turns."""
        if len(self._waiting) >= self._limit:
            self.dropped += 1
            return
        self._waiting.append(message)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._hand_over)

    def close(self) -> None:
        """Forget what waits: the connection is gone."""
        self.listener = None
        self._waiting.clear()

    def _hand_over(self) -> None:
        left = PER_TURN
        try:
            while left and self._waiting and self.listener is not None:
                left -= 1
                self._give(self._waiting.popleft(), self.listener)
        finally:  # a listener's mistake costs one packet
            self._schedule_next(paced=not left)

    def _schedule_next(self, *, paced: bool) -> None:
        self._scheduled = paced or bool(self._waiting)
        if self._scheduled:
            asyncio.get_running_loop().call_later(self._pace if paced else 0.0, self._hand_over)

    def _give(self, message: bytes, listener: Callable[[PacketIn], None]) -> None:
        try:
            packet = decode_packet_in(message)
        except DecodeError:
            self.undecodable += 1
            return
        self.received += 1
        listener(packet)
