# SPDX-License-Identifier: Apache-2.0
"""From what changed to the parts of Linux hosts that must be compiled anew. Pure.

A way to a port depends on that port, its host's endpoints and kind, and in a network of IP on the own ports. A port of
the own host depends on the network's hosts, options and policies; the shape of a network on these and on which groups
are here. Seats are one object, already moved on: where ports were comes from the list of moves.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TypeVar

from controller.compiler.seats import Seat
from controller.intent.intent import Intent
from controller.intent.model import (
    AnyObject,
    Change,
    HostSpec,
    Kind,
    OptionPolicySpec,
    Payload,
    PolicySpec,
    RolloutSpec,
)
from controller.linux.part import HOST_PART, Interfaces, Part, PartKind
from controller.linux.situation import LinuxSituation

S = TypeVar("S", PolicySpec, OptionPolicySpec, RolloutSpec)

Place = tuple[str, Part]
"A part on a host."

Moves = Mapping[str, tuple[Seat | None, Seat | None]]
"Where ports were and are."


def parts_on(host: str, situation: LinuxSituation) -> Iterator[Part]:
    """Yield all parts that a Linux host may have."""
    yield HOST_PART
    yield from (Part(PartKind.PEER, peer) for peer in situation.intent.hosts if peer != host)
    for network in situation.seats.networks_on(host):
        yield from _network(network, situation)


def places_of_change(change: Change, old: Intent, situation: LinuxSituation) -> Iterator[Place]:
    """Yield what one changed object makes dirty, where ports sit apart, and a Linux host that is changed itself."""
    new = situation.intent
    match change.kind:
        case Kind.NETWORK:
            for host in situation.linux_hosts_of(change.name):
                yield from _on(host, _network(change.name, situation))
        case Kind.PORT:
            yield from _port(change.name, old, situation)
        case Kind.POLICY:
            for spec in _specs(change, PolicySpec):
                yield from _around_policy(spec, situation)
        case Kind.OPTION_POLICY:
            networks = {spec.network for spec in _specs(change, OptionPolicySpec)}
            yield from _own_sides(networks, situation)
        case Kind.ROLLOUT:
            networks = {spec.network for spec in _specs(change, RolloutSpec)}
            yield from _own_sides(networks, situation)
        case Kind.OPTION_SCHEMA:
            yield from _own_sides(_networks_of_schema(change.name, old, new), situation)
        case Kind.GROUP:
            yield from _own_sides(_networks_of_group(change.name, old, new), situation)
        case Kind.HOST:
            yield from _host(change, situation)
        case Kind.BINDING | Kind.CAPABILITY | Kind.RETIRED_SLOT:
            pass


def places_of_moves(moves: Moves, situation: LinuxSituation) -> Iterator[Place]:
    """Yield what ports that have another seat make dirty."""
    networks = defaultdict[str, set[str]](set)
    for port, pair in moves.items():
        for seat in pair:
            if seat is not None:
                networks[seat.network].add(port)
    for network, ports in networks.items():
        arrived = Counter(_hosts_in(network, (moves[port][1] for port in ports)))
        left = Counter(_hosts_in(network, (moves[port][0] for port in ports)))
        yield from _moves_in(network, ports, arrived, left, situation)


def places_sharing(changes: Iterable[Change], old: Intent, situation: LinuxSituation) -> Iterator[Place]:
    """Yield the ports that have one interface with a port that came, went or has another."""
    new = situation.intent
    for change in changes:
        if change.kind not in (Kind.PORT, Kind.BINDING):
            continue
        for host in filter(None, {old.host_of(change.name), new.host_of(change.name)}):
            for intent in (old, new):
                name = situation.interface_of(host, intent.ports.get(change.name))
                if name is not None:
                    yield from _at_home(host, situation.ports_at(host).get(name, ()), situation)


def places_of_interfaces(
    host: str, old: Interfaces, new: Interfaces, situation: LinuxSituation
) -> Iterator[Place]:
    """Yield the ports of a host whose interfaces have other names, or came or went."""
    moved = {one for one in {*old, *new} if old.get(one) != new.get(one)}
    # Two ports on one interface are none: whoever shares a name with what moved may be one again.
    names = {name for one in moved for name in (old.get(one), new.get(one)) if name is not None}
    moved |= {one for one, name in new.items() if name in names}
    ports = filter(None, map(situation.intent.port_by_interface_id, moved))
    yield from _at_home(host, ports, situation)


def places_of_underlay(situation: LinuxSituation) -> Iterator[Place]:
    """Yield what depends on the MTU of networks."""
    for host in situation.linux_hosts:
        for network in situation.seats.networks_on(host):
            yield from _on(host, _own_side(host, network, situation))


def _moves_in(
    network: str, ports: Collection[str], arrived: Counter[str], left: Counter[str], situation: LinuxSituation
) -> Iterator[Place]:
    after = situation.seats.hosts_of(network)
    concerned = {*arrived, *left}
    # A host is one of the network's now, or was one, and not both.
    changed = {one for one in concerned if not (one in after and len(after[one]) + left[one] > arrived[one])}
    hosts = {*situation.linux_hosts_of(network), *left}
    for host in hosts:
        yield from _on(host, _ports(ports))
    for host in hosts if changed else ():
        yield from _on(host, _own_side(host, network, situation))
    for host in changed:
        yield from _on(host, _network(network, situation))
    for host in concerned - changed:
        yield from _on(host, _siblings(host, network, situation))


def _port(name: str, old: Intent, situation: LinuxSituation) -> Iterator[Place]:
    # Option policies say the MAC of a sender, wherever it is.
    speaking = (
        intent.option_policies[one]
        for intent in (old, situation.intent)
        for one in intent.policies_from(name)
    )
    yield from _own_sides({policy.spec.network for policy in speaking}, situation)
    seat = situation.seats.of(name)
    if seat is not None:
        for host in situation.linux_hosts_of(seat.network):
            yield host, Part(PartKind.PORT, name)
        yield from _at_home(seat.host, (name,), situation)


def _at_home(host: str, ports: Iterable[str], situation: LinuxSituation) -> Iterator[Place]:
    """Yield ports on their own host, and what there depends on them."""
    networks = set[str]()
    for port in ports:
        seat = situation.seats.of(port)
        if seat is not None and seat.host == host:
            yield host, Part(PartKind.PORT, port)
            networks.add(seat.network)
    for network in networks:
        yield from _on(host, _siblings(host, network, situation))


def _siblings(host: str, network: str, situation: LinuxSituation) -> Iterator[Part]:
    """Yield what depends on which ports of a network are on a host."""
    yield Part(PartKind.NETWORK, network)
    declared = situation.intent.networks.get(network)
    if declared is not None and declared.spec.payload is Payload.IP:
        # Each interface has a proxy for each address.
        yield from _network(network, situation)
    elif situation.intent.policies_of(network):
        # Option policies know senders next door by their MACs.
        yield from _own_side(host, network, situation)


def _around_policy(spec: PolicySpec, situation: LinuxSituation) -> Iterator[Place]:
    """Yield the ports that a policy speaks of, and which groups their hosts tell apart."""
    groups = {spec.to_group, spec.from_group}
    for host in situation.linux_hosts_of(spec.network):
        yield host, Part(PartKind.NETWORK, spec.network)
        ports = situation.seats.hosts_of(spec.network)[host]
        if None not in groups:
            ports = {port for port in ports if situation.intent.ports[port].spec.group in groups}
        yield from _on(host, _ports(ports))


def _host(change: Change, situation: LinuxSituation) -> Iterator[Place]:
    name = change.name
    if _whereabouts(change.old) == _whereabouts(change.new):
        return
    for host in situation.linux_hosts:
        yield host, Part(PartKind.PEER, name)
    for network in situation.seats.networks_on(name):
        for host in situation.linux_hosts_of(network):
            yield from _on(host, _own_side(host, network, situation))
            yield from _on(host, _ports(situation.seats.hosts_of(network)[name]))


def _whereabouts(host: AnyObject | None) -> object:
    if host is None or not isinstance(host.spec, HostSpec):
        return None
    return host.key, host.spec.kind, host.spec.endpoints


def _networks_of_schema(name: str, old: Intent, new: Intent) -> set[str]:
    networks = set[str]()
    for intent in (old, new):
        networks.update(intent.networks_using(name))
        networks.update(intent.rollouts[one].spec.network for one in intent.rollouts_for(name))
    return networks


def _networks_of_group(name: str, old: Intent, new: Intent) -> set[str]:
    networks = set[str]()
    for intent in (old, new):
        networks.update(intent.ports[port].spec.network for port in intent.members_of(name))
        networks.update(intent.policies[one].spec.network for one in intent.policies_of_group(name))
        policies = intent.option_policies_of_group(name)
        networks.update(intent.option_policies[one].spec.network for one in policies)
    return networks


def _own_sides(networks: Iterable[str], situation: LinuxSituation) -> Iterator[Place]:
    """Yield networks on all their Linux hosts, but not the ways from there to other hosts' ports."""
    for network in networks:
        for host in situation.linux_hosts_of(network):
            yield from _on(host, _own_side(host, network, situation))


def _own_side(host: str, network: str, situation: LinuxSituation) -> Iterator[Part]:
    yield Part(PartKind.NETWORK, network)
    yield from _ports(situation.seats.hosts_of(network).get(host, ()))


def _network(name: str, situation: LinuxSituation) -> Iterator[Part]:
    yield Part(PartKind.NETWORK, name)
    for ports in situation.seats.hosts_of(name).values():
        yield from _ports(ports)


def _ports(names: Iterable[str]) -> Iterator[Part]:
    return (Part(PartKind.PORT, name) for name in names)


def _on(host: str, parts: Iterable[Part]) -> Iterator[Place]:
    return ((host, part) for part in parts)


def _hosts_in(network: str, seats: Iterable[Seat | None]) -> Iterator[str]:
    return (seat.host for seat in seats if seat is not None and seat.network == network)


def _specs(change: Change, kind: type[S]) -> Iterator[S]:
    for one in (change.old, change.new):
        if one is not None and isinstance(one.spec, kind):
            yield one.spec
