# SPDX-License-Identifier: Apache-2.0
"""Questions for neighbours disturb nobody but whom they are about.

ARP is answered by the asker's own switch, from the port table. Neighbour discovery is sent to the owner of the address
alone, who answers: no Linux kernel's datapath can write an advertisement (docs/decisions/0010-kernel-datapath.md).
Only questions to everybody are touched; a unicast question asks whether the neighbour is alive and goes to it anyway.
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
    NEIGHBOUR_SOLICITATION,
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
    ND_TARGET,
    TUN_ID,
)
from ovs_geneve.openflow.flow import Flow, Match, TermLike

OFPP_IN_PORT = 0xFFFFFFF8


def flows(port: PortView) -> Iterator[Flow]:
    """Yield what becomes of who has the port's addresses: the same on every host of the network."""
    for address in port.ipv4:
        yield _asked(port, _arp_question(address), _arp_reply(port.mac, address))
    for address in port.ipv6:
        yield _asked(port, _solicitation(address), (SetField(ETH_DST, port.mac),), goto=Table.TRACK)


def _asked(
    port: PortView, question: tuple[TermLike, ...], actions: tuple[Action, ...], goto: Table | None = None
) -> Flow:
    to_all: TermLike = (ETH_DST, MULTICAST_BIT, MULTICAST_BIT)
    return Flow(
        table=Table.NEIGHBOURS,
        priority=Priority.EXACT,
        match=Match.of((TUN_ID, port.vni), to_all, *question),
        actions=actions,
        goto=goto,
    )


def _arp_question(address: int) -> tuple[TermLike, ...]:
    return (ETH_TYPE, ARP), (ARP_OP, ARP_REQUEST), (ARP_TPA, address)


def _arp_reply(mac: int, address: int) -> tuple[Action, ...]:
    return (
        Move(ETH_SRC, ETH_DST, 48),
        SetField(ETH_SRC, mac),
        SetField(ARP_OP, ARP_REPLY),
        Move(ARP_SHA, ARP_THA, 48),
        Move(ARP_SPA, ARP_TPA, 32),
        SetField(ARP_SHA, mac),
        SetField(ARP_SPA, address),
        Output(OFPP_IN_PORT),
    )


def _solicitation(address: int) -> tuple[TermLike, ...]:
    return (
        (ETH_TYPE, IPV6),
        (IP_PROTO, ICMPV6),
        (ICMPV6_TYPE, NEIGHBOUR_SOLICITATION),
        (ICMPV6_CODE, 0),
        (ND_TARGET, address),
    )
