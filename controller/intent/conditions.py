# SPDX-License-Identifier: Apache-2.0
"""Which packets a rule is about, as conditions that one flow can have each, and how many flows that makes. Pure.

A flow has one Ethernet type, one value and mask a port. So a match on packets is the product of its alternatives:

    {"protocol": "tcp", "destination_ports": ["80-81", 443]}  ─►  {IPv4, IPv6} x {80/0xfffe, 443/0xffff}: 4 flows

Compiler and admission count with the same functions, so that what is admitted is what is compiled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from controller.intent.model import OptionPolicySpec
from controller.intent.rules import PacketField, PacketMatch, PortRange, Prefix, SetDscp, StampFrom, Steer

IPV4, IPV6 = 0x0800, 0x86DD
ETHERTYPE = {4: IPV4, 6: IPV6}
"By IP version."

_FAMILY = {1: IPV4, 58: IPV6}
"Of the protocols that only one version of IP has: ICMP, ICMPv6."

MAX_FLOWS_OF_POLICY = 256
"Of an option policy."

_PORT_BITS = 16
_ALL_PORTS = (1 << _PORT_BITS) - 1
_KEPT = 8_192
"Matches whose alternatives are remembered."


class PortBits(NamedTuple):
    """Ports as value and mask: those that equal `value` where `mask` has a bit."""

    value: int
    mask: int


class Condition(NamedTuple):
    """What one flow asks of the headers of a packet; None asks nothing."""

    ethertype: int | None = None
    source_mac: int | None = None
    destination_mac: int | None = None
    source: Prefix | None = None
    destination: Prefix | None = None
    protocol: int | None = None
    source_ports: PortBits | None = None
    destination_ports: PortBits | None = None
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


def port_bits(ranges: Iterable[PortRange]) -> tuple[PortBits, ...]:
    """Return the fewest aligned blocks that cover ranges of ports, each a value and mask; nothing for no range."""
    return tuple(block for first, last in merged_ranges(ranges) for block in _blocks(first, last))


def merged_ranges(ranges: Iterable[PortRange]) -> tuple[PortRange, ...]:
    """Return ranges in order, those that touch as one."""
    merged: list[PortRange] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1].last + 1:
            merged[-1] = PortRange(merged[-1].first, max(last, merged[-1].last))
        else:
            merged.append(PortRange(first, last))
    return tuple(merged)


def _blocks(first: int, last: int) -> Iterator[PortBits]:
    """Yield the aligned powers of two that make up a range, each the largest that begins there and fits."""
    while first <= last:
        size = first & -first or 1 << _PORT_BITS
        while first + size - 1 > last:
            size >>= 1
        yield PortBits(first, _ALL_PORTS & ~(size - 1))
        first += size


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


def _narrow_ports(bits: PortBits | None) -> PortBits | None:
    return None if bits is None or not bits.mask else bits


def _one_or(bits: tuple[PortBits, ...]) -> tuple[PortBits | None, ...]:
    return bits or (None,)
