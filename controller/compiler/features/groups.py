# SPDX-License-Identifier: Apache-2.0
"""Policies between groups, decided at the receiver by the identity that a packet carries.

    GROUPS        always  ARP, neighbour discovery                                  ─► DELIVER
                  related ICMP errors to a group that conntrack knows               ─► conntrack ─► GROUPS_STATE
                  replies from whom a stateful policy lets be asked                 ─► conntrack ─► GROUPS_STATE
                  policy  by priority; at one priority deny, then stateful allow, then allow
                  default of a group that any policy selects                        ─► drop
    GROUPS_STATE  known to conntrack as reply or related ─► DELIVER, else back to GROUPS, where it is no reply any more
    TRACK         on the sender's host: what a protected group starts is committed, so that its replies are known; what
                  answers a stateful policy's connections is shown to conntrack, so that they do not time out there

A reply is let in by three things together: who sends it, from which port, and that conntrack of this host saw the
question. Flows are as many as the rules make, on every host of the network the same; members are in none of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.compiler.features.protocols import (
    ARP,
    ICMP,
    ICMPV6,
    IPV4,
    IPV6,
    MLDV2_REPORT,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    ROUTER_SOLICITATION,
    SCTP,
    TCP,
    UDP,
)
from controller.compiler.group_views import GroupPolicyView, GroupView, Tracking, Traffic
from controller.compiler.pipeline import Priority, Table
from controller.compiler.port_masks import port_terms
from controller.compiler.punts import Punt, send_up
from controller.compiler.registers import DESTINATION_GROUP
from ovs_geneve.openflow.actions import Action, Ct, SetField
from ovs_geneve.openflow.fields import (
    CT_MARK,
    CT_STATE,
    ETH_TYPE,
    ICMPV4_TYPE,
    ICMPV6_TYPE,
    IP_PROTO,
    SCTP_DST,
    SCTP_SRC,
    TCP_DST,
    TCP_SRC,
    TUN_ID,
    UDP_DST,
    UDP_SRC,
)
from ovs_geneve.openflow.flow import Flow, Match, TermLike

Terms = tuple[TermLike, ...]

_SOURCE = {TCP: TCP_SRC, UDP: UDP_SRC, SCTP: SCTP_SRC}
_DESTINATION = {TCP: TCP_DST, UDP: UDP_DST, SCTP: SCTP_DST}

_FAMILIES = {ICMP: (IPV4,), ICMPV6: (IPV6,)}
"Of the protocols that only one version of IP has."

_ERRORS: tuple[Terms, ...] = tuple(
    ((ETH_TYPE, family), (IP_PROTO, protocol), (field, number))
    for family, protocol, field, types in (
        (IPV4, ICMP, ICMPV4_TYPE, (3, 11, 12)),
        (IPV6, ICMPV6, ICMPV6_TYPE, (1, 2, 3, 4)),
    )
    for number in types
)
"Unreachable, too big, time exceeded, parameter problem (RFC 792, RFC 4443): they quote the packet they are about."

# Bits of ct_state (OVS include/openvswitch/packets.h).
_ESTABLISHED, _RELATED, _REPLY, _INVALID, _TRACKED = 0x02, 0x04, 0x08, 0x10, 0x20

_UNTRACKED = (CT_STATE, 0, _TRACKED)
_IS_REPLY = _TRACKED | _ESTABLISHED | _REPLY
_IS_RELATED = _TRACKED | _RELATED


def policy_flows(policy: GroupPolicyView) -> Iterator[Flow]:
    """Yield the flows of a policy."""
    who: Terms = ((TUN_ID, policy.vni), (DESTINATION_GROUP, policy.to_group))
    if policy.from_group is not None:
        who += (policy.identity.sender(policy.from_group),)
    traffic, tracking = policy.traffic, policy.tracking
    if not policy.allow:
        actions = _told(policy.key) if policy.log else ()
        for terms in _packets(traffic):
            yield _rule(policy, 2, (*who, *terms), actions, None)
    elif tracking is None:
        for terms in _packets(traffic):
            yield _rule(policy, 0, (*who, *terms), (), Table.DELIVER)
    else:
        for terms in _ip_packets(traffic):
            yield _rule(policy, 1, (*who, *terms), (_commit(tracking),), Table.DELIVER)
        if traffic.protocol is None:
            # Conntrack knows IP only; a policy for every protocol allows the rest as well.
            yield _rule(policy, 0, who, (), Table.DELIVER)


def group_flows(group: GroupView) -> Iterator[Flow]:
    """Yield what a group has in its network beside the flows of each policy."""
    here: Terms = ((TUN_ID, group.vni),)
    towards = here if group.group is None else (*here, (DESTINATION_GROUP, group.group))
    if group.protected:
        yield from _protection(towards, log=group.log)
    if group.tracked:
        yield from _state(towards, group.tracking)
        yield from _replies(group, towards)
        yield from _track(group, here)


def _protection(towards: Terms, *, log: bool) -> Iterator[Flow]:
    actions = _told(0) if log else ()
    match = Match.of(*towards)
    yield Flow(table=Table.GROUPS, priority=Priority.POLICY_DEFAULT, match=match, actions=actions)
    discovery: Terms = ((ETH_TYPE, IPV6), (IP_PROTO, ICMPV6))
    for icmp_type in (ROUTER_SOLICITATION, MLDV2_REPORT) if log else ():
        # Every IPv6 stack says these to everybody, again and again: they would be all that is told.
        match = Match.of(*towards, *discovery, (ICMPV6_TYPE, icmp_type))
        yield Flow(table=Table.GROUPS, priority=Priority.DEFAULT_EXCEPTION, match=match)
    # Questions to all are answered from the port table; those to one, and the answers, pass between the two alone.
    passing: tuple[Terms, ...] = (
        ((ETH_TYPE, ARP),),
        (*discovery, (ICMPV6_TYPE, NEIGHBOUR_SOLICITATION)),
        (*discovery, (ICMPV6_TYPE, NEIGHBOUR_ADVERTISEMENT)),
    )
    for terms in passing:
        match = Match.of(*towards, *terms)
        yield Flow(table=Table.GROUPS, priority=Priority.ALWAYS, match=match, goto=Table.DELIVER)


def _replies(group: GroupView, towards: Terms) -> Iterator[Flow]:
    """Yield what shows conntrack the packets that may be replies, or errors about what was sent."""
    look = Ct(zone=group.tracking.zone, table=Table.GROUPS_STATE)
    for terms in _ERRORS:
        match = Match.of(*towards, _UNTRACKED, *terms)
        yield Flow(table=Table.GROUPS, priority=Priority.RELATED, match=match, actions=(look,))
    for peer, traffic in group.replies:
        for terms in _ip_packets(traffic, reverse=True):
            match = Match.of(*towards, _UNTRACKED, group.identity.sender(peer), *terms)
            yield Flow(table=Table.GROUPS, priority=Priority.REPLIES, match=match, actions=(look,))


def _state(towards: Terms, tracking: Tracking) -> Iterator[Flow]:
    for state in (_IS_REPLY, _IS_RELATED):
        match = Match.of(*towards, (CT_MARK, tracking.mark), (CT_STATE, state, state | _INVALID))
        yield Flow(table=Table.GROUPS_STATE, priority=Priority.EXACT, match=match, goto=Table.DELIVER)


def _track(group: GroupView, here: Terms) -> Iterator[Flow]:
    who: Terms = here if group.group is None else (*here, group.identity.sender(group.group))
    commit, look = _commit(group.tracking), Ct(zone=group.tracking.zone)
    sent = [(Priority.OVERRIDE, commit, terms) for one in group.starts for terms in _ip_packets(one)]
    sent += [
        (Priority.EXACT, look, terms) for one in group.answers for terms in _ip_packets(one, reverse=True)
    ]
    for priority, action, terms in sent:
        match = Match.of(*who, *terms)
        yield Flow(table=Table.TRACK, priority=priority, match=match, actions=(action,), goto=Table.FORWARD)


def _rule(
    policy: GroupPolicyView, rank: int, terms: Terms, actions: tuple[Action, ...], goto: Table | None
) -> Flow:
    priority = Priority.POLICY + 3 * policy.priority + rank
    return Flow(table=Table.GROUPS, priority=priority, match=Match.of(*terms), actions=actions, goto=goto)


def _commit(tracking: Tracking) -> Ct:
    return Ct(zone=tracking.zone, commit=True, actions=(SetField(CT_MARK, tracking.mark),))


def _told(policy_key: int) -> tuple[Action, ...]:
    """Return what tells the controller of a packet that ends here; key 0 where no policy allows it."""
    return (send_up(Punt.DROP_LOG, policy_key.to_bytes(4)),)


def _packets(traffic: Traffic) -> Iterator[Terms]:
    """Yield what matches the packets of some traffic."""
    if traffic.protocol is None:
        yield ()
    else:
        yield from _ip_packets(traffic)


def _ip_packets(traffic: Traffic, *, reverse: bool = False) -> Iterator[Terms]:
    """Yield what matches its packets of IP, or those that answer them."""
    protocol, ports = traffic
    for family in (IPV4, IPV6) if protocol is None else _FAMILIES.get(protocol, (IPV4, IPV6)):
        terms: Terms = ((ETH_TYPE, family),)
        if protocol is not None:
            terms += ((IP_PROTO, protocol),)
        field = None if protocol is None else (_SOURCE if reverse else _DESTINATION).get(protocol)
        if field is None:
            yield terms
        else:
            yield from ((*terms, *one) for one in port_terms(field, ports))
