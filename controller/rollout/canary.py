# SPDX-License-Identifier: Apache-2.0
"""What a rollout asks of whoever sends probes. Values and a Protocol only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Verdict(Enum):
    """What came of probing a pair of hosts with an option."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_PROBED = "not-probed"
    "Nobody could tell: that stops no rollout."


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A verdict and what led to it."""

    verdict: Verdict
    reason: str = ""
    'Which pair, which field, what was expected and what came: "hv1 to hv2: context.tier: expected 5, got 0".'


class Canary(Protocol):
    """Sends a packet with an option from one host to another and compares what comes out."""

    async def verify(self, network: str, schema: str, source: str, destination: str) -> Outcome:
        """Probe one way, whether or not ports of the network stamp the option yet."""
