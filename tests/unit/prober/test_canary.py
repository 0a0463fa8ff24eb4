# SPDX-License-Identifier: Apache-2.0
"""What a rollout is told of the probes between two hosts."""

from dataclasses import replace

import pytest

from controller.errors import NotFound
from controller.prober.canary import TIMEOUT, ProberCanary, outcome_of
from controller.prober.plan import Request
from controller.rollout.canary import Verdict
from ovs_geneve.geneve.probe import Pattern
from tests.unit.prober.network import Network, leg


def told(schema="context", **network):
    return outcome_of(Network(**network).run([leg()]), schema)


def test_an_option_that_arrives():
    outcome = told()
    assert (outcome.verdict, outcome.reason) == (Verdict.PASSED, "hv1 to hv2")


def test_an_option_that_does_not():
    without = {"alter": lambda _, s: replace(s, options={3: s.options[3]} if s.options else {})}
    outcome = told(**without)
    assert outcome.verdict is Verdict.FAILED
    assert outcome.reason.startswith("hv1 to hv2: context: not seen at hv2")


@pytest.mark.parametrize(
    ("passes", "reason"),
    [
        (lambda shot: False, "none of 6 probes"),
        (lambda shot: shot.pattern is Pattern.BARE, "packets without options arrive at hv2"),
        (lambda shot: shot.size < 1000, "packets of up to 985 bytes pass"),
    ],
)
def test_what_keeps_packets_with_the_option_away_fails_it(passes, reason):
    outcome = told(passes=passes)
    assert outcome.verdict is Verdict.FAILED
    assert reason in outcome.reason


def test_what_nobody_can_tell():
    assert told(away=frozenset({"hv1"})).verdict is Verdict.NOT_PROBED
    assert told(schema="other").verdict is Verdict.NOT_PROBED
    assert outcome_of([], "context").verdict is Verdict.NOT_PROBED


async def test_it_asks_for_one_way_and_in_time():
    asked = []

    async def verify(request):
        asked.append(request)
        if request.network == "gone":
            raise NotFound("not-found", "there is no network/gone")
        return Network().run([leg()])

    canary = ProberCanary(verify)
    assert (await canary.verify("blue", "context", "hv1", "hv2")).verdict is Verdict.PASSED
    assert asked == [Request(network="blue", pairs=(("hv1", "hv2"),), timeout=TIMEOUT)]
    outcome = await canary.verify("gone", "context", "hv1", "hv2")
    assert (outcome.verdict, outcome.reason) == (Verdict.NOT_PROBED, "there is no network/gone")
