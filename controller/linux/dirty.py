# SPDX-License-Identifier: Apache-2.0
"""From what changed to the parts of Linux hosts that must be compiled anew. Pure.

A network's part on a host depends on the whole network: its ports, wherever they are, the hosts that have them, and the
policies and options of it. So what matters is which networks a change touches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.intent.intent import Intent
from controller.intent.model import (
    AnyObject,
    Change,
    Kind,
    OptionPolicySpec,
    PolicySpec,
    PortSpec,
    RolloutSpec,
)
from controller.linux.part import Interfaces
from controller.linux.situation import LinuxSituation


def ports_to_seat(changes: Iterable[Change], old: Intent, new: Intent) -> Iterator[str]:
    """Yield the ports that may have another seat after the changes."""
    for change in changes:
        if change.kind in (Kind.PORT, Kind.BINDING):
            yield change.name
        elif change.kind is Kind.HOST:
            yield from old.ports_on(change.name)
            yield from new.ports_on(change.name)


def networks_touched(change: Change, old: Intent, new: Intent) -> Iterator[str]:
    """Yield the networks whose parts one changed object makes dirty, where ports sit apart."""
    match change.kind:
        case Kind.NETWORK:
            yield change.name
        case Kind.PORT | Kind.POLICY | Kind.OPTION_POLICY | Kind.ROLLOUT:
            yield from _networks_of((change.old, change.new))
        case Kind.HOST:
            for intent in (old, new):
                yield from _networks_of(intent.ports.get(port) for port in intent.ports_on(change.name))
        case Kind.OPTION_SCHEMA:
            for intent in (old, new):
                yield from intent.networks_using(change.name)
                yield from _networks_of(intent.rollouts[name] for name in intent.rollouts_for(change.name))
        case Kind.GROUP:
            for intent in (old, new):
                yield from _networks_of(intent.ports[name] for name in intent.members_of(change.name))
                yield from _networks_of(
                    intent.policies[name] for name in intent.policies_of_group(change.name)
                )
                policies = intent.option_policies_of_group(change.name)
                yield from _networks_of(intent.option_policies[name] for name in policies)
        case Kind.BINDING | Kind.CAPABILITY | Kind.RETIRED_SLOT:
            pass


def networks_sharing(changes: Iterable[Change], old: Intent, situation: LinuxSituation) -> Iterator[str]:
    """Yield the networks of ports that have one interface with a port that came, went or has another."""
    new = situation.intent
    for change in changes:
        if change.kind not in (Kind.PORT, Kind.BINDING):
            continue
        for host in filter(None, {old.host_of(change.name), new.host_of(change.name)}):
            for intent in (old, new):
                name = situation.interface_of(host, intent.ports.get(change.name))
                yield from () if name is None else situation.networks_at(host, name)


def networks_of_interfaces(old: Interfaces, new: Interfaces, intent: Intent) -> set[str | None]:
    """Return the networks of the ports whose interfaces have other names, or came or went."""
    moved = {one for one in {*old, *new} if old.get(one) != new.get(one)}
    # Two ports on one interface are none: whoever shares a name with what moved may be one again.
    names = {name for one in moved for name in (old.get(one), new.get(one)) if name is not None}
    moved |= {one for one, name in new.items() if name in names}
    ports = (intent.port_by_interface_id(one) for one in moved)
    return {intent.ports[port].spec.network for port in ports if port is not None}


def _networks_of(objects: Iterable[AnyObject | None]) -> Iterator[str]:
    for one in objects:
        match None if one is None else one.spec:
            case PortSpec() | PolicySpec() | OptionPolicySpec() | RolloutSpec() as spec:
                yield spec.network
            case _:
                pass
