# SPDX-License-Identifier: Apache-2.0
"""From what changed to the parts that must be compiled anew, through references backwards. Pure.

`seats` in the situations are one object, already moved on: what depends on where a port was or is comes from the
list of moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.compiler.part import Part, PartKind
from controller.compiler.policy_defaults import selected_port
from controller.compiler.seats import Seat
from controller.compiler.situation import Situation
from controller.intent.intent import Intent
from controller.intent.model import Address, AnyObject, Change, HostSpec, Kind, OptionPolicySpec, RolloutSpec
from controller.intent.rules import ports_named


def ports_to_seat(changes: Iterable[Change], old: Intent, new: Intent) -> Iterator[str]:
    """Yield the ports that may have another seat after the changes."""
    for change in changes:
        if change.kind in (Kind.PORT, Kind.BINDING):
            yield change.name
        elif change.kind is Kind.HOST:
            yield from old.ports_on(change.name)
            yield from new.ports_on(change.name)


def parts_of_change(change: Change, old: Intent, situation: Situation) -> Iterator[Part]:
    """Yield the parts that one changed object makes dirty, where ports sit apart."""
    new = situation.intent
    if _means_the_same(change):
        return
    match change.kind:
        case Kind.HOST:
            yield from _host(change, old, situation)
        case Kind.NETWORK:
            yield from _network(change.name, old, situation)
        case Kind.PORT:
            yield from _port(change.name)
            yield from _policies_naming(change.name, old, new)
            yield from _local_group(change.name, situation)
        case Kind.OPTION_SCHEMA:
            yield Part(PartKind.PROBES)
            yield from _schema(change.name, old, situation)
        case Kind.OPTION_POLICY:
            yield from _policy(change)
        case Kind.GROUP:
            yield from _group(change.name, old, situation)
            yield from _policies_of_group(change.name, old, new)
        case Kind.ROLLOUT:
            if _effect(change.old) != _effect(change.new):
                yield from _network(_network_of_rollout(change), old, situation)
            yield Part(PartKind.NETWORK, _network_of_rollout(change))
        case Kind.POLICY:
            yield from _parts_between((change.name,), old, new)
        case Kind.BINDING | Kind.CAPABILITY | Kind.RETIRED_SLOT:
            pass


def _means_the_same(change: Change) -> bool:
    """Tell whether only labels changed: no flow says them."""
    old, new = change.old, change.new
    return old is not None and new is not None and (old.key, old.spec) == (new.key, new.spec)


def parts_of_move(port: str, before: Seat | None, after: Seat | None, situation: Situation) -> Iterator[Part]:
    """Yield the parts that a port's change of seat makes dirty."""
    yield from _port(port)
    yield from _policies_selecting(port, situation.intent)
    for seat in (before, after):
        if seat is not None:
            yield Part(PartKind.LOCAL_GROUP, seat.network, seat.host)


def parts_of_membership(network: str, situation: Situation) -> Iterator[Part]:
    """Yield the parts that depend on which hosts a network has."""
    for host in situation.served_hosts_of(network):
        yield Part(PartKind.REMOTE_GROUP, network, host)


def parts_of_network(network: str, old: Intent, new: Intent) -> Iterator[Part]:
    """Yield what a network's hosts have in common, and its ports: all that goes when no host of ours has it."""
    yield Part(PartKind.NETWORK, network)
    yield Part(PartKind.FIREWALL, network)
    yield Part(PartKind.TARGET, network)
    for port in {*old.ports_of(network), *new.ports_of(network)}:
        yield from _port(port)
    for policy in {*old.policies_of(network), *new.policies_of(network)}:
        yield Part(PartKind.POLICY, policy)
    yield from _parts_between({*old.policies_between(network), *new.policies_between(network)}, old, new)


def parts_on_host(host: str, situation: Situation) -> Iterator[Part]:
    """Yield the parts that only a host itself needs."""
    yield Part(PartKind.HOST, host)
    for port in situation.intent.ports_on(host):
        yield from _port(port)
        yield from _policies_selecting(port, situation.intent)
    for network in situation.intent.targets_on(host):
        yield Part(PartKind.TARGET, network)
    for network in situation.seats.networks_on(host):
        yield Part(PartKind.REMOTE_GROUP, network, host)
        yield Part(PartKind.LOCAL_GROUP, network, host)


def _port(name: str) -> Iterator[Part]:
    yield Part(PartKind.PORT, name)
    yield Part(PartKind.LOCAL, name)


