# SPDX-License-Identifier: Apache-2.0
"""A port that packets are steered through: what it passes on for others goes to the next one, or where it is addressed.

It sends their frames as they are, so its source MAC is not checked: who declares a chain trusts its ports as senders in
this network. What it says under its own MAC is held to its own addresses like any port's, and is not steered.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.compiler.features.policy_actions import to_port_directly
from controller.compiler.features.protocols import (
    ARP,
    IPV4,
    IPV6,
    MULTICAST_BIT,
    RARP,
    SERVICE_VLAN,
    VLAN,
)
from controller.compiler.pipeline import Priority, Table
from controller.compiler.policy_views import HopView
from controller.compiler.registers import MARKS, SOURCE_PORT, Mark
from ovs_geneve.openflow.actions import Action, Resubmit, SetField
from ovs_geneve.openflow.fields import ETH_DST, ETH_SRC, ETH_TYPE
from ovs_geneve.openflow.flow import Flow, Match


def flows(hop: HopView) -> Iterator[Flow]:
    """Yield what a service port's own host has besides what every port's has."""
    yield _recognised(hop)
    yield from _itself(hop)
    yield _passed_on(hop)
    yield _onwards(hop)


def _recognised(hop: HopView) -> Flow:
    return Flow(
        table=Table.ANTISPOOF,
        priority=Priority.OVERRIDE,
        match=Match.of((SOURCE_PORT, hop.key), (MARKS, 0, Mark.SERVICE), (ETH_DST, 0, MULTICAST_BIT)),
        actions=(SetField(MARKS, Mark.SERVICE, Mark.SERVICE), Resubmit(Table.ANTISPOOF)),
    )


def _itself(hop: HopView) -> Iterator[Flow]:
    # Between what its own addresses let pass (EXACT) and what others' frames may: as every port is judged.
    own = (SOURCE_PORT, hop.key), (ETH_SRC, hop.mac)
    for ethertype in (ARP, RARP, IPV4, IPV6, VLAN, SERVICE_VLAN) if hop.has_addresses else ():
        yield Flow(
            table=Table.ANTISPOOF,
            priority=Priority.SERVICE_REFUSE,
            match=Match.of(*own, (ETH_TYPE, ethertype)),
        )
    yield Flow(
        table=Table.ANTISPOOF, priority=Priority.SERVICE_ITSELF, match=Match.of(*own), goto=Table.STAMP
    )


def _passed_on(hop: HopView) -> Flow:
    match = Match.of((SOURCE_PORT, hop.key), (MARKS, Mark.SERVICE, Mark.SERVICE), (ETH_SRC, 0, MULTICAST_BIT))
    actions = (SetField(MARKS, Mark.CHAINED, Mark.CHAINED),)
    return Flow(
        table=Table.ANTISPOOF, priority=Priority.PASSED_ON, match=match, actions=actions, goto=Table.STAMP
    )


def _onwards(hop: HopView) -> Flow:
    actions: tuple[Action, ...] = () if hop.position is None else (SetField(*hop.position),)
    if hop.next_key is not None:
        actions += to_port_directly(hop.next_key)
    return Flow(
        table=Table.EGRESS,
        priority=Priority.CHAIN,
        match=Match.of((SOURCE_PORT, hop.key), (MARKS, Mark.CHAINED, Mark.CHAINED)),
        actions=actions,
        goto=Table.NEIGHBOURS,
    )
