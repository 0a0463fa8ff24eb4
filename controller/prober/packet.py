# SPDX-License-Identifier: Apache-2.0
"""A shot as what a bridge is told to send, on the way that tenants' packets take; and what bridges report. Pure."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from controller.compiler.features.probes import OAM
from controller.compiler.features.tunnel import to_endpoint
from controller.intent.model import Address
from controller.prober.model import Leg, Shot, Sighting, Target
from controller.prober.patterns import data_of, options_of
from ovs_geneve.geneve.probe import Pattern, Probe, encode
from ovs_geneve.openflow.actions import Action, SetField
from ovs_geneve.openflow.fields import TUN_FLAGS, TUN_ID, TUN_IPV6_SRC, TUN_SRC, tun_metadata
from ovs_geneve.openflow.packet_in import PacketIn


def frame(shot: Shot, run: int) -> bytes:
    """Return the frame of a shot."""
    return encode(Probe(run=run, sequence=shot.sequence, pattern=shot.pattern, size=shot.size))


def actions(leg: Leg, pattern: Pattern) -> tuple[Action, ...]:
    """Return what the source's bridge does with it: the VNI, every option of the network, the O bit, out."""
    return (*_stamps(leg.target, pattern), *to_endpoint(leg.towards))


@lru_cache(maxsize=256)
def _stamps(target: Target, pattern: Pattern) -> tuple[Action, ...]:
    # A packet-out starts without tunnel metadata: an option that is not set here is not in the packet.
    options = [
        SetField(tun_metadata(carried.slot, carried.layout.length), int.from_bytes(data_of(carried, pattern)))
        for carried in options_of(target, pattern)
    ]
    return SetField(TUN_ID, target.vni), SetField(TUN_FLAGS, OAM), *options


def sighting_of(packet: PacketIn) -> Sighting:
    """Read what a bridge reported."""
    fields = packet.fields
    source: Address | None = None
    if TUN_SRC in fields:
        source = IPv4Address(fields[TUN_SRC])
    elif TUN_IPV6_SRC in fields:
        source = IPv6Address(fields[TUN_IPV6_SRC])
    return Sighting(frame=packet.data, vni=fields.get(TUN_ID, 0), source=source, options=packet.options)
