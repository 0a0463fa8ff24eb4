# SPDX-License-Identifier: Apache-2.0
"""A switch link asks for what is ours and reports each answer once."""

from __future__ import annotations

import asyncio

import pytest

from controller.compiler.cookies import OWNER_COOKIE, OWNER_MASK
from controller.southbound.openflow import SwitchLink
from ovs_geneve.errors import ConnectionLost
from ovs_geneve.openflow.events import Applied, Bundle


class FakeSwitch:
    """Answers with what the test says, or raises it."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.answer: asyncio.Future = asyncio.get_running_loop().create_future()

    def begin_observe(self, *, cookie: int, cookie_mask: int):
        self.asked.append((cookie, cookie_mask))
        return self.answer

    def begin_apply(self, steps):
        self.asked.append(steps)
        return self.answer


@pytest.fixture
async def switch() -> FakeSwitch:
    return FakeSwitch()


async def told(switch: FakeSwitch, ask) -> list:
    """Let a link ask, and return what it reports."""
    events: list = []
    link = SwitchLink(switch, lambda sender, event: events.append((sender is link, event)))
    ask(link)
    assert events == []
    for _ in range(5):
        await asyncio.sleep(0)
    return events


async def test_observes_only_what_is_ours(switch: FakeSwitch) -> None:
    event = object()
    switch.answer.set_result(event)
    assert await told(switch, lambda link: link.observe()) == [(True, event)]
    assert switch.asked == [(OWNER_COOKIE, OWNER_MASK)]


async def test_applies_steps(switch: FakeSwitch) -> None:
    steps = (Bundle([b"message"]),)
    switch.answer.set_result(Applied())
    assert await told(switch, lambda link: link.apply(steps)) == [(True, Applied())]
    assert switch.asked == [steps]


async def test_connection_that_ends_gives_no_answer(switch: FakeSwitch) -> None:
    switch.answer.set_exception(ConnectionLost("cut"))
    assert await told(switch, lambda link: link.observe()) == []
