# SPDX-License-Identifier: Apache-2.0
"""Policies between groups, at the interface of the receiver, by the mark that says who sent the packet.

    chain 0  ARP, neighbour discovery ─► in    sender's group, if a policy speaks of it ─► BY_GROUP + identity
                                               anybody else's mark                      ─► BY_GROUP
                                               no mark: the kernel itself               ─► dropped
    BY_GROUP + identity  policies by priority, at one priority deny before allow ─► the rest is dropped

They are where a packet leaves the bridge, so that what comes from next door, through a tunnel, to one or to all is
judged alike. Ports that no policy protects have none of these filters. Policies that remember connections are refused
for Linux hosts.

flower shows the ports of no fragment, not even the first one. So a policy that keeps out some ports keeps out fragments
of its protocol as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from controller.compiler.features.protocols import (
    ICMP,
    ICMPV6,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
)
from controller.compiler.views import identity_of
from controller.intent.intent import Intent
from controller.intent.model import PolicySpec
from controller.linux.layout import BY_GROUP, FIRST, LAST, OURS, SENDER_MASK, mark_of
from controller.linux.views import LocalPort
from ovs_geneve.kernel.objects import Action, Filter, Flower, Fw, Goto, Match, MatchAll, Protocol, Verdict

_PASS: tuple[Action, ...] = (Verdict(verdict="pass"),)
_DROP: tuple[Action, ...] = (Verdict(verdict="drop"),)

_FAMILIES: dict[int, tuple[Protocol, ...]] = {ICMP: ("ip",), ICMPV6: ("ipv6",)}
_BOTH: tuple[Protocol, ...] = ("ip", "ipv6")
_PLACES: dict[Protocol, int] = {"ip": 0, "ipv6": 1, "all": 2}
"Filters of one preference are of one protocol."

_TOP = 10_000
"The highest priority of a policy."

_RULE_BITS = 8


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


def filters(port: LocalPort, rules: Sequence[GroupRule]) -> Iterator[Filter]:
    """Yield the egress filters of a port that policies protect; nothing without policies."""
    if not rules:
        return
    yield from _dispatch(port.interface, identities_named(rules))
    for identity in {0, *identities_named(rules)}:
        chain = BY_GROUP + identity
        speaking = [rule for rule in rules if rule.sender in (None, identity)]
        for preference, protocol, handle, match, verdict in _decisions(speaking):
            yield _filter(port.interface, chain, preference, match, verdict, protocol=protocol, handle=handle)
        yield _filter(port.interface, chain, _REST, MatchAll(), _DROP)


_REST = 0xFFFF
"The last preference of a chain."


def _dispatch(device: str, identities: Iterable[int]) -> Iterator[Filter]:
    yield _filter(device, 0, FIRST, MatchAll(), _PASS, protocol="arp")
    for number, icmp_type in enumerate((NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT), 1):
        match = Flower(ip_proto=ICMPV6, icmp_type=icmp_type)
        yield _filter(device, 0, FIRST + 1, match, _PASS, protocol="ipv6", handle=number)
    for identity in sorted(identities):
        mark = mark_of(identity)
        sender = Fw(mark=mark, mask=SENDER_MASK)
        yield _filter(device, 0, FIRST + 2, sender, (Goto(chain=BY_GROUP + identity),), handle=mark)
    yield _filter(device, 0, FIRST + 3, Fw(mark=OURS, mask=OURS), (Goto(chain=BY_GROUP),), handle=OURS)
    yield _filter(device, 0, LAST, MatchAll(), _DROP)


def _decisions(
    rules: Iterable[GroupRule],
) -> Iterator[tuple[int, Protocol, int, Match, tuple[Action, ...]]]:
    """Yield what decides, with its preference; what two policies of one verdict both say, once."""
    said = set[tuple[int, Match]]()
    for rule in rules:
        spec = rule.spec
        for protocol, number, match in _packets(spec):
            rank = 2 * (_TOP - spec.priority) + spec.allow
            preference = 1 + len(_PLACES) * rank + _PLACES[protocol]
            if (preference, match) not in said:
                said.add((preference, match))
                handle = rule.key << _RULE_BITS | number
                yield preference, protocol, handle, match, _PASS if spec.allow else _DROP


def _packets(spec: PolicySpec) -> Iterator[tuple[Protocol, int, Match]]:
    """Yield what matches the packets that a policy speaks of."""
    if spec.protocol is None:
        yield "all", 0, MatchAll()
        return
    for protocol in _FAMILIES.get(spec.protocol, _BOTH):
        if not spec.ports:
            yield protocol, 0, Flower(ip_proto=spec.protocol)
        elif not spec.allow:
            yield protocol, 0, Flower(ip_proto=spec.protocol, fragment=True)
        for number, ports in enumerate(spec.ports, 1):
            yield protocol, number, Flower(ip_proto=spec.protocol, dst_ports=(ports.first, ports.last))


def _filter(
    device: str,
    chain: int,
    preference: int,
    match: Match,
    actions: tuple[Action, ...],
    *,
    protocol: Protocol = "all",
    handle: int = 1,
) -> Filter:
    return Filter(
        device=device,
        egress=True,
        chain=chain,
        preference=preference,
        protocol=protocol,
        handle=handle,
        match=match,
        actions=actions,
    )
