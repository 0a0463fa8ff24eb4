# SPDX-License-Identifier: Apache-2.0
"""One bridge's OpenFlow connection, as the reconciler wants it: questions in, events out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence

from controller.compiler.cookies import OWNER_COOKIE, OWNER_MASK
from ovs_geneve.errors import ConnectionLost, OpenFlowError
from ovs_geneve.openflow.events import Event, ObserveRefused, Refusal, Step
from ovs_geneve.openflow.switch import Switch


class SwitchLink:
    """A SwitchChannel over a `Switch`. A question that the end of the connection cuts off has no answer."""

    def __init__(self, switch: Switch, report: Callable[[SwitchLink, Event], None]) -> None:
        self._switch = switch
        self._report = report
        self._asking: set[asyncio.Task[None]] = set()

    def observe(self) -> None:
        """Ask for everything of ours that the bridge holds."""
        self._ask(self._observe())

    def apply(self, steps: Sequence[Step]) -> None:
        """Carry out steps."""
        self._ask(self._switch.apply(steps))

    def _ask(self, question: Coroutine[None, None, Event]) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(question))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _answer(self, question: Coroutine[None, None, Event]) -> None:
        try:
            event = await question
        except ConnectionLost:
            return  # the end of the connection is reported by itself
        self._report(self, event)

    async def _observe(self) -> Event:
        try:
            return await self._switch.observe(cookie=OWNER_COOKIE, cookie_mask=OWNER_MASK)
        except OpenFlowError as error:
            refusal = Refusal(
                name=error.name,
                error_type=error.error_type,
                code=error.code,
                index=None,
                message=error.request,
            )
            return ObserveRefused(refusal)
