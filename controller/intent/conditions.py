# SPDX-License-Identifier: Apache-2.0
"""Which packets a rule is about, as conditions that one flow can have each, and how many flows that makes. Pure.

A flow has one Ethernet type, one value and mask a port. So a match on packets is the product of its alternatives:

    {"protocol": "tcp", "destination_ports": ["80-81", 443]}  ─►  {IPv4, IPv6} x {80/0xfffe, 443/0xffff}: 4 flows

Compiler and admission count with the same functions, so that what is admitted is what is compiled.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from controller.intent.model import OptionPolicySpec
from controller.intent.port_masks import PortMask, port_masks
from controller.intent.rules import PacketField, PacketMatch, PortRange, Prefix, SetDscp, StampFrom, Steer

IPV4, IPV6 = 0x0800, 0x86DD
ETHERTYPE = {4: IPV4, 6: IPV6}
"By IP version."

_FAMILY = {1: IPV4, 58: IPV6}
"Of the protocols that only one version of IP has: ICMP, ICMPv6."

MAX_FLOWS_OF_POLICY = 256
"Of an option policy."

_KEPT = 8_192
"Matches whose alternatives are remembered."


class Condition(NamedTuple):
    """What one flow asks of the headers of a packet; None asks nothing."""

    ethertype: int | None = None
    source_mac: int | None = None
    destination_mac: int | None = None
    source: Prefix | None = None
    destination: Prefix | None = None
    protocol: int | None = None
    source_ports: PortMask | None = None
    destination_ports: PortMask | None = None
    dscp: int | None = None


def conditions_of(spec: OptionPolicySpec) -> tuple[Condition, ...]:
    """Return the alternatives of a policy; their order says nothing."""
    return _conditions(spec.packet, needs_ip(spec))


def ethertypes_of(spec: OptionPolicySpec) -> tuple[int | None, ...]:
    """Return the Ethernet types that a policy is about; None is any."""
    return _ethertypes(spec.packet, needs_ip(spec))


def flows_of_policy(spec: OptionPolicySpec) -> int:
    """Return how many flows a policy is on a host, without making them."""
    packet = spec.packet
    alternatives = (
        len(ethertypes_of(spec))
        * len(_one_or(port_bits(packet.source_ports)))
        * len(_one_or(port_bits(packet.destination_ports)))
    )
    # What a service sends of its own takes the same flow without the detour.
    return 2 * alternatives if steer_of(spec) is not None else alternatives


def steer_of(spec: OptionPolicySpec) -> Steer | None:
    """Return the chain that a policy sends packets through, if any."""
    return next((action for action in spec.actions if isinstance(action, Steer)), None)


def needs_ip(spec: OptionPolicySpec) -> bool:
    """Tell whether the actions of a policy make sense for IP packets only: others have no DSCP."""
    return any(
        isinstance(action, SetDscp) or (isinstance(action, StampFrom) and action.source is PacketField.DSCP)
        for action in spec.actions
    )


def port_bits(ranges: Iterable[PortRange]) -> tuple[PortMask, ...]:
    """Return the fewest values and masks that hold exactly these ports; nothing for no range."""
    wanted = tuple(ranges)
    return port_masks(wanted) if wanted else ()


@lru_cache(maxsize=_KEPT)
def _conditions(packet: PacketMatch, ip: bool) -> tuple[Condition, ...]:
    sources, destinations = port_bits(packet.source_ports), port_bits(packet.destination_ports)
    return tuple(
        Condition(
            ethertype=ethertype,
            source_mac=packet.source_mac,
            destination_mac=packet.destination_mac,
            source=narrow(packet.source),
            destination=narrow(packet.destination),
            protocol=packet.protocol,
            source_ports=_narrow_ports(source),
            destination_ports=_narrow_ports(destination),
            dscp=packet.dscp,
        )
        for ethertype, source, destination in product(
            _ethertypes(packet, ip), _one_or(sources), _one_or(destinations)
        )
    )


def _ethertypes(packet: PacketMatch, ip: bool) -> tuple[int | None, ...]:
    prefix = packet.source or packet.destination
    if prefix is not None:
        return (ETHERTYPE[prefix.version],)
    if packet.ethertype is not None:
        return (packet.ethertype,)
    if packet.protocol in _FAMILY:
        return (_FAMILY[packet.protocol],)
    if ip or packet.protocol is not None or packet.dscp is not None:
        return IPV4, IPV6
    return (None,)


def narrow(prefix: Prefix | None) -> Prefix | None:
    """Return a prefix, None when every address is in it."""
    return None if prefix is None or not prefix.prefixlen else prefix


def _narrow_ports(bits: PortMask | None) -> PortMask | None:
    return None if bits is None or not bits.mask else bits


def _one_or(bits: tuple[PortMask, ...]) -> tuple[PortMask | None, ...]:
    return bits or (None,)
