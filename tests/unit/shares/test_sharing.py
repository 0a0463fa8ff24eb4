# SPDX-License-Identifier: Apache-2.0
"""An agent is heard by one controller: the one that says so last."""

from __future__ import annotations

import asyncio

from controller.kernels.hosts import LinuxHosts
from controller.shares.sharing import Handover
from tests.builders import put
from tests.unit.agent.test_store_source import Beside
from tests.unit.linux.builders import linux


def hears(*hosts: str) -> tuple[Beside, LinuxHosts]:
    beside = Beside()
    beside.do(put("lx1", linux("192.0.2.1")))
    for host in hosts:
        beside.linux.follow(host)
    return beside, beside.linux


async def test_an_agent_that_is_with_another_controller_now_is_let_go() -> None:
    beside, hosts = hears()
    told = set[tuple[str, str]]()
    handover = Handover(lambda: frozenset(told), hosts)
    feed = hosts.follow("lx1")
    beside.plugged.interfaces = frozenset({"web1"})
    waiting = asyncio.create_task(feed.wait(feed.turn, 10))
    handover.look()
    assert hosts.hears("lx1")
    told.add(("lx1", "other"))
    handover.look()
    assert not hosts.hears("lx1")
    assert await waiting is None, "its stream ends"
    assert beside.plugged.interfaces is None


def test_an_agent_that_comes_from_another_controller_stays() -> None:
    _, hosts = hears()
    handover = Handover(lambda: frozenset({("lx1", "other")}), hosts)
    handover.look()
    hosts.follow("lx1")
    handover.look()
    assert hosts.hears("lx1"), "the other one said so before, and will see that it is here"
