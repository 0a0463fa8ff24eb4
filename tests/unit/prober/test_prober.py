# SPDX-License-Identifier: Apache-2.0
"""The prober as it runs: runs of users one by one, those of the controller beside them."""

import asyncio
import time
from itertools import count

import pytest

from controller.errors import Invalid
from controller.intent.intent import Intent
from controller.prober.model import Verdict
from controller.prober.plan import Request
from controller.prober.prober import JobState, Prober
from tests.builders import after, host, network, put, schema
from tests.fakes.bridges import FakeBridges


@pytest.fixture
async def rig():
    intent = after(
        Intent(),
        put("context", schema(1)),
        put("blue", network(100, "context")),
        *(put(f"hv{number}", host(f"192.0.2.{number}")) for number in (1, 2, 3)),
    )
    bridges = FakeBridges(lambda: {name: held.spec.endpoints for name, held in intent.hosts.items()})
    prober = Prober(bridges, lambda: intent, clock=time.monotonic, wall=lambda: 0.0, draw=count(1).__next__)
    bridges.sighted = prober.sighted
    yield prober, bridges
    await prober.stop()


EVERYTHING = Request(all_hosts=True)
ONE_WAY = Request(pairs=(("hv1", "hv2"),))


async def test_everything_is_proved(rig):
    prober, _ = rig
    results = await prober.verify(EVERYTHING)
    assert [one.verdict for one in results] == [Verdict.OK] * 6
    assert all(one.rtt_min is not None for one in results)
    assert [job.state for job in prober.jobs] == [JobState.FINISHED]


async def test_a_run_of_the_controller_does_not_wait_for_those_of_users(rig):
    prober, bridges = rig
    bridges.holds = True
    first, second = prober.start(EVERYTHING), prober.start(EVERYTHING)
    await asyncio.sleep(0.05)
    bridges.holds = False
    (result,) = await prober.verify(ONE_WAY)
    assert result.verdict is Verdict.OK
    assert (first.state, second.state) == (JobState.RUNNING, JobState.WAITING)
    assert result.lost == 0


async def test_what_cannot_be_probed_leaves_no_run(rig):
    prober, _ = rig
    with pytest.raises(Invalid):
        prober.start(Request(pairs=(("hv1", "hv1"),)))
    assert not prober.jobs


async def test_hosts_that_are_away_are_told_of_at_once(rig):
    prober, bridges = rig
    bridges.away |= {"hv1", "hv2", "hv3"}
    results = await prober.verify(EVERYTHING)
    assert {one.verdict for one in results} == {Verdict.SKIPPED}
    assert {one.sent for one in results} == {0}


async def test_late_packets_of_a_run_that_is_over_are_harmless(rig):
    prober, bridges = rig
    seen = []
    bridges.sighted = lambda where, sighting: (
        seen.append((where, sighting)),
        prober.sighted(where, sighting),
    )
    before = await prober.verify(ONE_WAY)
    for where, sighting in seen:
        prober.sighted(where, sighting)
    assert prober.jobs[-1].final == before
