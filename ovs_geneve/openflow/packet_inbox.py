# SPDX-License-Identifier: Apache-2.0
"""Where packets of one switch wait for who wants them: few at a time, and what does not fit is dropped and counted.

A switch can send packets faster than any controller decodes them. Here one that is too many costs a comparison, and
nobody else waits for more than `PER_TURN` of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ovs_geneve.errors import DecodeError
from ovs_geneve.openflow.packet_in import PacketIn, decode_packet_in

LIMIT = 1_000
"Packets that may wait."

PER_TURN = 50
"Packets decoded and handed over before everything else in the loop has its turn."


class PacketInbox:
    """One switch's packets; without a `listener` nobody wants them."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.listener: Callable[[PacketIn], None] | None = None
        self.received = 0
        "Packets handed over."
        self.dropped = 0
        "Packets that found the inbox full."
        self.undecodable = 0
        self._limit = limit
        self._waiting: deque[bytes] = deque()
        self._scheduled = False

    def put(self, message: bytes) -> None:
        """Take in an NXT_PACKET_IN2; the listener gets it in one of the loop's next turns."""
        if len(self._waiting) >= self._limit:
            self.dropped += 1
            return
        self._waiting.append(message)
        self._schedule()

    def close(self) -> None:
        """Forget what waits: the connection is gone."""
        self.listener = None
        self._waiting.clear()

    def _schedule(self) -> None:
        if self._waiting and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._hand_over)

    def _hand_over(self) -> None:
        self._scheduled = False
        left = PER_TURN
        try:
            while left and self._waiting and self.listener is not None:
                left -= 1
                self._give(self._waiting.popleft(), self.listener)
        finally:  # a listener's mistake costs one packet
            self._schedule()

    def _give(self, message: bytes, listener: Callable[[PacketIn], None]) -> None:
        try:
            packet = decode_packet_in(message)
        except DecodeError:
            self.undecodable += 1
            return
        self.received += 1
        listener(packet)
