# SPDX-License-Identifier: Apache-2.0
"""Probes from other hosts: read by the controller, sent back to where they came from, and never to a port.

A probe passes the tables that tenants' packets pass, so that what lets them in is proved with it: an endpoint of this
host, a peer that is known. OAM packets that are no probes end in CLASSIFY, probes of strangers in PEERS.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.compiler.features.tunnel import to_own_endpoint
from controller.compiler.pipeline import Priority, Table
from controller.intent.model import Address
from ovs_geneve.geneve.probe import ECHO_MAC, ETHERTYPE, REQUEST_MAC
from ovs_geneve.openflow.actions import OFPP_IN_PORT, Action, Controller, Move, Output, SetField
from ovs_geneve.openflow.fields import (
    ETH_DST,
    ETH_TYPE,
    TUN_DST,
    TUN_FLAGS,
    TUN_IPV6_DST,
    TUN_IPV6_SRC,
    TUN_SRC,
)
from ovs_geneve.openflow.flow import Flow, Match, TermLike

OAM = 1
"FLOW_TNL_F_OAM, the O bit of RFC 8926 3.4 (OVS include/openvswitch/packets.h)."

USERDATA = b"probe"
"What packet-ins of probes are known by."

_A_PROBE: tuple[TermLike, ...] = (TUN_FLAGS, OAM, OAM), (ETH_TYPE, ETHERTYPE)

_BACK: tuple[Action, ...] = (
    SetField(ETH_DST, ECHO_MAC),
    # The address of the other family is zero, and so stays that of nobody.
    Move(TUN_SRC, TUN_DST, bits=32),
    Move(TUN_IPV6_SRC, TUN_IPV6_DST, bits=128),
    Output(OFPP_IN_PORT),
)
"Out of the tunnel port, with the VNI and the options that came in."


def flows() -> Iterator[Flow]:
    """Yield what becomes of probes that got as far as RECEIVE; every host has these alike."""
    report = Controller(userdata=USERDATA)
    for address, actions in ((REQUEST_MAC, (report, *_BACK)), (ECHO_MAC, (report,))):
        yield Flow(
            table=Table.RECEIVE,
            priority=Priority.PROBE,
            match=Match.of(*_A_PROBE, (ETH_DST, address)),
            actions=actions,
        )
    # What is neither a request nor an echo is no tenant's packet either.
    yield Flow(table=Table.RECEIVE, priority=Priority.OVERRIDE, match=Match.of((TUN_FLAGS, OAM, OAM)))


def own_endpoint_flows(endpoints: Iterable[Address]) -> Iterator[Flow]:
    """Yield what lets in probes that were sent to this host's endpoints."""
    for address in endpoints:
        yield Flow(
            table=Table.CLASSIFY,
            priority=Priority.PROBE,
            match=Match.of(*to_own_endpoint(address), *_A_PROBE),
            goto=Table.PEERS,
        )
