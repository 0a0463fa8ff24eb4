# SPDX-License-Identifier: Apache-2.0
"""The tunnel side of a host: its own endpoints, the peers it believes, the way to a port elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.compiler.pipeline import TUNNEL_OFPORT, Priority, Table
from controller.compiler.views import PortView
from controller.intent.model import Address
from ovs_geneve.openflow.actions import Action, Output, SetField
from ovs_geneve.openflow.fields import (
    ETH_DST,
    IN_PORT,
    TUN_DST,
    TUN_ID,
    TUN_IPV6_DST,
    TUN_IPV6_SRC,
    TUN_SRC,
    Field,
)
from ovs_geneve.openflow.flow import Flow, Match, TermLike

_SOURCE: dict[int, Field] = {4: TUN_SRC, 6: TUN_IPV6_SRC}
_DESTINATION: dict[int, Field] = {4: TUN_DST, 6: TUN_IPV6_DST}


def own_endpoint_flows(endpoints: Iterable[Address]) -> Iterator[Flow]:
    """Yield what lets in packets that were sent to this host's endpoints."""
    for address in endpoints:
        yield Flow(
            table=Table.CLASSIFY,
            priority=Priority.EXACT,
            match=Match.of(*to_own_endpoint(address)),
            goto=Table.PEERS,
        )


def to_own_endpoint(address: Address) -> tuple[TermLike, ...]:
    """Return what matches packets from the tunnel that were sent to an endpoint of this host."""
    return (IN_PORT, TUNNEL_OFPORT), (_DESTINATION[address.version], int(address))


def peer_flows(endpoints: Iterable[Address]) -> Iterator[Flow]:
    """Yield what believes packets from a peer: a flow-based vport itself takes them from anybody."""
    for address in endpoints:
        yield Flow(
            table=Table.PEERS,
            priority=Priority.EXACT,
            match=Match.of((_SOURCE[address.version], int(address))),
            goto=Table.RECEIVE,
        )


def remote_port_flow(port: PortView, endpoint: Address) -> Flow:
    """Return the way to a port that is plugged into the host at `endpoint`."""
    return Flow(
        table=Table.FORWARD,
        priority=Priority.EXACT,
        match=Match.of((TUN_ID, port.vni), (ETH_DST, port.mac)),
        actions=to_endpoint(endpoint),
    )


def to_endpoint(endpoint: Address) -> tuple[Action, ...]:
    """Return the actions that send a packet to a host."""
    return SetField(_DESTINATION[endpoint.version], int(endpoint)), Output(TUNNEL_OFPORT)
