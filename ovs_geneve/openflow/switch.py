# SPDX-License-Identifier: Apache-2.0
"""A session's operations as coroutines: who calls takes turns and awaits the result.

A caller that is cancelled leaves its operation running: what has been sent cannot be unsent. The next one
starts when it is over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ovs_geneve.errors import ConnectionLost, OpenFlowError
from ovs_geneve.openflow.events import (
    Answered,
    Applied,
    Event,
    Observed,
    ObserveRefused,
    PacketRefused,
    Refusal,
    Refused,
    RequestRefused,
    Step,
    Unrelated,
)
from ovs_geneve.openflow.packet_inbox import PacketInbox
from ovs_geneve.openflow.packet_out import PacketOut, encode_packet_out
from ovs_geneve.openflow.session import Session
from ovs_geneve.openflow.stats import Count, decode_flow_stats, flow_stats_request

_Start = Callable[[], list[Event]]


_NOTHING = Count(0, 0)


class Switch:
    """One connected switch. `wake` makes the transport ask the session for bytes to write."""

    def __init__(self, session: Session, wake: Callable[[], None]) -> None:
        self._session = session
        self._wake = wake
        self._waiting: deque[tuple[_Start, asyncio.Future[Event]]] = deque()
        self._current: asyncio.Future[Event] | None = None
        self._requests: dict[int, asyncio.Future[tuple[bytes, ...]]] = {}
        self._lost: str | None = None
        self.packet_ins = PacketInbox()
        "Packets that flows send up with userdata; its listener gets them."
        self.packets_refused = 0
        "Packets given to `send_packet` that the switch answered with an error."
        self.packet_refusal: Refusal | None = None
        "The last of those errors."

    async def observe(self, *, cookie: int = 0, cookie_mask: int = 0) -> Observed:
        """Read TLV map, groups, meters and the flows whose cookie fits under the mask.

        Raises OpenFlowError where the switch refuses, ConnectionLost.
        """
        result = await self.begin_observe(cookie=cookie, cookie_mask=cookie_mask)
        if isinstance(result, ObserveRefused):
            raise _error(result.refusal)
        assert isinstance(result, Observed)
        return result

    async def apply(self, steps: Sequence[Step]) -> Applied | Refused:
        """Carry out the steps in order.

        Raises ConnectionLost; which part of them holds is unknown then.
        """
        result = await self.begin_apply(steps)
        assert isinstance(result, Applied | Refused)
        return result

    def begin_observe(self, *, cookie: int = 0, cookie_mask: int = 0) -> asyncio.Future[Event]:
        """Observe when it is its turn; the future gets Observed or ObserveRefused, or ConnectionLost.

        For who would otherwise make a task only to wait: a change goes to many switches.
        """

        def start() -> list[Event]:
            self._session.observe(cookie=cookie, cookie_mask=cookie_mask)
            return []

        return self._in_turn(start)

    def begin_apply(self, steps: Sequence[Step]) -> asyncio.Future[Event]:
        """Apply when it is its turn; the future gets Applied or Refused, or ConnectionLost."""
        return self._in_turn(lambda: self._session.apply(steps))

    async def request(self, message: bytes) -> tuple[bytes, ...]:
        """Send one rare message, xid 0; return its replies, () for one that has none.

        It does not wait for its turn. Raises OpenFlowError, ConnectionLost.
        """
        self._check_connected()
        future: asyncio.Future[tuple[bytes, ...]] = asyncio.get_running_loop().create_future()
        self._requests[self._session.request(message)] = future
        self._wake()
        return await future

    async def counters(self, cookie: int, cookie_mask: int) -> dict[int, Count]:
        """Read what the flows whose cookie fits under the mask have counted, added up by their cookies.

        It does not wait for its turn, and others have theirs while much is counted.
        Raises OpenFlowError, ConnectionLost.
        """
        request = flow_stats_request(xid=0, cookie=cookie, cookie_mask=cookie_mask)
        counted: dict[int, Count] = {}
        for part in await self.request(request):
            for flow in decode_flow_stats(part):
                packets, size = counted.get(flow.cookie, _NOTHING)
                counted[flow.cookie] = Count(packets + flow.packets, size + flow.bytes)
            await asyncio.sleep(0)
        return counted

    def send_packet(self, packet: PacketOut) -> bool:
        """Have the switch send a packet, beside whatever else is under way; no answer comes.

        False where it cannot leave: the connection is lost, or too many packets wait. Raises EncodeError.
        """
        message = encode_packet_out(packet)
        if self._lost is not None or not self._session.send_packet(message):
            return False
        self._wake()
        return True

    def receive(self, message: bytes) -> bytes | None:
        """Give a message to the session; return it where it belongs to somebody else."""
        unrelated = None
        for event in self._session.receive(message):
            if isinstance(event, Unrelated):
                unrelated = event.message
            elif isinstance(event, PacketRefused):
                self.packets_refused += 1
                self.packet_refusal = event.refusal
            else:
                self._deliver(event)
        return unrelated

    def data_to_send(self) -> bytes:
        """Give the next bytes to write, b"" when there are none."""
        return self._session.data_to_send()

    def lost(self, reason: str) -> None:
        """End everything that is waited for with ConnectionLost."""
        self._lost = reason
        self._session.close()
        self.packet_ins.close()
        futures: list[asyncio.Future[Any]] = [future for _, future in self._waiting]
        futures += self._requests.values()
        if self._current is not None:
            futures.append(self._current)
        self._waiting.clear()
        self._requests.clear()
        self._current = None
        for future in futures:
            if not future.done():
                future.set_exception(ConnectionLost(reason))

    def _check_connected(self) -> None:
        if self._lost is not None:
            raise ConnectionLost(self._lost)

    def _in_turn(self, start: _Start) -> asyncio.Future[Event]:
        future: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        if self._lost is not None:
            future.set_exception(ConnectionLost(self._lost))
        else:
            self._waiting.append((start, future))
            self._start_next()
        return future

    def _start_next(self) -> None:
        while self._current is None and self._waiting:
            start, future = self._waiting.popleft()
            if future.cancelled():
                continue
            self._current = future
            for event in start():
                self._finish(event)
        self._wake()

    def _deliver(self, event: Event) -> None:
        if isinstance(event, Answered | RequestRefused):
            self._answer(event)
        else:
            self._finish(event)
            self._start_next()

    def _finish(self, event: Event) -> None:
        future, self._current = self._current, None
        if future is not None and not future.done():
            future.set_result(event)

    def _answer(self, event: Answered | RequestRefused) -> None:
        future = self._requests.pop(event.xid)
        if future.done():
            return
        if isinstance(event, RequestRefused):
            future.set_exception(_error(event.refusal))
        else:
            future.set_result(event.replies)


def _error(refusal: Refusal) -> OpenFlowError:
    return OpenFlowError(refusal.name, refusal.error_type, refusal.code, refusal.message)
