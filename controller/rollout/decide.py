# SPDX-License-Identifier: Apache-2.0
"""What a rollout, or a slot that rests, does next. Pure: what is known and how long it has been so are arguments.

    in:   RECEIVERS ──all hosts have it──► CANARY ──passed, or nobody to ask──► SENDERS ──all have it──► gone
                                             └──failed──► ROLLED_BACK   until the network is put again, or without it
    out:  SENDERS ──all have it, DRAIN later──► RECEIVERS ──all have it──► gone

"All hosts have it": every host of the network has acknowledged the revision that wrote the record, and takes the
option. A host that does not is waited for, whatever it takes; one that is deleted, or has no port of the network any
more, is not asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from controller.intent.commands import Forget, Record
from controller.intent.model import Kind, Object, RetiredSlotSpec, RolloutSpec, RolloutStage
from controller.rollout.canary import Outcome, Verdict

DRAIN_SECONDS = 1.0
"""After the last host stopped to stamp an option until the first one stops to take it: revalidators of OVS adapt
megaflows to new flows within max-revalidator, 500 ms (ovs-vswitchd.conf.db(5)), and packets are under way."""

SAY_SECONDS = 1.0
"How long something is waited for until the record says so: what takes milliseconds is not worth a commit."

_NAMED = 3
"Hosts that a reason names."


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done before something happens."""

    reason: str
    "What is waited for."
    seconds: float | None = None
    "After which time alone goes on; None where it does not."


@dataclass(frozen=True, slots=True)
class Verify:
    """Two hosts are to be probed, both ways."""

    source: str
    destination: str


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is to be done until somebody wants something else."""


Action = Record | Forget | Wait | Verify | Done


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is known about the hosts that a rollout, or a slot, concerns."""

    lacking: Mapping[str, str]
    "Hosts that are not as the record wants them, and why."
    settled_for: float = 0.0
    "Seconds since none was seen to lack anything."
    pair: tuple[str, str] | None = None
    "Two hosts to probe."
    no_pair: str = ""
    "Why there are none."
    outcome: Outcome | None = None
    "What came of probing them; None before that."
    waiting_for: str = ""
    "What it was waiting for at the last look, in the words of a reason …"
    waiting: float = 0.0
    "… and for how many seconds."


def decide(rollout: Object[RolloutSpec], sight: Sight) -> Action:
    """Return what a rollout does next."""
    spec = rollout.spec
    if spec.stage is RolloutStage.ROLLED_BACK:
        return Done()
    if sight.lacking:
        return _say(rollout, waiting_for(sight.lacking), sight)
    match spec.incoming, spec.stage:
        case True, RolloutStage.RECEIVERS:
            return _record(rollout, RolloutStage.CANARY)
        case True, RolloutStage.CANARY:
            return _after_canary(rollout, sight)
        case False, RolloutStage.SENDERS if sight.settled_for < DRAIN_SECONDS:
            return Wait("waits for packets under way", DRAIN_SECONDS - sight.settled_for)
        case False, RolloutStage.SENDERS:
            return _record(rollout, RolloutStage.RECEIVERS)
        case _:
            return Forget(kind=Kind.ROLLOUT, name=rollout.name, seen=rollout.revision)


def decide_rest(slot: Object[RetiredSlotSpec], sight: Sight, quarantine: float) -> Forget | Wait:
    """Return whether a slot has rested long enough: no host maps it, no packet with its old meaning is under way."""
    if sight.lacking:
        return Wait(waiting_for(sight.lacking))
    if sight.settled_for < quarantine:
        return Wait("waits for packets under way", quarantine - sight.settled_for)
    return Forget(kind=Kind.RETIRED_SLOT, name=slot.name, seen=slot.revision)


def waiting_for(lacking: Mapping[str, str]) -> str:
    """Say which hosts are waited for: the same words as long as it is the same hosts for the same reasons."""
    said = [f"{name}: {lacking[name]}" for name in sorted(lacking)[:_NAMED]]
    more = len(lacking) - len(said)
    hosts = "host" if len(lacking) == 1 else "hosts"
    return f"waits for {hosts} {'; '.join(said)}{f'; and {more} more' if more else ''}"


def _after_canary(rollout: Object[RolloutSpec], sight: Sight) -> Action:
    if sight.pair is None:
        return _record(rollout, RolloutStage.SENDERS, f"canary skipped: {sight.no_pair}")
    if sight.outcome is None:
        return Verify(*sight.pair)
    match sight.outcome.verdict:
        case Verdict.FAILED:
            return _record(rollout, RolloutStage.ROLLED_BACK, f"canary failed: {sight.outcome.reason}")
        case Verdict.NOT_PROBED:
            return _record(rollout, RolloutStage.SENDERS, f"canary not probed: {sight.outcome.reason}")
        case Verdict.PASSED:
            return _record(rollout, RolloutStage.SENDERS, f"canary passed: {sight.outcome.reason}")


def _say(rollout: Object[RolloutSpec], reason: str, sight: Sight) -> Action:
    if rollout.spec.reason == reason:
        return Wait(reason)
    waited = sight.waiting if sight.waiting_for == reason else 0.0
    if waited < SAY_SECONDS:
        return Wait(reason, SAY_SECONDS - waited)
    return _record(rollout, rollout.spec.stage, reason)


def _record(rollout: Object[RolloutSpec], stage: RolloutStage, reason: str = "") -> Record:
    spec = replace(rollout.spec, stage=stage, reason=reason)
    return Record(name=rollout.name, spec=spec, seen=rollout.revision)
