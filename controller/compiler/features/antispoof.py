# SPDX-License-Identifier: Apache-2.0
"""A port may speak only as itself: MAC, IPv4, IPv6, ARP and neighbour discovery.

A port that declares no address is a pure Ethernet port: only its MAC is checked.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.compiler.features.protocols import (
    ARP,
    ARP_REQUEST,
    DHCP_CLIENT,
    DHCP_SERVER,
    ICMPV6,
    IPV4,
    IPV4_BROADCAST,
    IPV6,
    MLDV2_REPORT,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    ROUTER_SOLICITATION,
    UDP,
)
from controller.compiler.pipeline import Priority, Table
from controller.compiler.registers import SOURCE_PORT
from controller.compiler.views import PortView
from ovs_geneve.openflow.fields import (
    ARP_OP,
    ARP_SHA,
    ARP_SPA,
    ETH_SRC,
    ETH_TYPE,
    ICMPV6_TYPE,
    IP_PROTO,
    IPV4_DST,
    IPV4_SRC,
    IPV6_SRC,
    ND_SLL,
    ND_TARGET,
    ND_TLL,
    UDP_DST,
    UDP_SRC,
)
from ovs_geneve.openflow.flow import Flow, Match, TermLike


def flows(port: PortView) -> Iterator[Flow]:
    """Yield ANTISPOOF and ND_GUARD flows of a port on this host."""
    if not port.ipv4 and not port.ipv6:
        yield _admit(port, priority=Priority.OPEN_PORT, goto=Table.STAMP)
        return
    yield _admit(port, priority=Priority.ANY_SOURCE, goto=Table.STAMP)
    if port.ipv4:
        yield from _ipv4(port)
    if port.ipv6:
        yield from _ipv6(port)
        yield from _neighbour_discovery(port)


def _ipv4(port: PortView) -> Iterator[Flow]:
    arp = ((ETH_TYPE, ARP), (ARP_SHA, port.mac))
    for address in port.ipv4:
        yield _admit(port, (ETH_TYPE, IPV4), (IPV4_SRC, address), goto=Table.STAMP)
        yield _admit(port, *arp, (ARP_SPA, address), goto=Table.STAMP)
    # A probe before an address is used has no sender address (RFC 5227 2.1.1).
    yield _admit(port, *arp, (ARP_OP, ARP_REQUEST), (ARP_SPA, 0), goto=Table.STAMP)
    yield _admit(
        port,
        (ETH_TYPE, IPV4),
        (IPV4_SRC, 0),
        (IPV4_DST, IPV4_BROADCAST),
        (IP_PROTO, UDP),
        (UDP_SRC, DHCP_CLIENT),
        (UDP_DST, DHCP_SERVER),
        goto=Table.STAMP,
    )


def _ipv6(port: PortView) -> Iterator[Flow]:
    for address in port.ipv6:
        yield _admit(port, (ETH_TYPE, IPV6), (IPV6_SRC, address), goto=Table.ND_GUARD)
    # What a node says before it has an address: it looks for duplicates and routers, joins groups.
    for icmp_type in (NEIGHBOUR_SOLICITATION, ROUTER_SOLICITATION, MLDV2_REPORT):
        unspecified: tuple[TermLike, ...] = (
            (ETH_TYPE, IPV6),
            (IPV6_SRC, 0),
            (IP_PROTO, ICMPV6),
            (ICMPV6_TYPE, icmp_type),
        )
        yield _admit(port, *unspecified, goto=Table.ND_GUARD)


def _neighbour_discovery(port: PortView) -> Iterator[Flow]:
    # A link-layer address of 0 is how OVS shows a message without that option.
    for link_layer in (port.mac, 0):
        yield _nd(port, NEIGHBOUR_SOLICITATION, (ND_SLL, link_layer))
        for address in port.ipv6:
            yield _nd(port, NEIGHBOUR_ADVERTISEMENT, (ND_TARGET, address), (ND_TLL, link_layer))


def _nd(port: PortView, icmp_type: int, *terms: TermLike) -> Flow:
    match = Match.of(
        (SOURCE_PORT, port.key), (ETH_TYPE, IPV6), (IP_PROTO, ICMPV6), (ICMPV6_TYPE, icmp_type), *terms
    )
    return Flow(table=Table.ND_GUARD, priority=Priority.EXACT, match=match, goto=Table.STAMP)


def _admit(port: PortView, *terms: TermLike, goto: Table, priority: Priority = Priority.EXACT) -> Flow:
    match = Match.of((SOURCE_PORT, port.key), (ETH_SRC, port.mac), *terms)
    return Flow(table=Table.ANTISPOOF, priority=priority, match=match, goto=goto)
