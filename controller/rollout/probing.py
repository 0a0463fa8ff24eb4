# SPDX-License-Identifier: Apache-2.0
"""Canaries by the prober: what it proves about one direction, as a rollout wants to know it."""

from __future__ import annotations

from collections.abc import Iterable

from controller.prober import model
from controller.prober.plan import Request
from controller.prober.prober import Prober
from controller.rollout.canary import Outcome, Verdict

_RUN_SECONDS = 4.5
"For one way: both are done within what a rollout allows (`runner.py: CANARY_SECONDS`)."


class ProbedCanary:
    """Implements `Canary` with a `Prober`: it sends the options of the network, those on their way in included."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober

    async def verify(self, network: str, schema: str, source: str, destination: str) -> Outcome:
        """Probe one way."""
        request = Request(network=network, pairs=((source, destination),), timeout=_RUN_SECONDS)
        return outcome_of(await self._prober.verify(request), schema)


def outcome_of(results: Iterable[model.Result], schema: str) -> Outcome:
    """Return what the results of a run say about an option."""
    outcome = Outcome(verdict=Verdict.NOT_PROBED, reason="the two hosts have nothing to probe")
    for result in results:
        way = f"{result.leg.source} to {result.leg.destination}"
        # Where nothing arrives without the option either, it is not the option that is wrong.
        if result.verdict in (model.Verdict.SKIPPED, model.Verdict.UNREACHABLE):
            return Outcome(verdict=Verdict.NOT_PROBED, reason=f"{way}: {result.reason}")
        if result.verdict.failed:
            return Outcome(verdict=Verdict.FAILED, reason=f"{way}: {_problem(result, schema)}")
        if any(one.option == schema and one.verified for one in result.options):
            outcome = Outcome(verdict=Verdict.PASSED)
    return outcome


def _problem(result: model.Result, schema: str) -> str:
    """Prefer what is wrong with the option itself."""
    own = next((one.problem for one in result.options if one.option == schema and one.problem), "")
    return own or result.reason or result.verdict.value
