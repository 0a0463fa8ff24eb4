# SPDX-License-Identifier: Apache-2.0
"""A port that is plugged into this host: recognise it, stamp what it sends, deliver what is for it."""

from __future__ import annotations

from collections.abc import Iterator

from controller.compiler.features import antispoof
from controller.compiler.features.protocols import ARP, ICMPV6, IPV6, NEIGHBOUR_SOLICITATION
from controller.compiler.pipeline import Priority, Table
from controller.compiler.registers import DESTINATION_GROUP, DESTINATION_PORT, INNER_VLAN, SOURCE_PORT
from controller.compiler.views import PortView
from ovs_geneve.openflow.actions import Action, Move, Output, PopVlan, SetField
from ovs_geneve.openflow.fields import (
    ARP_TPA,
    ETH_DST,
    ETH_TYPE,
    ICMPV6_TYPE,
    IN_PORT,
    IP_PROTO,
    ND_TARGET,
    TUN_ID,
    VLAN_VID,
)
from ovs_geneve.openflow.flow import Flow, Match

_TAGGED = 1 << 12
"OFPVID_PRESENT (OpenFlow 1.5.1, 7.2.3.9)."

_VLAN_ID_BITS = 12


def flows(port: PortView, ofport: int) -> Iterator[Flow]:
    """Yield every flow that only the host of a port has."""
    yield from _classify(port, ofport)
    yield from antispoof.flows(port)
    yield _stamp(port)
    yield from _own_neighbour_questions(port)
    for table in (Table.FORWARD, Table.RECEIVE):
        yield _towards(port, table)
    yield _deliver(port, ofport)


def _classify(port: PortView, ofport: int) -> Iterator[Flow]:
    # A tag would hide addresses from the tables that follow: tagged frames match nothing here, or lose it.
    source = SetField(SOURCE_PORT, port.key)
    yield Flow(
        table=Table.CLASSIFY,
        priority=Priority.EXACT,
        match=Match.of((IN_PORT, ofport), (VLAN_VID, 0)),
        actions=(source,),
        goto=Table.ANTISPOOF,
    )
    if port.strips_vlan:
        yield Flow(
            table=Table.CLASSIFY,
            priority=Priority.EXACT,
            match=Match.of((IN_PORT, ofport), (VLAN_VID, _TAGGED, _TAGGED)),
            actions=(source, Move(VLAN_VID, INNER_VLAN, _VLAN_ID_BITS), PopVlan()),
            goto=Table.ANTISPOOF,
        )


def _stamp(port: PortView) -> Flow:
    # Whatever a guest sends has no tunnel metadata yet: these are the only options that leave the host.
    options: tuple[Action, ...] = tuple(SetField(field, value) for field, value in port.stamps)
    return Flow(
        table=Table.STAMP,
        priority=Priority.EXACT,
        match=Match.of((SOURCE_PORT, port.key)),
        actions=(SetField(TUN_ID, port.vni), *options),
        goto=Table.EGRESS,
    )


def _own_neighbour_questions(port: PortView) -> Iterator[Flow]:
    # A port that asks for its own address announces it or looks for duplicates: others hear it, we do not answer.
    own_arp = [((ETH_TYPE, ARP), (ARP_TPA, a)) for a in port.ipv4]
    solicitation = ((ETH_TYPE, IPV6), (IP_PROTO, ICMPV6), (ICMPV6_TYPE, NEIGHBOUR_SOLICITATION))
    own_nd = [(*solicitation, (ND_TARGET, a)) for a in port.ipv6]
    for terms in (*own_arp, *own_nd):
        yield Flow(
            table=Table.NEIGHBOURS,
            priority=Priority.OVERRIDE,
            match=Match.of((SOURCE_PORT, port.key), *terms),
            goto=Table.FORWARD,
        )


def _towards(port: PortView, table: Table) -> Flow:
    return Flow(
        table=table,
        priority=Priority.EXACT,
        match=Match.of((TUN_ID, port.vni), (ETH_DST, port.mac)),
        actions=to_port(port.key, port.group),
        goto=Table.POLICY,
    )


def to_port(port_key: int, group: int) -> tuple[Action, ...]:
    """Return the actions that say for which port of this host a packet is, and of which group that one is."""
    return SetField(DESTINATION_PORT, port_key), SetField(DESTINATION_GROUP, group)


def _deliver(port: PortView, ofport: int) -> Flow:
    return Flow(
        table=Table.DELIVER,
        priority=Priority.EXACT,
        match=Match.of((DESTINATION_PORT, port.key)),
        actions=(Output(ofport),),
    )
