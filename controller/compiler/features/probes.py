# SPDX-License-Identifier: Apache-2.0
"""Probes from other hosts: read by the controller, sent back to where they came from, and never to a port.

A probe passes the tables that tenants' packets pass, so that what lets them in is proved with it: an endpoint of this
host, a peer that is known. Probes of strangers end in PEERS.

No tenant can send what is taken for a probe. Where the O bit is looked at that is what tells them apart; OAM packets
that are no probes end in CLASSIFY. Where it is not (docs/decisions/0012-offload.md), a VNI is that no network has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.compiler.features.tunnel import to_own_endpoint
from controller.compiler.pipeline import Priority, Table
from controller.compiler.punts import Punt, send_up
from controller.intent.model import PROBE_VNI, Address
from ovs_geneve.geneve.probe import BARE_ECHO_MAC, BARE_REQUEST_MAC, ECHO_MAC, ETHERTYPE, REQUEST_MAC
from ovs_geneve.openflow.actions import OFPP_IN_PORT, Action, Move, Output, SetField
from ovs_geneve.openflow.fields import (
    ETH_DST,
    ETH_TYPE,
    TUN_DST,
    TUN_FLAGS,
    TUN_ID,
    TUN_IPV6_DST,
    TUN_IPV6_SRC,
    TUN_SRC,
    XXREG3,
    tun_metadata,
)
from ovs_geneve.openflow.flow import Flow, Match, TermLike
from ovs_geneve.openflow.tlv_table import TlvMap

OAM = 1
"FLOW_TNL_F_OAM, the O bit of RFC 8926 3.4 (OVS include/openvswitch/packets.h)."

O_BIT: TermLike = (TUN_FLAGS, OAM, OAM)
OWN_VNI: TermLike = (TUN_ID, PROBE_VNI)

_DESTINATIONS = (
    (REQUEST_MAC, ECHO_MAC),
    (BARE_REQUEST_MAC, BARE_ECHO_MAC),
)

_BACK: tuple[Action, ...] = (
    # The address of the other family is zero, and so stays that of nobody.
    Move(TUN_SRC, TUN_DST, bits=32),
    Move(TUN_IPV6_SRC, TUN_IPV6_DST, bits=128),
    Output(OFPP_IN_PORT),
)
"Out of the tunnel port, with the VNI and the options that came in."


def flows(maps: Iterable[TlvMap], known_by: TermLike) -> Iterator[Flow]:
    """Yield what becomes of probes that got as far as RECEIVE; hosts that know them by the same have these alike."""
    report = (*_each_by_itself(maps), send_up(Punt.PROBE))
    for request, echo in _DESTINATIONS:
        yield _flow((known_by, (ETH_DST, request)), (*report, SetField(ETH_DST, echo), *_BACK))
        yield _flow((known_by, (ETH_DST, echo)), report)


def _flow(terms: tuple[TermLike, ...], actions: tuple[Action, ...]) -> Flow:
    match = Match.of(*terms, (ETH_TYPE, ETHERTYPE))
    return Flow(table=Table.RECEIVE, priority=Priority.PROBE, match=match, actions=actions)


def _each_by_itself(maps: Iterable[TlvMap]) -> Iterator[Action]:
    """Yield what keeps a datapath from taking probes with other options for the same.

    Packets that one megaflow takes are all reported, and sent back, with the options of the first (OVS 3.1
    ofproto-dpif-upcall.c: frozen_metadata_to_flow). Options that were read are part of the megaflow: so read every bit.
    """
    for option in maps:
        field = tun_metadata(option.index, option.length)
        for offset in range(0, field.bits, XXREG3.bits):
            yield Move(field, XXREG3, bits=min(XXREG3.bits, field.bits - offset), source_offset=offset)


def own_endpoint_flows(endpoints: Iterable[Address]) -> Iterator[Flow]:
    """Yield what lets in probes that were sent to this host's endpoints, past what ends OAM packets."""
    for address in endpoints:
        yield Flow(
            table=Table.CLASSIFY,
            priority=Priority.PROBE,
            match=Match.of(*to_own_endpoint(address), O_BIT, (ETH_TYPE, ETHERTYPE)),
            goto=Table.PEERS,
        )
