# SPDX-License-Identifier: Apache-2.0
"""What policies with `allow` select: there, what none of them allows is refused. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from controller.compiler.features import policy
from controller.compiler.policy_views import group_match
from controller.compiler.views import NetworkView, identity_of
from controller.intent.intent import Intent
from controller.intent.model import (
    Direction,
    NetworkSpec,
    Object,
    OptionPolicySpec,
    PolicyAction,
    PortSpec,
)
from ovs_geneve.openflow.flow import Flow


def selected_port(spec: OptionPolicySpec) -> str | None:
    """Return the port that a policy selects: it is on that port's host alone."""
    return spec.from_port if spec.direction is Direction.EGRESS else spec.to_port


def _selected_group(spec: OptionPolicySpec) -> str | None:
    return spec.from_group if spec.direction is Direction.EGRESS else spec.to_group


def network_defaults(intent: Intent, network: Object[NetworkSpec], view: NetworkView) -> Iterator[Flow]:
    """Yield what refuses the rest of a network's packets, or of those of a group in it."""
    specs = (intent.option_policies[name].spec for name in intent.policies_of(network.name))
    selected = {
        (spec.direction, _selected_group(spec))
        for spec in specs
        if spec.action is PolicyAction.ALLOW and selected_port(spec) is None
    }
    for direction, group in sorted(selected, key=repr):
        if group is None:
            yield from policy.default_flows(view.vni, direction, ())
        elif direction is Direction.INGRESS:
            terms = policy.selects_destination_group(identity_of(intent, group))
            yield from policy.default_flows(view.vni, direction, terms)
        elif (match := group_match(intent, group, view)) is not None:
            yield from policy.default_flows(view.vni, direction, (match,))


def port_defaults(intent: Intent, port: Object[PortSpec], network: NetworkView) -> Iterator[Flow]:
    """Yield what refuses the rest of a port's packets, on its own host."""
    for direction in Direction:
        names = {*intent.policies_to(port.name), *intent.policies_from(port.name)}
        specs = [intent.option_policies[name].spec for name in names]
        if any(
            spec.action is PolicyAction.ALLOW
            and spec.direction is direction
            and selected_port(spec) == port.name
            for spec in specs
        ):
            terms = policy.selects_port(direction, port.key)
            yield from policy.default_flows(network.vni, direction, terms)
