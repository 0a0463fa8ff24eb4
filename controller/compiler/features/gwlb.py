# SPDX-License-Identifier: Apache-2.0
"""A host as the target of an AWS-style gateway load balancer: packets go back to it with the options they came with.

    gateway ─► PEERS ─► RECEIVE ─► back to the gateway     endpoint, attachment and cookie are there: all three
                           └─────► dropped, and counted    anything else of that VNI

The gateway finds the flow of a returned packet by its three options (class 0x0108, types 1, 2 and 3) and by nothing
else, so they go back as they came. What is done with the inner packet meanwhile is nothing: this is a target that
lets everything pass, and the place where a service chain begins. What OVS does by itself and no flow can change: it
writes options in the order of their slots, drops those it has no slot for, picks the outer source port anew, and takes
Ethernet frames alone (protocol type 0x6558). Its datapath caches what it writes, so every value of a cookie, which is
every connection, has a megaflow of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from controller.compiler.pipeline import TUNNEL_OFPORT, Priority, Table
from controller.intent.model import Address
from ovs_geneve.errors import EncodeError
from ovs_geneve.openflow.actions import OFPP_IN_PORT, Action, Move, Output, SetField
from ovs_geneve.openflow.fields import (
    IN_PORT,
    TUN_DST,
    TUN_ID,
    TUN_IPV6_DST,
    TUN_IPV6_SRC,
    TUN_SRC,
    Field,
    tun_metadata,
)
from ovs_geneve.openflow.flow import Flow, Match, TermLike
from ovs_geneve.values import Vni

_ENDS: dict[int, tuple[Field, Field]] = {4: (TUN_SRC, TUN_DST), 6: (TUN_IPV6_SRC, TUN_IPV6_DST)}

_ENDPOINT_LENGTH, _ATTACHMENT_LENGTH, _COOKIE_LENGTH = 8, 8, 4
"Bytes of data (ovs_geneve/geneve/profiles.toml, aws-gwlb). OVS refuses another length before any flow sees it."


@dataclass(frozen=True, slots=True, kw_only=True)
class GwlbSlots:
    """Which tun_metadata the three options of class 0x0108 have; EncodeError unless they ascend."""

    endpoint: int
    attachment: int
    cookie: int

    def __post_init__(self) -> None:
        # OVS writes options in the order of slots (lib/tun-metadata.c), a gateway in that of their types.
        if not self.endpoint < self.attachment < self.cookie:
            order = f"endpoint {self.endpoint}, attachment {self.attachment}, cookie {self.cookie}"
            raise EncodeError(
                "slots", f"{order}: want them to ascend, or the options go back in another order"
            )


def flows(vni: Vni, slots: GwlbSlots, gateways: Iterable[Address]) -> Iterator[Flow]:
    """Yield what makes a host a target on a VNI, for gateways at these underlay addresses.

    The VNI must have no ports of ours, and a gateway is believed on that VNI only.
    """
    yield Flow(table=Table.RECEIVE, priority=Priority.REFUSE, match=Match.of((TUN_ID, vni)))
    for gateway in gateways:
        source, _ = _ENDS[gateway.version]
        yield Flow(
            table=Table.PEERS,
            priority=Priority.OVERRIDE,
            match=Match.of((source, int(gateway)), (TUN_ID, vni)),
            goto=Table.RECEIVE,
        )
        yield _return_flow(vni, slots, gateway)


def _return_flow(vni: Vni, slots: GwlbSlots, gateway: Address) -> Flow:
    source, destination = _ENDS[gateway.version]
    # A mask of zero asks whether an option is there, whatever it says.
    present: tuple[TermLike, ...] = tuple((option, 0, 0) for option in _options(slots))
    match = Match.of((IN_PORT, TUNNEL_OFPORT), (TUN_ID, vni), (source, int(gateway)), *present)
    # A datapath flow that sends into a tunnel has the options to write as constants, from the first packet that met it:
    # OVS 3.1 does not match what it only writes, and later packets would go back with the first one's cookie. A move
    # reads, and what is read is matched, so each option is moved onto itself.
    # The address the gateway sent to becomes the source, where the vport leaves that to flows; else OVS takes the
    # address of the route back.
    actions: tuple[Action, ...] = (
        *(Move(option, option, option.bits) for option in _options(slots)),
        Move(destination, source, destination.bits),
        SetField(destination, int(gateway)),
        Output(OFPP_IN_PORT),
    )
    # Below the option firewall, which drops packets with an option that is declared for others besides.
    return Flow(table=Table.RECEIVE, priority=Priority.EXACT, match=match, actions=actions)


def _options(slots: GwlbSlots) -> tuple[Field, ...]:
    return (
        tun_metadata(slots.endpoint, _ENDPOINT_LENGTH),
        tun_metadata(slots.attachment, _ATTACHMENT_LENGTH),
        tun_metadata(slots.cookie, _COOKIE_LENGTH),
    )
