# SPDX-License-Identifier: Apache-2.0
"""What stays is taken out of the garbage collector's sight, and looked at once in a while."""

import gc

import pytest

from controller.collector import Collector


@pytest.fixture(autouse=True)
def restored():
    before = list(gc.callbacks), gc.get_threshold()
    yield
    gc.unfreeze()
    assert (gc.callbacks, gc.get_threshold()) == before


def test_what_is_there_at_the_start_is_frozen_and_thaws_at_the_end():
    with Collector() as collector:
        collector.start()
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


def test_a_long_collection_freezes_what_it_left():
    with Collector(long_seconds=0.0) as collector:
        collector.start()
        before = gc.get_freeze_count()
        held = [[] for _ in range(1000)]
        gc.collect(1)
        assert gc.get_freeze_count() <= before
        gc.collect()
        assert gc.get_freeze_count() >= before + len(held)


def test_a_short_one_does_not():
    with Collector(long_seconds=1e9) as collector:
        collector.start()
        before = gc.get_freeze_count()
        held = [[] for _ in range(1000)]
        gc.collect()
        assert gc.get_freeze_count() <= before
        del held


def test_everything_is_seen_again_after_some_freezes():
    with Collector(long_seconds=0.0, thaw_every=3) as collector:
        collector.start()
        counts = []
        for _ in range(4):
            gc.collect()
            counts.append(gc.get_freeze_count())
    assert [count > 0 for count in counts] == [True, True, False, True]


def test_a_cycle_that_was_frozen_goes_after_a_thaw():
    class Cycle:
        gone = False

        def __init__(self):
            self.me = self

        def __del__(self):
            Cycle.gone = True

    with Collector(long_seconds=0.0, thaw_every=2) as collector:
        collector.start()
        cycle = Cycle()
        gc.collect()
        del cycle
        gc.collect()  # thaws
        assert not Cycle.gone
        gc.collect()
        assert Cycle.gone
