# SPDX-License-Identifier: Apache-2.0
"""What Linux hosts can not do. Pure.

Admission refuses it; what is stored all the same is left out as a whole, and said.
"""

from __future__ import annotations

from controller.intent.intent import Intent
from controller.intent.model import (
    HostSpec,
    InnerVlan,
    NetworkSpec,
    Object,
    PortSpec,
)


def refusal_of_network(intent: Intent, host: Object[HostSpec], network: Object[NetworkSpec]) -> str | None:
    """Return why no port of the network can be on this host; None when one can."""
    if network.spec.inner_vlan is InnerVlan.STRIP:
        return f"{network.id} takes VLAN tags off, which its host can not"
    return None


def refusal_of_port(intent: Intent, host: Object[HostSpec], port: Object[PortSpec]) -> str | None:
    """Return why a port can not be on this host; None when it can."""
    network, group = port.spec.network, port.spec.group
    if group is not None:
        for name in intent.policies_between(network):
            policy = intent.policies[name]
            if not policy.spec.stateful:
                continue
            if policy.spec.to_group == group:
                return f"{policy.id} remembers connections to its group {group}, which its host can not"
            if policy.spec.from_group in (None, group) and intent.policies_to_group(network, group):
                return f"{policy.id} lets in answers to its group {group}, which its host can not"
    if intent.policies_sending_to(port.name):
        policy_name = min(intent.policies_sending_to(port.name))
        return (
            f"option-policy/{policy_name} sends packets to it whatever their MAC, which its host can not take"
        )
    return None
