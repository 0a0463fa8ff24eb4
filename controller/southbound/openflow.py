# SPDX-License-Identifier: Apache-2.0
"""One bridge's OpenFlow connection, as the reconciler wants it: questions in, events out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from controller.compiler.cookies import OWNER_COOKIE, OWNER_MASK
from ovs_geneve.errors import ConnectionLost
from ovs_geneve.openflow.events import Event, Step
from ovs_geneve.openflow.packet_out import PacketOut
from ovs_geneve.openflow.stats import Count
from ovs_geneve.openflow.switch import Switch


class SwitchLink:
    """A SwitchChannel over a `Switch`. A question that the end of the connection cuts off has no answer."""

    def __init__(self, switch: Switch, report: Callable[[SwitchLink, Event], None]) -> None:
        self._switch = switch
        self._report = report

    def observe(self) -> None:
        """Ask for everything of ours that the bridge holds."""
        asked = self._switch.begin_observe(cookie=OWNER_COOKIE, cookie_mask=OWNER_MASK)
        asked.add_done_callback(self._answered)

    def apply(self, steps: Sequence[Step]) -> None:
        """Carry out steps."""
        self._switch.begin_apply(steps).add_done_callback(self._answered)

    def send_packet(self, packet: PacketOut) -> bool:
        """Have the bridge send a packet at once."""
        return self._switch.send_packet(packet)

    async def counters(self, cookie: int, cookie_mask: int) -> Mapping[int, Count]:
        """Read what flows have counted, by cookie."""
        return await self._switch.counters(cookie, cookie_mask)

    def _answered(self, asked: asyncio.Future[Event]) -> None:
        error = asked.exception()
        if error is None:
            self._report(self, asked.result())
        elif not isinstance(error, ConnectionLost):  # the end of the connection is reported by itself
            raise error
