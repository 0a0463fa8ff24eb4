# SPDX-License-Identifier: Apache-2.0
"""What probes prove, as a rollout takes it."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from controller.prober.model import Leg, OptionResult, Result, Target
from controller.prober.model import Verdict as Proved
from controller.rollout.canary import Outcome, Verdict
from controller.rollout.probing import outcome_of

LEG = Leg(
    target=Target(network="blue", vni=100),
    source="hv1",
    destination="hv2",
    addresses=frozenset({IPv4Address("192.0.2.1")}),
    towards=IPv4Address("192.0.2.2"),
    wanted_mtu=1442,
)
ARRIVED = (OptionResult(option="context", verified=True),)
GONE = (OptionResult(option="context", verified=False, problem="context: sent 01, got nothing"),)


def result(verdict: Proved, reason: str = "", options: tuple[OptionResult, ...] = ARRIVED) -> Result:
    return Result(leg=LEG, verdict=verdict, reason=reason, options=options)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([result(Proved.OK)], Outcome(verdict=Verdict.PASSED)),
        ([result(Proved.LOSSY), result(Proved.OK)], Outcome(verdict=Verdict.PASSED)),
        (
            [result(Proved.OK), result(Proved.OPTIONS, "1 of 2", GONE)],
            Outcome(verdict=Verdict.FAILED, reason="hv1 to hv2: context: sent 01, got nothing"),
        ),
        (
            [result(Proved.MTU, "1400 of 1442 bytes pass")],
            Outcome(verdict=Verdict.FAILED, reason="hv1 to hv2: 1400 of 1442 bytes pass"),
        ),
        (
            [result(Proved.SKIPPED, "the bridge of hv2 is away", ())],
            Outcome(verdict=Verdict.NOT_PROBED, reason="hv1 to hv2: the bridge of hv2 is away"),
        ),
        (
            [result(Proved.UNREACHABLE, "nothing arrived, also without options", ())],
            Outcome(verdict=Verdict.NOT_PROBED, reason="hv1 to hv2: nothing arrived, also without options"),
        ),
        ([], Outcome(verdict=Verdict.NOT_PROBED, reason="the two hosts have nothing to probe")),
        (
            [result(Proved.OK, options=())],
            Outcome(verdict=Verdict.NOT_PROBED, reason="the two hosts have nothing to probe"),
        ),
    ],
)
def test_outcome(results: list[Result], expected: Outcome) -> None:
    assert outcome_of(results, "context") == expected
