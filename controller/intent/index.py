# SPDX-License-Identifier: Apache-2.0
"""What finds an object by something other than its name, kept at the cost of what a change touches.

Every object has terms, computed from it alone. A *unique* term belongs to one object at a time ("who has
this MAC?"); a *group* term to any number ("which ports has this network?"). `commands.py` sees to it that
unique terms are unique; here, the later claim wins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from immutables import Map

from controller.intent.conditions import conditions_of, flows_of_policy, steer_of
from controller.intent.identity import IDENTITY
from controller.intent.model import (
    Address,
    AnyObject,
    BindingSpec,
    CapabilitySpec,
    Change,
    Direction,
    GroupSpec,
    HostKind,
    HostSpec,
    NetworkSpec,
    OptionPolicySpec,
    OptionSchemaSpec,
    PolicyAction,
    PolicySpec,
    PortSpec,
    RetiredSlotSpec,
    RolloutSpec,
)
from controller.intent.policy_size import flows_of
from controller.intent.rules import fields_named, ports_named, schemas_named

T = TypeVar("T", bound=Hashable)
Term = tuple[Hashable, ...]
Members = Map[str, None]
"A set that shares structure with its former self."

V = TypeVar("V", str, Members)

NO_MEMBERS: Members = Map()
VNI_BLOCK_BITS = 8
"Networks are also grouped by the upper bits of their VNI: the allocator skips a full block by its size."


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Names by unique term, and sets of names by group term; a group that is empty is not there."""

    unique: Map[Term, str] = field(default_factory=Map)
    groups: Map[Term, Members] = field(default_factory=Map)

    @classmethod
    def of(cls, objects: Sequence[AnyObject]) -> Index:
        """Build the whole: what the changes that bring these objects come to, in a third of the time."""
        unique = {term: held.name for held in objects for term in unique_terms(held)}
        groups = defaultdict[Term, dict[str, None]](dict)
        for held in objects:
            for term, member in group_terms(held):
                groups[term][member] = None
        return cls(unique=Map(unique), groups=Map((term, Map(members)) for term, members in groups.items()))

    def with_changes(self, changes: Iterable[Change]) -> Index:
        """Return the index after the changes, in whatever order they come."""
        unique = dict[Term, str | None]()
        groups = dict[Term, Members]()
        for change in changes:
            self._change_unique(unique, change)
            self._change_groups(groups, change)
        return Index(unique=_patched(self.unique, unique), groups=_patched(self.groups, groups))

    def _change_unique(self, patch: dict[Term, str | None], change: Change) -> None:
        gone, come = _difference(change, unique_terms)
        for term in gone:
            # Another object may have claimed the term earlier in the same batch: that claim stays.
            if patch.get(term, self.unique.get(term)) == change.name:
                patch[term] = None
        patch.update(dict.fromkeys(come, change.name))

    def _change_groups(self, patch: dict[Term, Members], change: Change) -> None:
        gone, come = _difference(change, group_terms)
        for term, member in gone:
            members = patch.get(term, self.groups.get(term, NO_MEMBERS))
            patch[term] = members.delete(member) if member in members else members
        for term, member in come:
            patch[term] = patch.get(term, self.groups.get(term, NO_MEMBERS)).set(member, None)


def address_term(address: Address) -> tuple[int, int]:
    """Return what stands for an address in a term (hashing `ipaddress` objects is slow)."""
    return address.version, int(address)


def unique_terms(held: AnyObject) -> Iterator[Term]:
    """Yield what only this object may have."""
    match held.spec:
        case HostSpec() as host:
            yield from (("endpoint", *address_term(address)) for address in host.endpoints)
            if host.kind is HostKind.OVS:
                yield ("system-id", host.system_id or held.name)
            if host.ovsdb is not None:
                yield ("ovsdb", host.ovsdb)
        case NetworkSpec() as network:
            yield ("vni", network.vni)
        case PortSpec() as port:
            yield ("mac", port.network, port.mac)
            yield from (("address", port.network, *address_term(address)) for address in port.addresses)
            yield ("interface-id", port.interface_id or held.name)
        case OptionSchemaSpec() as schema:
            yield ("slot", schema.slot)
            yield ("type", schema.layout.option_class, schema.layout.option_type)
        case OptionPolicySpec() as policy:
            yield condition_term(policy)
            yield from decision_terms(policy)
            yield from chain_terms(policy)
        case GroupSpec() as group:
            yield ("identity", group.identity)
        case PolicySpec() as between:
            yield between_term(between)
        case RetiredSlotSpec(tlv_map=retired):
            yield ("retired", retired.index)
            yield ("retired-type", retired.option_class, retired.option_type)
        case BindingSpec() | CapabilitySpec() | RolloutSpec():
            pass


