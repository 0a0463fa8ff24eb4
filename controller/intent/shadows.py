# SPDX-License-Identifier: Apache-2.0
"""Policies between groups that never decide anything, because another one always decides first. Pure."""

from __future__ import annotations

from controller.intent.intent import Intent
from controller.intent.model import PolicySpec
from controller.intent.port_masks import joined
from controller.intent.rules import PortRange

_ALL_PORTS = (PortRange(0, 0xFFFF),)


def shadow_of(intent: Intent, name: str) -> str | None:
    """Return a policy that decides every packet which this one speaks of; None when it has something to decide.

    A stateful policy that others allow the packets of still lets the replies in, so only a denial shadows it.
    """
    spec = intent.policies[name].spec
    rank, found = _rank(spec), list[str]()
    for other in intent.policies_to_group(spec.network, spec.to_group):
        held = intent.policies[other].spec
        if _rank(held) > rank and _covers(held, spec) and not (spec.stateful and held.allow):
            found.append(other)
    return min(found, default=None)


def _rank(spec: PolicySpec) -> tuple[int, bool]:
    """Return what decides between two policies: priority, then deny."""
    return spec.priority, not spec.allow


def _covers(one: PolicySpec, other: PolicySpec) -> bool:
    return (
        one.from_group in (None, other.from_group)
        and one.protocol in (None, other.protocol)
        and all(
            any(
                wide.first <= ports.first and ports.last <= wide.last
                for wide in joined(one.ports or _ALL_PORTS)
            )
            for ports in other.ports or _ALL_PORTS
        )
    )
