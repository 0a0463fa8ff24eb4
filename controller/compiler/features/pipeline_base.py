# SPDX-License-Identifier: Apache-2.0
"""Flows that every host has alike: the last flow of each table, and rules that concern no object."""

from __future__ import annotations

from collections.abc import Iterator

from controller.compiler.features import neighbours
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
)
from controller.compiler.pipeline import TUNNEL_OFPORT, Priority, Table
from ovs_geneve.openflow.fields import ETH_TYPE, ICMPV6_TYPE, IN_PORT, IP_PROTO, IPV6_SRC, TUN_FLAGS
from ovs_geneve.openflow.flow import Flow, Match

_OAM = 1
"FLOW_TNL_F_OAM, the O bit of RFC 8926 3.4 (OVS include/openvswitch/packets.h)."

_PASSES = {
    Table.ND_GUARD: Table.STAMP,
    Table.NEIGHBOURS: Table.FORWARD,
    Table.POLICY: Table.DELIVER,
}
"Tables that let pass what they have nothing to say about; the others drop it."


def flows() -> Iterator[Flow]:
    """Yield what the pipeline has before the first object is declared."""
    for table in Table:
        yield Flow(table=table, priority=Priority.MISS, match=Match.of(), goto=_PASSES.get(table))
    yield _oam_ends_here()
    yield from _unproved_sources()
    yield from _neighbour_discovery()
    yield neighbours.advertise_flow()


def _oam_ends_here() -> Flow:
    # OVS does not act on the O bit by itself; RFC 8926 3.4: the payload is not for tenants.
    match = Match.of((IN_PORT, TUNNEL_OFPORT), (TUN_FLAGS, _OAM, _OAM))
    return Flow(table=Table.CLASSIFY, priority=Priority.OVERRIDE, match=match)


def _unproved_sources() -> Iterator[Flow]:
    # A port's own addresses pass above this priority, its other Ethernet types below it.
    for ethertype in (ARP, RARP, IPV4, IPV6):
        yield Flow(table=Table.ANTISPOOF, priority=Priority.REFUSE, match=Match.of((ETH_TYPE, ethertype)))


def _neighbour_discovery() -> Iterator[Flow]:
    for icmp_type in (
        ROUTER_ADVERTISEMENT,
        REDIRECT,
        NEIGHBOUR_SOLICITATION,
        NEIGHBOUR_ADVERTISEMENT,
    ):
        match = Match.of((ETH_TYPE, IPV6), (IP_PROTO, ICMPV6), (ICMPV6_TYPE, icmp_type))
        yield Flow(table=Table.ND_GUARD, priority=Priority.REFUSE, match=match)
    # Duplicate address detection asks everybody: an answer in the owner's name would have no address to go to.
    probe = Match.of(
        (ETH_TYPE, IPV6), (IP_PROTO, ICMPV6), (ICMPV6_TYPE, NEIGHBOUR_SOLICITATION), (IPV6_SRC, 0)
    )
    yield Flow(table=Table.NEIGHBOURS, priority=Priority.OVERRIDE, match=probe, goto=Table.FORWARD)
