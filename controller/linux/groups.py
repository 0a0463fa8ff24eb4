# SPDX-License-Identifier: Apache-2.0
"""Policies between groups: what they say of packets, by who sends them.

flower shows the ports of no fragment, not even the first one. So a policy that keeps out some ports keeps out fragments
of its protocol as well. Policies that remember connections are refused for Linux hosts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from controller.compiler.features.protocols import ICMP, ICMPV6
from controller.compiler.views import identity_of
from controller.intent.intent import Intent
from controller.intent.model import PolicySpec
from controller.linux.decisions import Decision
from ovs_geneve.kernel.objects import Flower, Protocol

_FAMILIES: dict[int, tuple[Protocol, ...]] = {ICMP: ("ip",), ICMPV6: ("ipv6",)}
_BOTH: tuple[Protocol, ...] = ("ip", "ipv6")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRule:
    """A policy between groups, with what filters need of it."""

    key: int
    sender: int | None
    "Identity; None is anybody."
    spec: PolicySpec


def rules_towards(intent: Intent, network: str, group: str | None) -> tuple[GroupRule, ...]:
    """Return the policies that protect a group in a network, by key."""
    if group is None:
        return ()
    held = (intent.policies[name] for name in intent.policies_to_group(network, group))
    rules = (
        GroupRule(
            key=one.key,
            sender=None if one.spec.from_group is None else identity_of(intent, one.spec.from_group),
            spec=one.spec,
        )
        for one in held
    )
    return tuple(sorted(rules, key=lambda rule: rule.key))


def identities_named(rules: Iterable[GroupRule]) -> frozenset[int]:
    """Return the groups of senders that policies speak of."""
    return frozenset(rule.sender for rule in rules if rule.sender is not None)


def decisions(rules: Iterable[GroupRule], sender: int) -> Iterator[Decision]:
    """Yield what decides about packets of a group, by its identity; of 0, a sender of whom no policy speaks."""
    for rule in rules:
        if rule.sender in (None, sender):
            for protocol, match in _packets(rule.spec):
                yield Decision(rule.key, rule.spec.priority, rule.spec.allow, protocol, match)


def _packets(spec: PolicySpec) -> Iterator[tuple[Protocol, Flower]]:
    """Yield what matches the packets that a policy speaks of."""
    if spec.protocol is None:
        yield "all", Flower()
        return
    for protocol in _FAMILIES.get(spec.protocol, _BOTH):
        if not spec.ports:
            yield protocol, Flower(ip_proto=spec.protocol)
        elif not spec.allow:
            yield protocol, Flower(ip_proto=spec.protocol, fragment=True)
        for ports in spec.ports:
            yield protocol, Flower(ip_proto=spec.protocol, dst_ports=(ports.first, ports.last))
