# SPDX-License-Identifier: Apache-2.0
"""Whether policies have a say: what decides all of their packets before them, what they wait for."""

from __future__ import annotations

from collections.abc import Iterable

from controller.intent.intent import Intent
from controller.intent.model import AnyObject, Change, Direction, Kind, OptionPolicySpec, object_id
from controller.intent.overlaps import Overlaps, Trouble
from controller.intent.shadows import shadow_of
from controller.reconciler import status
from controller.reconciler.status import Condition


class Effects:
    """The `Effective` condition of policies. Comparisons are kept until a policy changes, or what one names."""

    def __init__(self) -> None:
        self._overlaps: dict[tuple[str, Direction], Overlaps] = {}

    def follow(self, intent: Intent, changes: Iterable[Change]) -> None:
        """Take the next intent."""
        if any(_is_in_policies(change, intent) for change in changes):
            self._overlaps.clear()

    def condition(self, intent: Intent, held: AnyObject) -> Condition:
        """Say whether a stored policy has a say."""
        if isinstance(held.spec, OptionPolicySpec):
            return self._of_options(intent, held.name, held.spec)
        shadow = shadow_of(intent, held.name)
        return status.effective(shadow and object_id(Kind.POLICY, shadow))

    def _of_options(self, intent: Intent, name: str, spec: OptionPolicySpec) -> Condition:
        rollouts = (intent.rollouts[rollout].spec for rollout in intent.rollouts_of(spec.network))
        trouble = status.reads_what_is_not_sent(spec, rollouts) or status.sends_to_nowhere(
            spec, intent.host_of
        )
        if trouble is not None:
            return trouble
        where = spec.network, spec.direction
        overlaps = self._overlaps.get(where)
        if overlaps is None:
            overlaps = self._overlaps[where] = Overlaps(intent, *where)
        found = overlaps.finding(name)
        if found is not None and found.trouble is Trouble.CONFLICT:
            return status.contested(found.other)
        return status.effective(None if found is None else found.other)


def _is_in_policies(change: Change, intent: Intent) -> bool:
    """Tell whether a change is one of option policies, or of what they name."""
    if change.kind is Kind.PORT:
        return bool(intent.policies_naming(change.name))
    return change.kind in (Kind.OPTION_POLICY, Kind.GROUP)
