# SPDX-License-Identifier: Apache-2.0
"""Short ways to say what the intent tests need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address

from controller.intent.commands import Command, Delete, Forget, Put, evaluate
from controller.intent.companions import rollout_name
from controller.intent.intent import Intent
from controller.intent.model import (
    CapabilitySpec,
    GroupSpec,
    HostSpec,
    Kind,
    NetworkSpec,
    OptionMatch,
    OptionPolicySpec,
    OptionSchemaSpec,
    OptionValue,
    PolicyAction,
    PolicySpec,
    PortSpec,
    RetiredSlotSpec,
    RolloutSpec,
)
from ovs_geneve.geneve.fields import FieldKind, OptionField, OptionLayout

TIER = OptionField(name="tier", kind=FieldKind.UINT, offset=0, bits=8)
ZONE = OptionField(name="zone", kind=FieldKind.UINT, offset=8, bits=16)


def host(*endpoints: str, **rest) -> HostSpec:
    return HostSpec(endpoints=tuple(ip_address(address) for address in endpoints), **rest)


def network(vni=None, *options: str, values: Mapping[str, int] = {}, **rest) -> NetworkSpec:
    return NetworkSpec(vni=vni, options=options, values=option_values(values), **rest)


def port(network: str, mac: int, *addresses: str, values: Mapping[str, int] = {}, **rest) -> PortSpec:
    return PortSpec(
        network=network,
        mac=0x020000000000 + mac,
        addresses=tuple(ip_address(address) for address in addresses),
        values=option_values(values),
        **rest,
    )


def schema(option_type=1, *, option_class=0xFF00, length=4, fields=(TIER, ZONE), **rest) -> OptionSchemaSpec:
    layout = OptionLayout(
        name="any", option_class=option_class, option_type=option_type, length=length, fields=tuple(fields)
    )
    return OptionSchemaSpec(layout=layout, **rest)


def policy(network: str, matches: Mapping[str, tuple[int, int]] = {}, **rest) -> OptionPolicySpec:
    match = tuple(
        OptionMatch(schema=name.rpartition(".")[0], field=name.rpartition(".")[2], value=value, mask=mask)
        for name, (value, mask) in matches.items()
    )
    return OptionPolicySpec(network=network, match=match, **{"action": PolicyAction.ALLOW, **rest})


def option_values(values: Mapping[str, int]) -> tuple[OptionValue, ...]:
    return tuple(
        OptionValue(schema=name.rpartition(".")[0], field=name.rpartition(".")[2], value=value)
        for name, value in values.items()
    )


def rolled_out(network_name: str, schema_name: str) -> Forget:
    """Say that an option's way into a network, or out of it, is over."""
    return Forget(kind=Kind.ROLLOUT, name=rollout_name(network_name, schema_name))


def rested(slot: int) -> Forget:
    """Say that a slot may be given again."""
    return Forget(kind=Kind.RETIRED_SLOT, name=f"slot-{slot}")


def group(identity: int | None = None) -> GroupSpec:
    return GroupSpec(identity=identity)


def group_policy(network: str, to: str, **rest) -> PolicySpec:
    return PolicySpec(network=network, to_group=to, **rest)


KINDS = {
    HostSpec: Kind.HOST,
    NetworkSpec: Kind.NETWORK,
    PortSpec: Kind.PORT,
    OptionSchemaSpec: Kind.OPTION_SCHEMA,
    OptionPolicySpec: Kind.OPTION_POLICY,
    GroupSpec: Kind.GROUP,
    PolicySpec: Kind.POLICY,
    CapabilitySpec: Kind.CAPABILITY,
    RolloutSpec: Kind.ROLLOUT,
    RetiredSlotSpec: Kind.RETIRED_SLOT,
}


def put(name: str, spec, **rest) -> Put:
    return Put(kind=KINDS[type(spec)], name=name, spec=spec, **rest)


def delete(what: str, **rest) -> Delete:
    kind, _, name = what.partition("/")
    return Delete(kind=Kind(kind), name=name, **rest)


def after(intent: Intent, *commands: Command) -> Intent:
    """Return the intent with the commands done, one revision each that changes something."""
    for command in commands:
        decision = evaluate(intent, command)
        if decision.changes:
            intent = intent.with_changes(decision.changes, intent.revision + 1)
    return intent


def fabric() -> Intent:
    """Two hosts, two networks, one option on one of them, two ports and a policy there."""
    return after(
        Intent(),
        put("hv1", host("192.0.2.1", "2001:db8::1", ovsdb="ssl:192.0.2.1:6640")),
        put("hv2", host("192.0.2.2", system_id="second")),
        put("context", schema(1)),
        put("spare", schema(2, length=8)),
        put("blue", network(100, "context", values={"context.zone": 7})),
        put("red", network(200, "spare")),
        put("web1", port("blue", 1, "10.0.0.1", "2001:db8:1::1", values={"context.tier": 2})),
        put("db1", port("blue", 2, "10.0.0.2", interface_id="database")),
        put("far1", port("red", 1, "10.0.0.1")),
        put("tier2-only", policy("blue", {"context.tier": (2, 0xFF)}, to_port="db1")),
    )


def without_revision(intent: Intent) -> Intent:
    return replace(intent, revision=0)
