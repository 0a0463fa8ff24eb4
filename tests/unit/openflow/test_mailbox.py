# SPDX-License-Identifier: Apache-2.0
import asyncio
import queue
import threading
from types import SimpleNamespace

import pytest

from ovs_geneve.openflow import mailbox
from ovs_geneve.openflow.mailbox import Mailbox


@pytest.fixture
def app():
    """An app with os-ken's queue, as its thread sees it; it holds two events."""
    return SimpleNamespace(
        name="slow", is_active=True, events=queue.Queue(2), _events_sem=threading.BoundedSemaphore(2)
    )


def work_off(app) -> list[tuple[str, str]]:
    got = []
    while not app.events.empty():
        got.append(app.events.get())
        app._events_sem.release()
    return got


async def test_events_wait_in_order(app):
    box = Mailbox(app, asyncio.get_running_loop())
    for number in range(5):
        box.put((number, "main"))
    got = []
    async with asyncio.timeout(5):
        while len(got) < 5:
            got += work_off(app)
            await asyncio.sleep(mailbox.RETRY)
    assert got == [(number, "main") for number in range(5)]


async def test_an_app_far_behind_loses_events_and_that_is_counted(app, monkeypatch, caplog):
    monkeypatch.setattr(mailbox, "LIMIT", 3)
    box = Mailbox(app, asyncio.get_running_loop())
    for number in range(10):
        box.put((number, "main"))
    assert box.dropped == 5
    assert "slow does not keep up: 4 events dropped" in caplog.text


async def test_a_stopped_app_gets_nothing(app):
    box = Mailbox(app, asyncio.get_running_loop())
    for number in range(5):
        box.put((number, "main"))
    app.is_active = False
    work_off(app)
    await asyncio.sleep(2 * mailbox.RETRY)
    assert work_off(app) == []
