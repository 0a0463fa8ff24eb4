# SPDX-License-Identifier: Apache-2.0
"""Which option policies stand in the way of others: those that never match, and pairs that both decide. Pure.

What a policy matches is a product: each condition is a set on an axis of its own (who sends, which port, an option's
bits…). One product lies within another when it does on every axis, and two meet when they do on every axis.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import NamedTuple

from controller.intent.conditions import ethertypes_of, merged_ranges, narrow, steer_of
from controller.intent.identity import GROUP_FIELD, IDENTITY, MAX_IDENTITY
from controller.intent.intent import Intent
from controller.intent.model import Direction, Object, OptionPolicySpec, PolicyAction
from controller.intent.rules import PortRange, Prefix

_ALL_PORTS = (PortRange(0, 0xFFFF),)
_GROUP_BIT = 1 << 40
_MAC_BITS = (1 << 48) - 1


class Masked(NamedTuple):
    """The numbers that equal `value` where `mask` has a bit."""

    value: int
    mask: int


_ANY = Masked(0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What a policy matches, an axis each."""

    exact: Mapping[str, Hashable]
    "Axes on which one value is asked for; those without are not there."
    masked: Mapping[Hashable, Masked]
    "Likewise MACs, prefixes, and the fields of options."
    ethertypes: frozenset[int] | None
    "None is all."
    ports: tuple[tuple[PortRange, ...], tuple[PortRange, ...]]


class Trouble(Enum):
    """What may be the matter with a policy."""

    SHADOWED = "another one decides all of its packets"
    CONFLICT = "another one of its rank does something else with some of its packets"


class Finding(NamedTuple):
    """What is the matter with a policy, and which other one (kind/name) it has to do with."""

    trouble: Trouble
    other: str


def finding_of(intent: Intent, name: str) -> Finding | None:
    """Say why a stored policy never has a say, or which other one decides what it does; None when all is well.

    Each other policy is looked at by itself: several that together leave it nothing are not found. Options and headers
    are taken as the packet came to the table, whatever policies without a verdict make of them.
    """
    return next(_findings(intent, intent.option_policies[name]), None)


def report(intent: Intent, network: str, direction: Direction) -> dict[str, Finding]:
    """Return the findings on the policies of a network in one direction, by their name."""
    policies = [intent.option_policies[name] for name in intent.policies_of(network)]
    found = {p.name: finding_of(intent, p.name) for p in policies if p.spec.direction is direction}
    return {name: finding for name, finding in sorted(found.items()) if finding is not None}


def _findings(intent: Intent, held: Object[OptionPolicySpec]) -> Iterator[Finding]:
    spec, own = held.spec, extent_of(intent, held.spec)
    level = rank(spec)
    all_policies = map(intent.option_policies.__getitem__, intent.policies_of(spec.network))
    # First what is cheap: this is asked of every policy that is listed, and looks at every other one.
    others = [
        other
        for other in all_policies
        if other.spec.priority >= spec.priority
        and other.spec.direction is spec.direction
        and other is not held
        and _options_meet(other.spec, own)
    ]
    others.sort(key=lambda other: other.name)
    for other in others:
        above = rank(other.spec) > level
        if above and _leaves_nothing(other.spec, spec) and covers(extent_of(intent, other.spec), own):
            yield Finding(Trouble.SHADOWED, other.id)
    for other in others:
        rivals = rank(other.spec) == level and _outcome(other.spec) != _outcome(spec)
        if rivals and meet(extent_of(intent, other.spec), own):
            yield Finding(Trouble.CONFLICT, other.id)


def rank(spec: OptionPolicySpec) -> tuple[int, bool]:
    """Return what decides which of two policies stands above the other."""
    return spec.priority, spec.action is PolicyAction.DROP


def covers(outer: Extent, inner: Extent) -> bool:
    """Tell whether all that `inner` matches is matched by `outer`."""
    return (
        all(axis in inner.exact and inner.exact[axis] == value for axis, value in outer.exact.items())
        and all(_within(inner.masked.get(axis, _ANY), bits) for axis, bits in outer.masked.items())
        and _types_within(inner.ethertypes, outer.ethertypes)
        and all(map(_ranges_within, inner.ports, outer.ports))
    )