def group_terms(held: AnyObject) -> Iterator[tuple[Term, str]]:
    """Yield the groups this object is in, and the member it is there."""
    match held.spec:
        case NetworkSpec() as network:
            yield from _network_groups(network, held)
        case PortSpec() as port:
            yield ("ports-of", port.network), held.name
            if port.group is not None:
                yield ("members-of", port.group), held.name
            yield from (_field_use(held, port.network, value.schema, value.field) for value in port.values)
        case OptionPolicySpec() as policy:
            yield from _option_policy_groups(policy, held)
        case PolicySpec() as between:
            yield ("policies-between", between.network), held.name
            yield ("policies-to-group", between.network, between.to_group), held.name
            yield ("policies-of-size", between.network, flows_of(between)), held.name
            for group in {between.from_group, between.to_group} - {None}:
                yield ("policies-of-group", group), held.name
        case BindingSpec() as binding:
            yield ("ports-on", binding.host), held.name
        case RolloutSpec() as rollout:
            yield ("rollouts-of", rollout.network), held.name
            yield ("rollouts-for", rollout.schema), held.name
        case HostSpec(kind=HostKind.LINUX):
            yield ("linux-hosts",), held.name
        case OptionSchemaSpec(replaces=replaced) if replaced is not None:
            yield ("replacing", replaced), held.name
        case HostSpec() | OptionSchemaSpec() | GroupSpec() | CapabilitySpec() | RetiredSlotSpec():
            pass


def _network_groups(network: NetworkSpec, held: AnyObject) -> Iterator[tuple[Term, str]]:
    yield from ((("networks-using", schema), held.name) for schema in network.options)
    yield from (_field_use(held, held.name, value.schema, value.field) for value in network.values)
    for host in network.target.hosts if network.target is not None else ():
        yield ("targets-on", host), held.name
    for gateway in network.target.gateways if network.target is not None else ():
        yield ("targets-behind", *address_term(gateway)), held.name
    if network.mtu is not None:
        yield ("demanding-mtu",), held.name
    if network.vni is not None:
        yield from ((term, held.name) for term in vni_blocks(network.vni))


def _option_policy_groups(policy: OptionPolicySpec, held: AnyObject) -> Iterator[tuple[Term, str]]:
    yield ("policies-of", policy.network), held.name
    yield size_term(policy.network, policy.direction, flows_of_policy(policy)), held.name
    if policy.to_port is not None:
        yield ("policies-to", policy.to_port), held.name
    if policy.from_port is not None:
        yield ("policies-from", policy.from_port), held.name
    for target in ports_named(policy.actions):
        yield ("policies-sending-to", target), held.name
    for port in {policy.from_port, policy.to_port, *ports_named(policy.actions)} - {None}:
        yield ("policies-naming", port), held.name
    for group in {policy.from_group, policy.to_group} - {None}:
        yield ("option-policies-of-group", group), held.name
        yield ("option", policy.network, IDENTITY), held.id
    for schema, field_name in fields_named(policy.actions):
        yield _field_use(held, policy.network, schema, field_name)
    for schema in schemas_named(policy.actions):
        yield ("option", policy.network, schema), held.id
    for match in policy.match:
        yield _field_use(held, policy.network, match.schema, match.field)


def condition_term(policy: OptionPolicySpec) -> Term:
    """Return what tells which packets an option policy is about, at its priority."""
    who = policy.from_port, policy.from_group, policy.to_port, policy.to_group
    which = policy.direction, policy.priority, policy.match, policy.packet
    return ("condition", policy.network, who, which)


def decision_terms(policy: OptionPolicySpec) -> Iterator[Term]:
    """Yield what tells the flows of an option policy: at one priority, a switch holds each once.

    A policy that drops stands above the others of its priority, so it may share packets with them.
    """
    who = policy.from_port, policy.from_group, policy.to_port, policy.to_group
    rank = policy.direction, policy.priority, policy.action is PolicyAction.DROP
    for condition in conditions_of(policy):
        yield ("decides", policy.network, rank, who, policy.match, condition)


def size_term(network: str, direction: Direction, flows: int) -> Term:
    """Return the group of a network's option policies that are so many flows each."""
    return ("policies-of-size", network, direction, flows)


def chain_terms(policy: OptionPolicySpec) -> Iterator[Term]:
    """Yield the ports that packets go through: what such a port sends on is of one chain."""
    steer = steer_of(policy)
    if steer is not None:
        yield from (("chain-port", port) for port in steer.ports)


def between_term(policy: PolicySpec) -> Term:
    """Return what tells which packets a policy between groups is about, at its priority."""
    which = policy.priority, policy.protocol, policy.ports
    return ("between", policy.network, policy.from_group, policy.to_group, which)


def vni_blocks(vni: int) -> Iterator[Term]:
    """Yield the blocks a VNI is in, the smaller first."""
    yield ("vni-block", 1, vni >> VNI_BLOCK_BITS)
    yield ("vni-block", 2, vni >> 2 * VNI_BLOCK_BITS)


def _field_use(held: AnyObject, network: str, schema: str, field_name: str) -> tuple[Term, str]:
    return ("field", network, schema, field_name), held.id


def _difference(change: Change, terms: Callable[[AnyObject], Iterable[T]]) -> tuple[set[T], set[T]]:
    old = set(terms(change.old)) if change.old is not None else set[T]()
    new = set(terms(change.new)) if change.new is not None else set[T]()
    return old - new, new - old


def _patched(held: Map[Term, V], patch: Mapping[Term, V | None]) -> Map[Term, V]:
    mutation = held.mutate()
    for term, value in patch.items():
        if value:
            mutation.set(term, value)
        else:
            mutation.pop(term, None)
    return mutation.finish()
