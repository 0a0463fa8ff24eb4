# SPDX-License-Identifier: Apache-2.0
"""Flows that every host has alike: the last flow of each table, and rules that concern no object."""

from __future__ import annotations

from collections.abc import Iterator

from controller.compiler.features import direct, probes
from controller.compiler.features.protocols import (
    ARP,
    ICMPV6,
    IPV4,
    IPV6,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    RARP,
    REDIRECT,
    ROUTER_ADVERTISEMENT,
    SCTP,
    SERVICE_VLAN,
    TCP,
    VLAN,
)
from controller.compiler.pipeline import TUNNEL_OFPORT, Priority, Table
from ovs_geneve.openflow.actions import Resubmit
from ovs_geneve.openflow.fields import (
    ETH_DST,
    ETH_TYPE,
    ICMPV6_TYPE,
    IN_PORT,
    IP_FRAG,
    IP_PROTO,
    IPV6_DST,
    IPV6_SRC,
    SCTP_DST,
    SCTP_SRC,
    TCP_DST,
    TCP_SRC,
)
from ovs_geneve.openflow.flow import Flow, Match

_RESERVED_MAC = 0x0180C2000000
_RESERVED_MAC_MASK = 0xFFFFFFFFFFF0

_ANY_FRAGMENT, _LATER_FRAGMENT = 1, 2
"FLOW_NW_FRAG_ANY and FLOW_NW_FRAG_LATER (OVS lib/flow.h): the first fragment has the one bit without the other."

_LINK_LOCAL, _LINK_LOCAL_MASK = 0xFE80 << 112, 0xFFC0 << 112
_ON_LINK_GROUP, _ON_LINK_MASK = 0xFF02 << 112, 0xFFFF << 112

_PASSES = {
    Table.ND_GUARD: Table.STAMP,
    Table.EGRESS: Table.NEIGHBOURS,
    Table.NEIGHBOURS: Table.TRACK,
    Table.TRACK: Table.FORWARD,
    Table.POLICY: Table.GROUPS,
    Table.GROUPS: Table.DELIVER,
}
"Tables that let pass what they have nothing to say about; the others drop it."

_GOES_BACK = {Table.GROUPS_STATE: (Resubmit(Table.GROUPS),)}
"Not a loop: what conntrack has seen matches no flow that sends it there."


def flows() -> Iterator[Flow]:
    """Yield what the pipeline has before the first object is declared."""
    for table in Table:
        actions = _GOES_BACK.get(table, ())
        yield Flow(
            table=table, priority=Priority.MISS, match=Match.of(), actions=actions, goto=_PASSES.get(table)
        )
    yield _link_local_frames()
    yield from _unproved_sources()
    yield from _tiny_fragments()
    yield from _neighbour_discovery()
    yield direct.detour_flow()


def oam_flows() -> Iterator[Flow]:
    """Yield what ends OAM packets on hosts that look at the O bit (docs/decisions/0012: not those that offload)."""
    # OVS does not act on the O bit by itself; RFC 8926 3.4: the payload is not for tenants.
    match = Match.of((IN_PORT, TUNNEL_OFPORT), probes.O_BIT)
    yield Flow(table=Table.CLASSIFY, priority=Priority.OVERRIDE, match=match)
    # Probes go on to RECEIVE. What is none of them there is no tenant's packet either.
    yield Flow(table=Table.RECEIVE, priority=Priority.OVERRIDE, match=Match.of(probes.O_BIT))


def _link_local_frames() -> Flow:
    # Spanning tree, PAUSE and LLDP are for the next device only: no bridge passes them on (IEEE 802.1Q 8.6.3).
    match = Match.of((ETH_DST, _RESERVED_MAC, _RESERVED_MAC_MASK))
    return Flow(table=Table.ANTISPOOF, priority=Priority.OVERRIDE, match=match)


def _unproved_sources() -> Iterator[Flow]:
    # A port's own addresses pass above this priority, its other Ethernet types below it.
    # A second tag, behind the one that was taken off, would hide addresses.
    for ethertype in (ARP, RARP, IPV4, IPV6, VLAN, SERVICE_VLAN):
        yield Flow(table=Table.ANTISPOOF, priority=Priority.REFUSE, match=Match.of((ETH_TYPE, ethertype)))


def _tiny_fragments() -> Iterator[Flow]:
    # A first fragment may end behind the first bytes of the L4 header (RFC 1858 3). OVS shows no ports of it
    # (lib/flow.c: miniflow_extract), so no policy on ports sees it, yet its receiver puts it together.
    for ethertype in (IPV4, IPV6):
        for protocol, source, destination in ((TCP, TCP_SRC, TCP_DST), (SCTP, SCTP_SRC, SCTP_DST)):
            match = Match.of(
                (ETH_TYPE, ethertype),
                (IP_FRAG, _ANY_FRAGMENT, _ANY_FRAGMENT | _LATER_FRAGMENT),
                (IP_PROTO, protocol),
                (source, 0),
                (destination, 0),
            )
            yield Flow(table=Table.ANTISPOOF, priority=Priority.OVERRIDE, match=match)


def _neighbour_discovery() -> Iterator[Flow]:
    for icmp_type in (
        ROUTER_ADVERTISEMENT,
        REDIRECT,
        NEIGHBOUR_SOLICITATION,
        NEIGHBOUR_ADVERTISEMENT,
    ):
        match = Match.of((ETH_TYPE, IPV6), (IP_PROTO, ICMPV6), (ICMPV6_TYPE, icmp_type))
        yield Flow(table=Table.ND_GUARD, priority=Priority.REFUSE, match=match)
    # A fragment does not show its ICMPv6 type. Nodes ignore fragmented neighbour discovery (RFC 6980 5), old ones may
    # not: none leaves a port from where router advertisements come, or towards all neighbours.
    for terms in (((IPV6_SRC, _LINK_LOCAL, _LINK_LOCAL_MASK),), ((IPV6_DST, _ON_LINK_GROUP, _ON_LINK_MASK),)):
        match = Match.of((ETH_TYPE, IPV6), (IP_FRAG, _ANY_FRAGMENT, _ANY_FRAGMENT), *terms)
        yield Flow(table=Table.ND_GUARD, priority=Priority.OVERRIDE, match=match)
    # Duplicate address detection asks everybody: an answer in the owner's name would have no address to go to.
    probe = Match.of(
        (ETH_TYPE, IPV6), (IP_PROTO, ICMPV6), (ICMPV6_TYPE, NEIGHBOUR_SOLICITATION), (IPV6_SRC, 0)
    )
    yield Flow(table=Table.NEIGHBOURS, priority=Priority.OVERRIDE, match=probe, goto=Table.FORWARD)
