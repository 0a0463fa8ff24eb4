# SPDX-License-Identifier: Apache-2.0
"""What the feature of groups sees: policies between groups, and what a group needs whatever each of them says.

Conntrack remembers connections by network: its zone is a number of 16 bits made from the network's object key, and two
networks a multiple of 65,535 keys apart share one. So the key itself is the connection's mark, and is matched.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from controller.compiler.views import NetworkView, identity_of, slot_of
from controller.intent.identity import GROUP_FIELD, IDENTITY
from controller.intent.intent import Intent
from controller.intent.model import Object, PolicySpec
from controller.intent.rules import PortRange
from ovs_geneve.openflow.fields import Field, tun_metadata
from ovs_geneve.openflow.flow import Term

_ZONES = 0xFFFF
"Zone 0 is everybody's: the kernel's own conntrack is there."


class Traffic(NamedTuple):
    """A protocol and some of its ports; None is every protocol, () every port."""

    protocol: int | None
    ports: tuple[PortRange, ...]


class Identity(NamedTuple):
    """Where packets carry who sends them, and what it means that it is there."""

    field: Field
    offset: int
    salt: bytes

    def sender(self, identity: int) -> Term:
        """Return what a packet of a group matches."""
        return Term(self.field, identity << self.offset, _IDENTITY_BITS << self.offset)


_IDENTITY_BITS = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """How conntrack knows the connections of a network."""

    zone: int
    mark: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPolicyView:
    """A policy between groups."""

    key: int
    vni: int
    to_group: int
    from_group: int | None
    identity: Identity
    priority: int
    traffic: Traffic
    allow: bool
    tracking: Tracking | None
    "None for a stateless policy."
    log: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """A group in a network, or anybody there."""

    key: int
    "Object key of the group, or of the network for anybody."
    vni: int
    group: int | None
    "Its identity; None is anybody in the network."
    identity: Identity
    protected: bool
    "Lets in only what a policy allows."
    log: bool
    "Tells of what none allows."
    tracking: Tracking
    starts: tuple[Traffic, ...]
    "What it sends whose answers are let in again."
    answers: tuple[Traffic, ...]
    "What is sent to it that way."
    replies: tuple[tuple[int, Traffic], ...]
    "What comes back of what it starts, by the identity of who answers."

    @property
    def tracked(self) -> bool:
        """Tell whether conntrack knows connections of it, which errors may be related to."""
        return bool(self.starts or self.answers)


def group_policy_view(intent: Intent, policy: Object[PolicySpec], network: NetworkView) -> GroupPolicyView:
    """Resolve a policy between groups of a network."""
    spec = policy.spec
    return GroupPolicyView(
        key=policy.key,
        vni=network.vni,
        to_group=identity_of(intent, spec.to_group),
        from_group=None if spec.from_group is None else identity_of(intent, spec.from_group),
        identity=_identity(network),
        priority=spec.priority,
        traffic=Traffic(spec.protocol, spec.ports),
        allow=spec.allow,
        tracking=_tracking(network) if spec.stateful else None,
        log=spec.log,
    )


def group_view(intent: Intent, network_name: str, name: str | None, network: NetworkView) -> GroupView | None:
    """Resolve what a group needs in a network, or anybody there; None where no policy says anything of it."""
    towards = [] if name is None else _specs(intent, intent.policies_to_group(network_name, name))
    named = intent.policies_between(network_name) if name is None else intent.policies_of_group(name)
    stateful = [one for one in _specs(intent, named) if one.stateful and one.network == network_name]
    # Replies come in anyway where nothing is kept out.
    started = [one for one in stateful if one.from_group == name] if towards or name is None else []
    if not towards and not started:
        return None
    return GroupView(
        key=network.key if name is None else intent.groups[name].key,
        vni=network.vni,
        group=None if name is None else identity_of(intent, name),
        identity=_identity(network),
        protected=bool(towards),
        log=any(one.log for one in towards),
        tracking=_tracking(network),
        starts=tuple(_joined(started)),
        answers=tuple(_joined(one for one in stateful if one.to_group == name)),
        replies=tuple(_by_peer(intent, started)),
    )


def zone_of(network_key: int) -> int:
    """Return the conntrack zone of a network's connections."""
    return 1 + network_key % _ZONES


def _specs(intent: Intent, names: Iterable[str]) -> list[PolicySpec]:
    return [intent.policies[name].spec for name in names]


def _tracking(network: NetworkView) -> Tracking:
    return Tracking(zone=zone_of(network.key), mark=network.key)


def _identity(network: NetworkView) -> Identity:
    schema = next(one for one in network.options if one.name == IDENTITY)
    layout = schema.spec.layout
    _, mask = layout.match_bits(GROUP_FIELD, 0, None)
    slot = slot_of(schema)
    salt = b"%d=%d/%d/%d" % (slot, layout.option_class, layout.option_type, layout.length)
    return Identity(tun_metadata(slot, layout.length), (mask & -mask).bit_length() - 1, salt)


def _by_peer(intent: Intent, started: Iterable[PolicySpec]) -> Iterator[tuple[int, Traffic]]:
    by_peer = defaultdict[int, list[PolicySpec]](list)
    for one in started:
        by_peer[identity_of(intent, one.to_group)].append(one)
    for peer, policies in sorted(by_peer.items()):
        yield from ((peer, traffic) for traffic in _joined(policies))


def _joined(policies: Iterable[PolicySpec]) -> Iterator[Traffic]:
    """Yield the traffic of policies, a protocol once: what two of them speak of takes the flows of one."""
    ports = dict[int | None, set[PortRange] | None]()
    for one in policies:
        known = ports.setdefault(one.protocol, set())
        if known is None or not one.ports:
            ports[one.protocol] = None
        else:
            known.update(one.ports)
    for protocol in sorted(ports, key=lambda number: -1 if number is None else number):
        yield Traffic(protocol, tuple(sorted(ports[protocol] or ())))
