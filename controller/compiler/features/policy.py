# SPDX-License-Identifier: Apache-2.0
"""Option policies, at the destination: let in or drop by what a packet's options say.

At one priority drop wins over allow. Where an allow policy selects a port, what no policy allows is dropped.
"""

from __future__ import annotations

from controller.compiler.pipeline import Priority, Table
from controller.compiler.registers import DESTINATION_PORT
from controller.compiler.views import PolicyView
from ovs_geneve.openflow.fields import TUN_ID
from ovs_geneve.openflow.flow import Flow, Match, TermLike


def flow(policy: PolicyView) -> Flow:
    """Return the one flow of a policy."""
    selector = _selector(policy.vni, policy.to_port_key)
    return Flow(
        table=Table.POLICY,
        priority=Priority.POLICY + 2 * policy.priority + (not policy.allow),
        match=Match.of(*selector, *policy.matches),
        goto=Table.GROUPS if policy.allow else None,
    )


def default_flow(vni: int, to_port_key: int | None) -> Flow:
    """Return what refuses the rest where allow policies select a port, or a whole network."""
    match = Match.of(*_selector(vni, to_port_key))
    return Flow(table=Table.POLICY, priority=Priority.POLICY_DEFAULT, match=match)


def _selector(vni: int, to_port_key: int | None) -> tuple[TermLike, ...]:
    # A port belongs to one network; the VNI is matched all the same, so that no mistake elsewhere mixes tenants.
    selector: tuple[TermLike, ...] = ((TUN_ID, vni),)
    return selector if to_port_key is None else (*selector, (DESTINATION_PORT, to_port_key))
