# SPDX-License-Identifier: Apache-2.0
"""Option policies: where packets enter the overlay (EGRESS) and where they leave it (POLICY).

A policy is one flow for each combination of what it matches. The switch's priority decides: 1000 + 2 x priority, one
more for drop. A policy with a verdict ends the table. One without acts, marks the packet and has it looked up in the
same table again, where only those with a verdict see it:

    priority=1400,reg4=0/0x1,…  actions=…,set_field:0x1/0x1->reg4,resubmit(,25)     no verdict
    priority=1200,…             actions=…,goto_table:30                              allow
    priority=500,reg0=7         actions=drop                                         what nobody allowed of port 7
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controller.compiler.features.policy_actions import actions_of
from controller.compiler.features.protocols import (
    ARP,
    ICMPV6,
    IPV6,
    MULTICAST_BIT,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    SCTP,
    TCP,
    UDP,
)
from controller.compiler.pipeline import Priority, Table
from controller.compiler.policy_views import PolicyView
from controller.compiler.registers import DESTINATION_GROUP, DESTINATION_PORT, MARKS, SOURCE_PORT, Mark
from controller.intent.conditions import Condition
from controller.intent.model import Direction, PolicyAction
from controller.intent.port_masks import PortMask
from controller.intent.rules import Prefix, Steer
from ovs_geneve.openflow.actions import Resubmit, SetField
from ovs_geneve.openflow.fields import (
    ETH_DST,
    ETH_SRC,
    ETH_TYPE,
    ICMPV6_TYPE,
    IP_DSCP,
    IP_PROTO,
    IPV4_DST,
    IPV4_SRC,
    IPV6_DST,
    IPV6_SRC,
    SCTP_DST,
    SCTP_SRC,
    TCP_DST,
    TCP_SRC,
    TUN_ID,
    UDP_DST,
    UDP_SRC,
    Field,
)
from ovs_geneve.openflow.flow import Flow, Match, TermLike


class _Stage(NamedTuple):
    """Where the policies of a direction are."""

    table: Table
    after: Table
    acted: Mark


class _Variant(NamedTuple):
    """Of the flows of a policy, those for some packets."""

    detour: bool = False
    marks: int = 0
    asked: int = 0
    "Which bits of MARKS must be as in `marks`."


_PLAIN = (_Variant(),)
_DETOUR = (_Variant(detour=True, asked=Mark.SERVICE), _Variant(marks=Mark.SERVICE, asked=Mark.SERVICE))
"What a service sends of its own is not sent through itself."

_STAGES = {
    Direction.EGRESS: _Stage(Table.EGRESS, Table.NEIGHBOURS, Mark.ACTED_EGRESS),
    Direction.INGRESS: _Stage(Table.POLICY, Table.GROUPS, Mark.ACTED_INGRESS),
}

_PORTS = {TCP: (TCP_SRC, TCP_DST), UDP: (UDP_SRC, UDP_DST), SCTP: (SCTP_SRC, SCTP_DST)}
_ADDRESSES = {4: (IPV4_SRC, IPV4_DST), 6: (IPV6_SRC, IPV6_DST)}

Terms = tuple[TermLike, ...]


def flows(policy: PolicyView) -> Iterator[Flow]:
    """Yield the flows of a policy, as many as `conditions.flows_of_policy` says."""
    steers = any(isinstance(action, Steer) for action in policy.actions)
    for condition in policy.conditions:
        for variant in _DETOUR if steers else _PLAIN:
            yield _flow(policy, condition, variant)


def default_flows(vni: int, direction: Direction, selector: Terms) -> Iterator[Flow]:
    """Yield what refuses the rest where allow policies select a port, a group, or a whole network."""
    stage = _STAGES[direction]
    terms: Terms = ((TUN_ID, vni), *selector)
    yield Flow(table=stage.table, priority=Priority.POLICY_DEFAULT, match=Match.of(*terms))
    if direction is Direction.EGRESS:
        for neighbours in _neighbour_questions():
            yield Flow(
                table=stage.table,
                priority=Priority.DEFAULT_EXCEPTION,
                match=Match.of(*terms, *neighbours),
                goto=stage.after,
            )


def selects_port(direction: Direction, key: int) -> Terms:
    """Return what the packets of a port have in the table of a direction."""
    return (((SOURCE_PORT if direction is Direction.EGRESS else DESTINATION_PORT), key),)


def selects_destination_group(identity: int) -> Terms:
    """Return what packets to the ports of a group have in POLICY."""
    return ((DESTINATION_GROUP, identity),)


def _neighbour_questions() -> Iterator[Terms]:
    # Without them no packet finds its destination; they are answered from the port table, or to the port alone.
    yield ((ETH_TYPE, ARP),)
    for icmp_type in (NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT):
        yield (ETH_TYPE, IPV6), (IP_PROTO, ICMPV6), (ICMPV6_TYPE, icmp_type)


def _flow(policy: PolicyView, condition: Condition, variant: _Variant) -> Flow:
    stage = _STAGES[policy.direction]
    actions = actions_of(policy, steers=variant.detour)
    asked = variant.asked
    if policy.verdict is None:
        asked |= stage.acted
        actions = (*actions, SetField(MARKS, stage.acted, stage.acted), Resubmit(stage.table))
    terms = (*_selected(policy, variant.marks, asked), *policy.matches, *_headers(condition))
    if variant.detour and policy.to_port is None and condition.destination_mac is None:
        # A broadcast would come back from the end of the chain to who sent it.
        terms = (*terms, (ETH_DST, 0, MULTICAST_BIT))
    return Flow(
        table=stage.table,
        priority=Priority.POLICY + 2 * policy.priority + (policy.verdict is PolicyAction.DROP),
        match=Match.of(*terms),
        actions=actions,
        goto=stage.after if policy.verdict is PolicyAction.ALLOW else None,
    )


def _selected(policy: PolicyView, marks: int, asked: int) -> Iterator[TermLike]:
    # A port belongs to one network; the VNI is matched all the same, so that no mistake elsewhere mixes tenants.
    yield TUN_ID, policy.vni
    egress = policy.direction is Direction.EGRESS
    if policy.from_port is not None:
        yield (SOURCE_PORT, policy.from_port.key) if egress else (ETH_SRC, policy.from_port.mac)
    if policy.to_port is not None:
        yield (ETH_DST, policy.to_port.mac) if egress else (DESTINATION_PORT, policy.to_port.key)
    if policy.to_group is not None:
        yield DESTINATION_GROUP, policy.to_group
    if (policy.to_port if egress else policy.from_port) is not None:
        asked |= Mark.BY_PORT
    if policy.from_group:
        asked |= Mark.BY_GROUP
    if asked:
        yield MARKS, marks, asked


def _headers(condition: Condition) -> Iterator[TermLike]:
    """Yield what a flow matches of a packet's headers, and what OpenFlow wants to be matched before that."""
    exact: tuple[tuple[Field, int | None], ...] = (
        (ETH_SRC, condition.source_mac),
        (ETH_DST, condition.destination_mac),
        (ETH_TYPE, condition.ethertype),
        (IP_PROTO, condition.protocol),
        (IP_DSCP, condition.dscp),
    )
    yield from ((field, value) for field, value in exact if value is not None)
    for side, prefix in enumerate((condition.source, condition.destination)):
        if prefix is not None:
            yield _prefix(_ADDRESSES[prefix.version][side], prefix)
    for side, ports in enumerate((condition.source_ports, condition.destination_ports)):
        if ports is not None and condition.protocol is not None:
            yield _ports(_PORTS[condition.protocol][side], ports)


def _prefix(field: Field, prefix: Prefix) -> TermLike:
    return field, int(prefix.network_address), int(prefix.netmask)


def _ports(field: Field, ports: PortMask) -> TermLike:
    return field, ports.value, ports.mask
