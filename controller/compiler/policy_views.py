# SPDX-License-Identifier: Apache-2.0
"""What the features of option policies see: selectors, fields and ports as the numbers flows carry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from controller.compiler.views import NetworkView, identity_of, slot_of
from controller.intent.conditions import Condition, conditions_of, steer_of
from controller.intent.identity import GROUP_FIELD, IDENTITY, MAX_IDENTITY
from controller.intent.intent import Intent
from controller.intent.model import (
    Direction,
    Object,
    OptionMatch,
    OptionPolicySpec,
    PolicyAction,
    PortSpec,
)
from controller.intent.rules import FieldName, RuleAction, fields_named, ports_named, schemas_named
from ovs_geneve.openflow.fields import Field, tun_metadata


class Bits(NamedTuple):
    """Some bits of a field, counted from the least significant."""

    field: Field
    offset: int
    bits: int

    def placed(self, value: int) -> tuple[Field, int, int]:
        """Return the field with a value at these bits, and the mask of them."""
        return self.field, value << self.offset, (1 << self.bits) - 1 << self.offset


class PortName(NamedTuple):
    """A port that a policy selects."""

    key: int
    mac: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyView:
    """An option policy."""

    key: int
    vni: int
    direction: Direction
    priority: int
    from_port: PortName | None
    from_group: bool
    "Whether a group is selected; which one is among the matches."
    to_port: PortName | None
    to_group: int | None
    "Identity."
    matches: tuple[tuple[Field, int, int], ...]
    "One a slot."
    conditions: tuple[Condition, ...]
    actions: tuple[RuleAction, ...]
    fields: Mapping[FieldName, Bits]
    "Those that actions name, of options that may be written or read by now."
    options: Mapping[str, Field]
    "Likewise, options as a whole."
    keys: Mapping[str, int]
    "Of the ports that actions name."
    verdict: PolicyAction | None
    salt: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HopView:
    """A port that packets are steered through, and where they go from it."""

    key: int
    mac: int
    has_addresses: bool
    next_key: int | None
    "None at the end of the chain."
    position: tuple[Field, int, int] | None
    "What the next port finds in the packet: how many ports it was sent to."
    salt: bytes


def policy_view(intent: Intent, policy: Object[OptionPolicySpec], network: NetworkView) -> PolicyView:
    """Resolve an option policy of a network."""
    spec = policy.spec
    named = (*spec.match, *_of_sender(intent, spec.from_group))
    return PolicyView(
        key=policy.key,
        vni=network.vni,
        direction=spec.direction,
        priority=spec.priority,
        from_port=_port_name(intent, spec.from_port),
        from_group=spec.from_group is not None,
        to_port=_port_name(intent, spec.to_port),
        to_group=None if spec.to_group is None else identity_of(intent, spec.to_group),
        matches=tuple(_option_matches(network, named)),
        conditions=conditions_of(spec),
        actions=spec.actions,
        fields=_fields(network, spec.direction, fields_named(spec.actions)),
        options=_options(network, spec.direction, schemas_named(spec.actions)),
        keys={name: intent.ports[name].key for name in ports_named(spec.actions)},
        verdict=spec.action,
        salt=network.salt,
    )


def hop_view(intent: Intent, port: Object[PortSpec], network: NetworkView) -> HopView | None:
    """Resolve what becomes of packets that a port passes on; None when none are steered through it."""
    policy = intent.chain_through(port.name)
    steer = None if policy is None else steer_of(intent.option_policies[policy].spec)
    if steer is None:
        return None
    hop = steer.ports.index(port.name) + 1
    last = hop == len(steer.ports)
    position = None
    if steer.position is not None:
        bits = _fields(network, Direction.EGRESS, (steer.position,)).get(steer.position)
        position = None if bits is None else bits.placed(hop if last else hop + 1)
    return HopView(
        key=port.key,
        mac=port.spec.mac,
        has_addresses=bool(port.spec.addresses),
        next_key=None if last else intent.ports[steer.ports[hop]].key,
        position=position,
        salt=network.salt,
    )


def group_match(intent: Intent, group: str, network: NetworkView) -> tuple[Field, int, int] | None:
    """Return what matches packets of a group's ports; None while the network does not carry identities."""
    return next(iter(_option_matches(network, _of_sender(intent, group))), None)


def _of_sender(intent: Intent, group: str | None) -> Iterator[OptionMatch]:
    if group is not None:
        identity = identity_of(intent, group)
        yield OptionMatch(schema=IDENTITY, field=GROUP_FIELD, value=identity, mask=MAX_IDENTITY)


def _port_name(intent: Intent, name: str | None) -> PortName | None:
    if name is None:
        return None
    port = intent.ports[name]
    return PortName(port.key, port.spec.mac)


def _options(network: NetworkView, direction: Direction, schemas: Iterable[str]) -> dict[str, Field]:
    # What is on its way into the network is not sent yet, by no port and no policy.
    usable = network.stamped if direction is Direction.EGRESS else network.options
    by_name = {one.name: tun_metadata(slot_of(one), one.spec.layout.length) for one in usable}
    return {schema: by_name[schema] for schema in schemas if schema in by_name}


def _fields(network: NetworkView, direction: Direction, names: Iterable[FieldName]) -> dict[FieldName, Bits]:
    names = tuple(names)
    options = _options(network, direction, {name.schema for name in names})
    layouts = {schema.name: schema.spec.layout for schema in network.options}
    found = {}
    for name in names:
        if name.schema in options:
            layout = layouts[name.schema]
            field = layout.field(name.field)
            found[name] = Bits(options[name.schema], layout.length * 8 - field.end, field.bits)
    return found


def _option_matches(network: NetworkView, matches: Iterable[OptionMatch]) -> Iterator[tuple[Field, int, int]]:
    """Merge the conditions on the fields of one option into one match on its slot."""
    by_name = {schema.name: schema for schema in network.options}
    merged: dict[str, tuple[int, int]] = {}
    for condition in matches:
        layout = by_name[condition.schema].spec.layout
        value, mask = layout.match_bits(condition.field, condition.value, condition.mask)
        before = merged.get(condition.schema, (0, 0))
        merged[condition.schema] = before[0] | value, before[1] | mask
    for name, (value, mask) in sorted(merged.items()):
        schema = by_name[name]
        yield tun_metadata(slot_of(schema), schema.spec.layout.length), value, mask
