# SPDX-License-Identifier: Apache-2.0
"""Each step of a rollout is told once, in words."""

from __future__ import annotations

import pytest

from controller.intent.model import Change, Kind, Object, RolloutSpec, RolloutStage
from controller.rollout.telling import describe


def held(stage: RolloutStage, reason: str = "", incoming: bool = True) -> Object[RolloutSpec]:
    spec = RolloutSpec(network="blue", schema="context", incoming=incoming, stage=stage, reason=reason)
    return Object(kind=Kind.ROLLOUT, name="blue:context", key=7, spec=spec)


BEGUN = held(RolloutStage.RECEIVERS)
SENT = held(RolloutStage.SENDERS, "canary passed: hv1 and hv2, both ways")
LEFT = held(RolloutStage.RECEIVERS, incoming=False)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (None, BEGUN, "option context in, receivers"),
        (BEGUN, SENT, "option context in, senders: canary passed: hv1 and hv2, both ways"),
        (SENT, None, "option context in: over"),
        (LEFT, None, "option context out: over"),
    ],
)
def test_a_step(old: Object[RolloutSpec] | None, new: Object[RolloutSpec] | None, expected: str) -> None:
    change = Change(kind=Kind.ROLLOUT, name="blue:context", old=old, new=new)
    assert describe(change) == ("blue", expected)


def test_other_changes_are_no_steps() -> None:
    assert describe(Change(kind=Kind.NETWORK, name="blue", old=None, new=None)) is None
