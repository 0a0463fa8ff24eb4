# SPDX-License-Identifier: Apache-2.0
"""Whether a pair of hosts carries an option that is being rolled out, as the rollout wants to know it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from controller.errors import IntentError
from controller.prober.model import RANK, Result, Verdict
from controller.prober.plan import Request
from controller.rollout import canary

TIMEOUT = 4.5
"Seconds for one way, so that both are done within what a rollout allows (`rollout/runner.py: CANARY_SECONDS`)."


class ProberCanary:
    """Implements `controller.rollout.canary.Canary` with the prober's `verify`."""

    def __init__(self, verify: Callable[[Request], Awaitable[Sequence[Result]]]) -> None:
        self._verify = verify

    async def verify(self, network: str, schema: str, source: str, destination: str) -> canary.Outcome:
        """Probe one way with all options that the network's packets may carry."""
        request = Request(network=network, pairs=((source, destination),), timeout=TIMEOUT)
        try:
            results = await self._verify(request)
        except IntentError as error:
            return canary.Outcome(verdict=canary.Verdict.NOT_PROBED, reason=error.reason)
        return outcome_of(results, schema)


def outcome_of(results: Sequence[Result], schema: str) -> canary.Outcome:
    """Judge one way: it passes if the option was verified, and all else is well, over every IP version."""
    worst = max(results, key=lambda one: RANK[one.verdict], default=None)
    if worst is None:
        return canary.Outcome(verdict=canary.Verdict.NOT_PROBED, reason="there is nothing to probe")
    way = f"{worst.leg.source} to {worst.leg.destination}"
    if worst.verdict is Verdict.SKIPPED:
        return canary.Outcome(verdict=canary.Verdict.NOT_PROBED, reason=f"{way}: {worst.reason}")
    if worst.verdict.failed:
        return canary.Outcome(verdict=canary.Verdict.FAILED, reason=f"{way}: {worst.reason}")
    if not all(any(one.option == schema and one.verified for one in each.options) for each in results):
        reason = f"{way}: the network's packets do not carry {schema}"
        return canary.Outcome(verdict=canary.Verdict.NOT_PROBED, reason=reason)
    return canary.Outcome(verdict=canary.Verdict.PASSED, reason=way)
