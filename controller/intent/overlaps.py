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

from controller.intent.conditions import ethertypes_of, narrow, steer_of
from controller.intent.identity import GROUP_FIELD, IDENTITY, MAX_IDENTITY
from controller.intent.intent import Intent
from controller.intent.model import Direction, OptionPolicySpec, PolicyAction
from controller.intent.port_masks import joined
from controller.intent.rules import PortRange, Prefix

_ALL_PORTS = (PortRange(0, 0xFFFF),)
_GROUP_BIT = 1 << 40
_MAC_BITS = (1 << 48) - 1


class Masked(NamedTuple):
    """The numbers that equal `value` where `mask` has a bit."""

    value: int
    mask: int


_ANY = Masked(0, 0)


_Shape = tuple[tuple[str, ...], tuple[tuple[Hashable, int], ...]]
"Exact axes, and masked ones with their masks."
_Values = tuple[Hashable, ...]


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


class Overlaps:
    """The option policies of a network in one direction, kept so that what covers one is found by few look-ups.

    Policies are sorted by the shape of what they ask (which axes, which bits), and within a shape by the values: of
    each shape one look-up finds those that may cover a policy, however many there are.

    Each other policy is looked at by itself: several that together leave one nothing are not found. Options and
    headers are taken as the packet came to the table, whatever policies without a verdict make of them.
    """

    def __init__(self, intent: Intent, network: str, direction: Direction) -> None:
        policies = (intent.option_policies[name] for name in intent.policies_of(network))
        self._policies = {held.name: held for held in policies if held.spec.direction is direction}
        self._extents = {name: extent_of(intent, held.spec) for name, held in self._policies.items()}
        self._by_shape: dict[_Shape, dict[_Values, list[str]]] = {}
        self._by_rank: dict[Hashable, dict[Hashable, list[str]]] = {}
        for name, held in sorted(self._policies.items()):
            extent = self._extents[name]
            shape = _shape(extent)
            values = _values(shape, extent)
            assert values is not None, "an extent has the axes of its own shape"
            self._by_shape.setdefault(shape, {}).setdefault(values, []).append(name)
            by_outcome = self._by_rank.setdefault(rank(held.spec), {})
            by_outcome.setdefault(_outcome(held.spec), []).append(name)

    def finding(self, name: str) -> Finding | None:
        """Say why a policy never has a say, or which other one decides what it does; None when all is well."""
        shadow = min(self._shadows(name), default=None)
        if shadow is not None:
            return Finding(Trouble.SHADOWED, self._policies[shadow].id)
        peer = min(self._peers(name), default=None)
        return None if peer is None else Finding(Trouble.CONFLICT, self._policies[peer].id)

    def findings(self) -> dict[str, Finding]:
        """Return the findings on all of them, by name."""
        found = {name: self.finding(name) for name in sorted(self._policies)}
        return {name: finding for name, finding in found.items() if finding is not None}

    def _shadows(self, name: str) -> Iterator[str]:
        own, extent = self._policies[name].spec, self._extents[name]
        for shape, by_values in self._by_shape.items():
            values = _values(shape, extent)
            for other in by_values.get(values, ()) if values is not None else ():
                spec = self._policies[other].spec
                above = rank(spec) > rank(own) and _leaves_nothing(spec, own)
                if above and covers(self._extents[other], extent):
                    yield other

    def _peers(self, name: str) -> Iterator[str]:
        own = self._policies[name].spec
        for outcome, others in self._by_rank[rank(own)].items():
            if outcome != _outcome(own):
                yield from (other for other in others if meet(self._extents[other], self._extents[name]))


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
            _joined(packet.source_ports) or _ALL_PORTS,
            _joined(packet.destination_ports) or _ALL_PORTS,
        ),
    )


def _shape(extent: Extent) -> _Shape:
    masked = ((axis, bits.mask) for axis, bits in extent.masked.items())
    return tuple(sorted(extent.exact)), tuple(sorted(masked, key=repr))


def _values(shape: _Shape, extent: Extent) -> _Values | None:
    """Return what an extent asks for on the axes of a shape; None when it leaves some of that open."""
    exact, masked = shape
    if not all(axis in extent.exact for axis in exact):
        return None
    bits = [(extent.masked.get(axis, _ANY), mask) for axis, mask in masked]
    if not all(one.mask & mask == mask for one, mask in bits):
        return None
    return (*(extent.exact[axis] for axis in exact), *(one.value & mask for one, mask in bits))


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


def _joined(ports: tuple[PortRange, ...]) -> tuple[PortRange, ...]:
    return tuple(joined(ports)) if ports else ()