def _host(change: Change, old: Intent, situation: Situation) -> Iterator[Part]:
    yield Part(PartKind.HOST, change.name)
    if _endpoints(change.old) == _endpoints(change.new):
        return
    for port in {*old.ports_on(change.name), *situation.intent.ports_on(change.name)}:
        yield Part(PartKind.PORT, port)
    for network in situation.seats.networks_on(change.name):
        yield from parts_of_membership(network, situation)


def _endpoints(declared: AnyObject | None) -> tuple[Address, ...]:
    return declared.spec.endpoints if declared is not None and isinstance(declared.spec, HostSpec) else ()


def _network(name: str, old: Intent, situation: Situation) -> Iterator[Part]:
    yield from parts_of_network(name, old, situation.intent)
    yield from parts_of_membership(name, situation)
    for host in situation.served_hosts_of(name):
        yield Part(PartKind.LOCAL_GROUP, name, host)


def _effect(rollout: AnyObject | None) -> tuple[bool, bool]:
    """Return what a rollout does to the flows of a network's ports; a stage or a reason may change nothing."""
    if rollout is None:
        return False, False
    assert isinstance(rollout.spec, RolloutSpec)
    return rollout.spec.is_withheld, rollout.spec.is_lingering


def _network_of_rollout(change: Change) -> str:
    one = change.new or change.old
    assert one is not None
    assert isinstance(one.spec, RolloutSpec)
    return one.spec.network


def _schema(name: str, old: Intent, situation: Situation) -> Iterator[Part]:
    new = situation.intent
    for network in {*old.networks_using(name), *new.networks_using(name)}:
        yield from _network(network, old, situation)
    # Every other network refuses the option from now on, or has it to refuse no more.
    for network in ("", *new.networks):
        yield Part(PartKind.FIREWALL, network)
        yield Part(PartKind.TARGET, network)


def _local_group(port: str, situation: Situation) -> Iterator[Part]:
    # Its buckets say the port's key, which is another after delete and declare again in one go, and its group.
    seat = situation.seats.of(port)
    if seat is not None:
        yield Part(PartKind.LOCAL_GROUP, seat.network, seat.host)


def _group(name: str, old: Intent, situation: Situation) -> Iterator[Part]:
    new = situation.intent
    for port in {*old.members_of(name), *new.members_of(name)}:
        yield from _port(port)
        yield from _local_group(port, situation)
    yield from _parts_between({*old.policies_of_group(name), *new.policies_of_group(name)}, old, new)


def _parts_between(policies: Iterable[str], old: Intent, new: Intent) -> Iterator[Part]:
    """Yield what policies between groups are compiled to: themselves, and what each group has beside them."""
    for name in policies:
        yield Part(PartKind.GROUP_POLICY, name)
        held = (intent.policies[name].spec for intent in (old, new) if name in intent.policies)
        for spec in held:
            yield Part(PartKind.PORT_GROUP, spec.network, group=spec.to_group)
            yield Part(PartKind.PORT_GROUP, spec.network, group=spec.from_group or "")


def _policies_selecting(port: str, intent: Intent) -> Iterator[Part]:
    """Yield the policies that are where this port is."""
    for policy in (*intent.policies_to(port), *intent.policies_from(port)):
        yield Part(PartKind.POLICY, policy)


def _policies_naming(port: str, old: Intent, new: Intent) -> Iterator[Part]:
    """Yield what speaks of a port's key or MAC: policies, and the ports before it in a chain."""
    for intent in (old, new):
        for policy in intent.policies_naming(port):
            yield Part(PartKind.POLICY, policy)
        chain = intent.chain_through(port)
        if chain is not None:
            for member in ports_named(intent.option_policies[chain].spec.actions):
                yield Part(PartKind.PORT, member)


def _policies_of_group(group: str, old: Intent, new: Intent) -> Iterator[Part]:
    for intent in (old, new):
        for policy in intent.option_policies_of_group(group):
            yield Part(PartKind.POLICY, policy)
            yield Part(PartKind.NETWORK, intent.option_policies[policy].spec.network)


def _policy(change: Change) -> Iterator[Part]:
    yield Part(PartKind.POLICY, change.name)
    for declared in (change.old, change.new):
        if declared is not None and isinstance(declared.spec, OptionPolicySpec):
            selected = selected_port(declared.spec)
            if selected is not None:
                yield Part(PartKind.PORT, selected)
            else:
                yield Part(PartKind.NETWORK, declared.spec.network)
            for port in ports_named(declared.spec.actions):
                yield Part(PartKind.PORT, port)
