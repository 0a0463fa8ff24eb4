# SPDX-License-Identifier: Apache-2.0
"""What one agent has still to be told and to acknowledge."""

import asyncio

from controller.kernels.feed import Feed


def test_parts_that_change_while_they_wait_are_told_once():
    async def run():
        feed = Feed()
        feed.open()
        feed.changed({"network/blue"}, 5)
        feed.changed({"network/blue", "host"}, 6)
        assert await feed.wait(feed.turn, 10) == {"network/blue", "host"}
        assert await feed.wait(feed.turn, 0.01) == frozenset()

    asyncio.run(run())


def test_a_second_agent_sends_the_first_away():
    async def run():
        feed = Feed()
        feed.open()
        first = feed.turn
        waiting = asyncio.create_task(feed.wait(first, 10))
        await asyncio.sleep(0)
        feed.open()
        assert await waiting is None
        assert not feed.end(first)
        assert feed.is_open
        assert feed.end(feed.turn)
        assert not feed.is_open

    asyncio.run(run())


def test_it_is_behind_until_the_generation_is_acknowledged():
    feed = Feed()
    assert feed.is_behind(0)
    feed.changed({"host"}, 5)
    feed.acknowledge(feed.generation)
    assert feed.behind_since is None
    feed.changed({"network/blue"}, 7)
    assert not feed.is_behind(6)
    assert feed.is_behind(7)
    feed.acknowledge(1)
    assert feed.behind_since == 7
    feed.acknowledge(2)
    assert not feed.is_behind(7)


def test_what_one_agent_acknowledged_the_next_one_has_to_say_again():
    feed = Feed()
    feed.open()
    feed.changed({"host"}, 5)
    feed.acknowledge(feed.generation)
    assert not feed.is_behind(5)
    feed.end(feed.turn)
    feed.open()
    assert feed.is_behind(5)
    assert feed.behind_since == 0
    feed.acknowledge(feed.generation)
    assert not feed.is_behind(5)
    assert feed.behind_since is None
