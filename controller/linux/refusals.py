# SPDX-License-Identifier: Apache-2.0
"""What Linux hosts can not do. Pure.

Admission refuses it; what is stored all the same is left out as a whole, and said.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.compiler.policy_defaults import selected_port
from controller.intent.intent import Intent
from controller.intent.model import (
    Direction,
    HostSpec,
    InnerVlan,
    Kind,
    NetworkSpec,
    Object,
    OptionPolicySpec,
    Payload,
    PortSpec,
    TunnelStyle,
    object_id,
)
from controller.linux.option_rules import is_expressible
from ovs_geneve.values import is_critical


def refusal_of_network(intent: Intent, host: Object[HostSpec], network: Object[NetworkSpec]) -> str | None:
    """Return why no port of the network can be on this host; None when one can."""
    spec = network.spec
    if spec.inner_vlan is InnerVlan.STRIP:
        return f"{network.id} takes VLAN tags off"
    if spec.payload is Payload.IP:
        if spec.options:
            return f"{network.id} carries options, and tunnels of IP carry none"
    elif host.spec.tunnels is TunnelStyle.FIXED:
        return _refusal_of_options(intent, network)
    return None


def refusal_of_port(intent: Intent, host: Object[HostSpec], port: Object[PortSpec]) -> str | None:
    """Return why a port can not be on this host; None when it can."""
    return next(_refusals(intent, host, port), None)


def _refusal_of_options(intent: Intent, network: Object[NetworkSpec]) -> str | None:
    """Return why devices that send no option, and drop packets with a critical one, are not enough."""
    carried = {
        *network.spec.options,
        *(_schema_of(intent, name) for name in intent.rollouts_of(network.name)),
    }
    for name in sorted(carried):
        if is_critical(intent.option_schemas[name].spec.layout.option_type):
            return f"{network.id} carries option {name}, which is critical: fixed tunnels drop its packets"
    for name in sorted(intent.policies_of(network.name)):
        policy = intent.option_policies[name].spec
        if policy.match or policy.from_group is not None:
            return f"option-policy/{name} looks at options, which fixed tunnels do not send"
    return None


def _schema_of(intent: Intent, rollout: str) -> str:
    return intent.rollouts[rollout].spec.schema


def _refusals(intent: Intent, host: Object[HostSpec], port: Object[PortSpec]) -> Iterator[str]:
    spec = intent.networks[port.spec.network].spec
    one_for_all = spec.payload is Payload.ETHERNET and host.spec.tunnels is TunnelStyle.METADATA
    if spec.payload is Payload.IP:
        if port.spec.group is not None:
            yield "it has a group, and tunnels of IP carry none"
        if not port.spec.addresses:
            yield "it declares no address, and its network is one of IP"
    if port.spec.group is not None:
        yield from _of_group(intent, host, port.spec.network, port.spec.group)
    for name in sorted(intent.policies_of(port.spec.network)):
        policy = intent.option_policies[name].spec
        if _selects(policy, port) and (not one_for_all or not is_expressible(policy)):
            yield f"option-policy/{name} is about its packets, and does more than filters can"
    if intent.policies_sending_to(port.name):
        yield f"option-policy/{min(intent.policies_sending_to(port.name))} sends packets to it whatever their MAC"


def _of_group(intent: Intent, host: Object[HostSpec], network: str, group: str) -> Iterator[str]:
    protected = bool(intent.policies_to_group(network, group))
    for name in sorted(intent.policies_between(network)):
        policy, who = intent.policies[name].spec, object_id(Kind.POLICY, name)
        if host.spec.tunnels is TunnelStyle.FIXED:
            if policy.to_group == group:
                yield f"{who} protects its group {group}, and fixed tunnels do not say who sends"
            if policy.from_group == group:
                yield f"{who} speaks of its group {group}, which fixed tunnels do not send"
        if policy.stateful and policy.to_group == group:
            yield f"{who} remembers connections to its group {group}"
        if policy.stateful and protected and policy.from_group in (None, group):
            yield f"{who} lets in answers to its group {group}"


def _selects(policy: OptionPolicySpec, port: Object[PortSpec]) -> bool:
    """Tell whether an option policy is carried out where this port is."""
    chosen = selected_port(policy)
    group = policy.from_group if policy.direction is Direction.EGRESS else policy.to_group
    return chosen in (None, port.name) and group in (None, port.spec.group)