def meet(one: Extent, other: Extent) -> bool:
    """Tell whether there is anything that both match."""
    return (
        all(other.exact.get(axis, value) == value for axis, value in one.exact.items())
        and all(_bits_meet(other.masked.get(axis, _ANY), bits) for axis, bits in one.masked.items())
        and (one.ethertypes is None or other.ethertypes is None or bool(one.ethertypes & other.ethertypes))
        and all(map(_ranges_meet, one.ports, other.ports))
    )


def extent_of(intent: Intent, spec: OptionPolicySpec) -> Extent:
    """Return what a stored policy matches; a port or group is what flows match in its place."""
    packet = spec.packet
    exact: dict[str, Hashable] = {}
    macs = {"source_mac": packet.source_mac, "destination_mac": packet.destination_mac}
    ingress = spec.direction is Direction.INGRESS
    for side, port, group, by_mac in (
        ("source_mac", spec.from_port, None, ingress),
        ("destination_mac", spec.to_port, spec.to_group, not ingress),
    ):
        if port is not None and by_mac:
            macs[side] = intent.ports[port].spec.mac
        elif port is not None:
            exact[f"port at {side}"] = port
        if group is not None:
            exact[f"group at {side}"] = group
    for axis, value in (("protocol", packet.protocol), ("dscp", packet.dscp)):
        if value is not None:
            exact[axis] = value
    types = ethertypes_of(spec)
    return Extent(
        exact=exact,
        masked=dict(chain(_macs(spec, macs), _prefixes(spec), _fields(intent, spec))),
        ethertypes=None if None in types else frozenset(one for one in types if one is not None),
        ports=(
            merged_ranges(packet.source_ports) or _ALL_PORTS,
            merged_ranges(packet.destination_ports) or _ALL_PORTS,
        ),
    )


def _macs(spec: OptionPolicySpec, macs: Mapping[str, int | None]) -> Iterator[tuple[Hashable, Masked]]:
    for axis, mac in macs.items():
        if mac is not None:
            yield axis, Masked(mac, _MAC_BITS)
        elif axis == "destination_mac" and steer_of(spec) is not None:
            yield axis, Masked(0, _GROUP_BIT)  # what is for many is not steered


def _prefixes(spec: OptionPolicySpec) -> Iterator[tuple[Hashable, Masked]]:
    for axis, said in (("source", spec.packet.source), ("destination", spec.packet.destination)):
        prefix: Prefix | None = narrow(said)
        if prefix is not None:
            yield (axis, prefix.version), Masked(int(prefix.network_address), int(prefix.netmask))


def _fields(intent: Intent, spec: OptionPolicySpec) -> Iterator[tuple[Hashable, Masked]]:
    for match in spec.match:
        yield (match.schema, match.field), Masked(match.value, match.mask)
    if spec.from_group is not None:
        identity = intent.groups[spec.from_group].spec.identity or 0
        yield (IDENTITY, GROUP_FIELD), Masked(identity, MAX_IDENTITY)


def _options_meet(spec: OptionPolicySpec, own: Extent) -> bool:
    """Tell whether what a policy matches of options leaves it anything of an extent: cheap, and most have nothing."""
    for match in spec.match:
        bits = own.masked.get((match.schema, match.field), _ANY)
        if (match.value ^ bits.value) & match.mask & bits.mask:
            return False
    return True


def _leaves_nothing(above: OptionPolicySpec, below: OptionPolicySpec) -> bool:
    """Tell whether a policy keeps another one from packets that both match: one without a verdict passes them on."""
    return above.action is not None or below.action is None


def _outcome(spec: OptionPolicySpec) -> Hashable:
    return spec.action, spec.actions


def _within(inner: Masked, outer: Masked) -> bool:
    return inner.mask & outer.mask == outer.mask and inner.value & outer.mask == outer.value


def _bits_meet(one: Masked, other: Masked) -> bool:
    common = one.mask & other.mask
    return one.value & common == other.value & common


def _types_within(inner: frozenset[int] | None, outer: frozenset[int] | None) -> bool:
    return outer is None or (inner is not None and inner <= outer)


def _ranges_within(inner: tuple[PortRange, ...], outer: tuple[PortRange, ...]) -> bool:
    # Ranges that touch are one, so each lies within a single other one or not at all.
    return all(any(o.first <= i.first and i.last <= o.last for o in outer) for i in inner)


def _ranges_meet(one: tuple[PortRange, ...], other: tuple[PortRange, ...]) -> bool:
    return any(a.first <= b.last and b.first <= a.last for a in one for b in other)
