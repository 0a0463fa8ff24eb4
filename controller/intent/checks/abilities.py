# SPDX-License-Identifier: Apache-2.0
"""Nothing is asked of a host that it cannot do: neither by what is declared, nor by a port that comes to it.

What is stored already stays as it is: a change is refused for what it adds to what the ports on a host need.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from typing import cast

from controller.errors import Conflict
from controller.intent.intent import Intent
from controller.intent.model import (
    AnyObject,
    Change,
    HostSpec,
    Kind,
    NetworkSpec,
    Object,
    OptionPolicySpec,
    PolicySpec,
    PortSpec,
    object_id,
)
from controller.intent.needs import (
    Demand,
    Need,
    demands_of,
    demands_of_network,
    demands_of_option_policy,
    demands_of_policy,
    lacks,
)
from controller.intent.rules import ports_named


def refusal(intent: Intent, host: str, port: Object[PortSpec]) -> Conflict | None:
    """Return why a port cannot be on a host; None when it can."""
    unable = lacks(intent, intent.hosts[host])
    found = (demand for demand in demands_of(intent, port) if demand.need in unable)
    first = next(found, None)
    if first is None:
        return None
    reason = f"{_cannot(host, first.need, unable[first.need])}; {first.by} needs that of {port.id}"
    return Conflict("host-cannot", reason, holder=first.by)


def check_bind(intent: Intent, host: str, port: Object[PortSpec]) -> None:
    """Refuse a port on a host that cannot do what it needs."""
    refused = refusal(intent, host, port)
    if refused is not None:
        raise refused


def check_may_be_target(intent: Intent, name: str, at: str) -> None:
    """Refuse a host as a target of a gateway load balancer that cannot be one."""
    reason = lacks(intent, intent.hosts[name]).get(Need.TARGET)
    if reason is not None:
        holder = object_id(Kind.HOST, name)
        raise Conflict("host-cannot", _cannot(name, Need.TARGET, reason), pointer=at, holder=holder)


def check_change(intent: Intent, old: AnyObject | None, new: AnyObject) -> None:
    """Refuse a change by which some port would need what the host that it is on cannot do."""
    match new.spec:
        case HostSpec():
            _check_host(intent, old, cast("Object[HostSpec]", new))
        case PortSpec():
            _check_port(intent, old, cast("Object[PortSpec]", new))
        case NetworkSpec() | PolicySpec() | OptionPolicySpec() if intent.linux_hosts:
            _check_asked(intent, old, new)
        case _:
            pass


def _check_host(intent: Intent, old: AnyObject | None, new: Object[HostSpec]) -> None:
    if old is None:
        return
    unable = lacks(intent, new)
    lost = unable.keys() - lacks(intent, cast("Object[HostSpec]", old)).keys()
    ports = (intent.ports[name] for name in (sorted(intent.ports_on(new.name)) if lost else ()))
    for port in ports:
        for demand in demands_of(intent, port):
            if demand.need in lost:
                reason = f"{_cannot(new.name, demand.need, unable[demand.need])}; {demand.by} needs that of {port.id}"
                raise Conflict("host-cannot", reason, pointer="/tunnels", holder=demand.by)


def _check_port(intent: Intent, old: AnyObject | None, new: Object[PortSpec]) -> None:
    host = intent.host_of(new.name)
    if old is None or host is None or host not in intent.hosts:
        return
    unable = lacks(intent, intent.hosts[host])
    before = set(demands_of(intent, cast("Object[PortSpec]", old)))
    for demand in demands_of(intent, new):
        if demand.need in unable and demand not in before:
            cannot = _cannot(host, demand.need, unable[demand.need])
            reason = f"{cannot}; {demand.by} needs that of group {new.spec.group}"
            raise Conflict("host-cannot", reason, pointer="/group", holder=demand.by)


def _check_asked(intent: Intent, old: AnyObject | None, new: AnyObject) -> None:
    change = Change(kind=new.kind, name=new.name, old=old, new=new)
    after = intent.with_changes((change,), intent.revision)
    for port, host in _one_of_each(intent, new):
        unable = lacks(intent, intent.hosts[host])
        before = set() if old is None else set(_demands(intent, old, port))
        for demand in _demands(after, new, port):
            if demand.need in unable and demand not in before:
                own = demand.by == new.id
                reason = f"{_cannot(host, demand.need, unable[demand.need])}; {port.id} is there"
                at, why = (demand.at, reason) if own else ("", f"{reason}, and {demand.by} needs it then")
                raise Conflict("host-cannot", why, pointer=at, holder=object_id(Kind.HOST, host))


def _demands(intent: Intent, held: AnyObject, port: Object[PortSpec]) -> Iterator[Demand]:
    """Yield what an object, as it is in an intent, makes a port of its network need."""
    match held.spec:
        case NetworkSpec():
            yield from demands_of_network(intent, cast("Object[NetworkSpec]", held))
        case OptionPolicySpec(network=network) if network == port.spec.network:
            yield from demands_of_option_policy(cast("Object[OptionPolicySpec]", held), port)
        case PolicySpec(network=network, to_group=group) if network == port.spec.network:
            # A group that becomes protected has answers to remember, which others' policies let in.
            whole = group == port.spec.group
            names: Iterable[str] = sorted(intent.policies_between(network)) if whole else ()
            others = (intent.policies[name] for name in names if name != held.name)
            for one in (cast("Object[PolicySpec]", held), *others):
                yield from demands_of_policy(intent, one, port.spec.group)
        case _:
            pass


def _one_of_each(intent: Intent, new: AnyObject) -> Iterator[tuple[Object[PortSpec], str]]:
    """Yield ports of an object's network on Linux hosts, with the host; of those that differ in nothing only one."""
    seen = set[tuple[object, ...]]()
    for port, host in _on_linux_hosts(intent, _network_of(new)):
        told = intent.capabilities.get(host)
        able = intent.hosts[host].spec.tunnels, () if told is None else told.spec.lacks
        what: tuple[object, ...] = ()
        if isinstance(new.spec, PolicySpec):
            what = (port.spec.group,)
        elif isinstance(new.spec, OptionPolicySpec):
            what = port.spec.group, port.name in _named(new.spec) and port.name
        if (able, *what) not in seen:
            seen.add((able, *what))
            yield port, host


def _on_linux_hosts(intent: Intent, network: str) -> Iterator[tuple[Object[PortSpec], str]]:
    there = [(name, host) for host in sorted(intent.linux_hosts) for name in sorted(intent.ports_on(host))]
    for name, host in there:
        port = intent.ports.get(name)
        if port is not None and port.spec.network == network:
            yield port, host


def _network_of(held: AnyObject) -> str:
    match held.spec:
        case PolicySpec(network=network) | OptionPolicySpec(network=network):
            return network
        case _:
            return held.name


def _named(policy: OptionPolicySpec) -> Set[str | None]:
    return {policy.from_port, policy.to_port, *ports_named(policy.actions)}


def _cannot(host: str, need: Need, reason: str) -> str:
    return f"host {host} cannot do {need}: {reason}"
