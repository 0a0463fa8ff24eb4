# SPDX-License-Identifier: Apache-2.0
"""ARP and neighbour discovery are answered by the asker's own switch, from the port table.

Only questions to everybody are answered; a unicast question asks whether the neighbour is alive and goes to it.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.compiler.features.protocols import (
    ARP,
    ARP_REPLY,
    ARP_REQUEST,
    ICMPV6,
    IPV6,
    MULTICAST_BIT,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    SOLICITED_OVERRIDE,
    TARGET_LINK_LAYER_ADDRESS,
)
from controller.compiler.pipeline import Priority, Table
from controller.compiler.views import PortView
from ovs_geneve.openflow.actions import Action, Move, Output, SetField
from ovs_geneve.openflow.fields import (
    ARP_OP,
    ARP_SHA,
    ARP_SPA,
    ARP_THA,
    ARP_TPA,
    ETH_DST,
    ETH_SRC,
    ETH_TYPE,
    ICMPV6_CODE,
    ICMPV6_TYPE,
    IP_PROTO,
    IP_TTL,
    IPV6_DST,
    IPV6_SRC,
    ND_OPTIONS_TYPE,
    ND_RESERVED,
    ND_TARGET,
    ND_TLL,
    TUN_ID,
)
from ovs_geneve.openflow.flow import Flow, Match, TermLike

OFPP_IN_PORT = 0xFFFFFFF8

_ND_HOP_LIMIT = 255
"Receivers drop anything less: it proves that no router was on the way (RFC 4861 7.1.2)."


def flows(port: PortView) -> Iterator[Flow]:
    """Yield the answers to who has the port's addresses: the same on every host of the network."""
    for address in port.ipv4:
        reply = (*_arp_reply(port.mac, address), Output(OFPP_IN_PORT))
        yield _answer(port, _arp_question(address), reply, goto=None)
    for address in port.ipv6:
        yield _answer(port, _solicitation(address), _advertisement(address), goto=Table.ADVERTISE)


def advertise_flow() -> Flow:
    """Return the one flow that completes and sends every ND answer; its sender is set by then."""
    match = Match.of(
        (ETH_TYPE, IPV6), (IP_PROTO, ICMPV6), (ICMPV6_TYPE, NEIGHBOUR_ADVERTISEMENT), (ICMPV6_CODE, 0)
    )
    return Flow(
        table=Table.ADVERTISE,
        priority=Priority.EXACT,
        match=match,
        actions=(Move(ETH_SRC, ND_TLL, 48), Output(OFPP_IN_PORT)),
    )


def _answer(
    port: PortView, question: tuple[TermLike, ...], reply: tuple[Action, ...], goto: Table | None
) -> Flow:
    to_all: TermLike = (ETH_DST, MULTICAST_BIT, MULTICAST_BIT)
    return Flow(
        table=Table.NEIGHBOURS,
        priority=Priority.EXACT,
        match=Match.of((TUN_ID, port.vni), to_all, *question),
        actions=(Move(ETH_SRC, ETH_DST, 48), SetField(ETH_SRC, port.mac), *reply),
        goto=goto,
    )


def _arp_question(address: int) -> tuple[TermLike, ...]:
    return (ETH_TYPE, ARP), (ARP_OP, ARP_REQUEST), (ARP_TPA, address)


def _arp_reply(mac: int, address: int) -> tuple[Action, ...]:
    return (
        SetField(ARP_OP, ARP_REPLY),
        Move(ARP_SHA, ARP_THA, 48),
        Move(ARP_SPA, ARP_TPA, 32),
        SetField(ARP_SHA, mac),
        SetField(ARP_SPA, address),
    )


def _solicitation(address: int) -> tuple[TermLike, ...]:
    return (
        (ETH_TYPE, IPV6),
        (IP_PROTO, ICMPV6),
        (ICMPV6_TYPE, NEIGHBOUR_SOLICITATION),
        (ICMPV6_CODE, 0),
        (ND_TARGET, address),
    )


def _advertisement(address: int) -> tuple[Action, ...]:
    return (
        Move(IPV6_SRC, IPV6_DST, 128),
        SetField(IPV6_SRC, address),
        SetField(ICMPV6_TYPE, NEIGHBOUR_ADVERTISEMENT),
        SetField(ND_OPTIONS_TYPE, TARGET_LINK_LAYER_ADDRESS),
        SetField(ND_RESERVED, SOLICITED_OVERRIDE),
        SetField(IP_TTL, _ND_HOP_LIMIT),
    )
