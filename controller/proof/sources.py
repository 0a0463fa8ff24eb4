# SPDX-License-Identifier: Apache-2.0
"""What a port may say of itself, as sets of packets that must not leave it. Pure.

A port says who it is in its source MAC, and, where it declares addresses, in the source of IP, the sender of ARP, and
in neighbour discovery (RFC 826, RFC 4861). It may be nobody while it has no address yet: ARP probes (RFC 5227), DHCP,
and IPv6 from :: to find duplicates and routers and to join groups (RFC 4862). What hides this, a VLAN tag, RARP,
fragments of neighbour discovery, it may not send. A port that declares none is held to its MAC alone; one that packets
are steered through sends what others said, under their MACs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controller.proof.facts import PortFacts
from controller.proof.packets import Packets
from controller.proof.space import EVERYTHING, Cube, Layout
from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.fields import Field
from ovs_geneve.openflow.flow import TermLike

SOURCE_FIELDS: tuple[Field, ...] = (
    *(f.ETH_SRC, f.ETH_TYPE, f.VLAN_VID, f.IPV4_SRC, f.IPV6_SRC, f.ARP_SHA, f.ARP_SPA, f.ARP_OP),
    *(f.ND_TARGET, f.ND_SLL, f.ND_TLL, f.ICMPV6_TYPE),
)
"Where a packet says whose it is."

_IPV4, _ARP, _IPV6 = 0x0800, 0x0806, 0x86DD
_HIDDEN = (0x8035, 0x8100, 0x88A8)
"RARP, and tags behind the one that was taken off."

_SOLICITATION, _ADVERTISEMENT = 135, 136
_ROUTERS_ONLY = (134, 137)
_FROM_NOBODY = (_SOLICITATION, 133, 143)
_MULTICAST = 1 << 40

_ARP_PROBE: tuple[TermLike, ...] = ((f.ARP_OP, 1), (f.ARP_SPA, 0))
_DHCP: tuple[TermLike, ...] = (
    *((f.IPV4_SRC, 0), (f.IPV4_DST, 0xFFFFFFFF), (f.IP_PROTO, 17)),
    *((f.UDP_SRC, 68), (f.UDP_DST, 67)),
)


@dataclass(frozen=True, slots=True)
class Claim:
    """Packets in which a field must be one of some values, unless they are one of some others."""

    what: str
    among: Cube
    field: Field | None
    "None: there must be no such packet."
    values: frozenset[int] = frozenset()
    unless: tuple[Cube, ...] = ()


class Sources:
    """What packets of one port may say."""

    def __init__(self, layout: Layout, port: PortFacts) -> None:
        self._layout = layout
        self._claims = tuple(_claims(layout, port))

    def check(self, packets: Packets) -> Packets:
        """Mark packets as proved if all of them may be said by the port."""
        if packets.proved or self.broken(packets) is not None:
            return packets
        return packets._replace(proved=True)

    def broken(self, packets: Packets) -> tuple[str, Packets] | None:
        """Return what a port may not say, and the packets that say it; None when all of them are fine."""
        if packets.proved:
            return None
        for claim in self._claims:
            some = packets.among(claim.among)
            if some is not None:
                found = self._against(some, claim)
                if found is not None:
                    return claim.what, found
        return None

    def _against(self, packets: Packets, claim: Claim) -> Packets | None:
        for cube in self._other(packets, claim):
            some = packets.among(cube)
            if some is not None:
                some = some.but_for(claim.unless)
            if some is not None:
                return some
        return None

    def _other(self, packets: Packets, claim: Claim) -> Iterator[Cube]:
        """Yield cubes that hold the other values of a claim's field together."""
        if claim.field is None:
            yield EVERYTHING
            return
        offset, ones = self._layout.at(claim.field)
        known = packets.cube.known >> offset & ones
        value = packets.cube.value >> offset & ones
        if known == ones:
            if value not in claim.values:
                yield EVERYTHING
            return
        if packets.but_for([Cube(one << offset, ones << offset) for one in claim.values]) is None:
            return
        for other, mask in complement(claim.values, ones.bit_length()):
            yield Cube(other << offset, mask << offset)


def complement(values: frozenset[int], bits: int) -> Iterator[tuple[int, int]]:
    """Yield value and mask of cubes that together hold all numbers of some bits but these."""
    waiting = [(values, 0, bits)]
    while waiting:
        inside, prefix, free = waiting.pop()
        if not inside:
            yield prefix, (1 << bits) - (1 << free)
        elif free:
            bit = 1 << free - 1
            for side in (0, bit):
                some = frozenset(value for value in inside if value & bit == side)
                waiting.append((some, prefix | side, free - 1))


def _claims(layout: Layout, port: PortFacts) -> Iterator[Claim]:
    mac = frozenset({port.mac})
    cube = layout.cube
    if port.passes_on:
        yield Claim("a source MAC of many", cube((f.ETH_SRC, _MULTICAST, _MULTICAST)), None)
        own: tuple[TermLike, ...] = ((f.ETH_SRC, port.mac),)
    else:
        yield Claim("the source MAC", cube(), f.ETH_SRC, mac)
        own = ()
    if not port.ipv4 and not port.ipv6:
        return
    for ethertype in _HIDDEN:
        yield Claim(f"Ethernet type {ethertype:#x}", cube(*own, (f.ETH_TYPE, ethertype)), None)
    tag = 1 << 12
    yield Claim("a VLAN tag", cube(*own, (f.VLAN_VID, tag, tag)), None)
    arp = cube(*own, (f.ETH_TYPE, _ARP))
    yield Claim("the ARP sender's MAC", arp, f.ARP_SHA, mac)
    unless_probe = (cube(*_ARP_PROBE),) if port.ipv4 else ()
    yield Claim("the ARP sender's address", arp, f.ARP_SPA, port.ipv4, unless_probe)
    unless_dhcp = (cube(*_DHCP),) if port.ipv4 else ()
    yield Claim("the IPv4 source", cube(*own, (f.ETH_TYPE, _IPV4)), f.IPV4_SRC, port.ipv4, unless_dhcp)
    yield from _ipv6_claims(layout, port, own)


def _ipv6_claims(layout: Layout, port: PortFacts, own: tuple[TermLike, ...]) -> Iterator[Claim]:
    cube = layout.cube
    ipv6: tuple[TermLike, ...] = (*own, (f.ETH_TYPE, _IPV6))
    icmp: tuple[TermLike, ...] = (*ipv6, (f.IP_PROTO, 58))
    unless: tuple[Cube, ...] = ()
    if port.ipv6:
        unless = tuple(cube((f.IPV6_SRC, 0), (f.IP_PROTO, 58), (f.ICMPV6_TYPE, one)) for one in _FROM_NOBODY)
    yield Claim("the IPv6 source", cube(*ipv6), f.IPV6_SRC, port.ipv6, unless)
    for only in _ROUTERS_ONLY:
        yield Claim(f"ICMPv6 type {only}", cube(*icmp, (f.ICMPV6_TYPE, only)), None)
    link_layer = frozenset({port.mac, 0})
    solicitation = cube(*icmp, (f.ICMPV6_TYPE, _SOLICITATION))
    yield Claim("the link-layer address of a neighbour solicitation", solicitation, f.ND_SLL, link_layer)
    advertisement = cube(*icmp, (f.ICMPV6_TYPE, _ADVERTISEMENT))
    yield Claim("the link-layer address of a neighbour advertisement", advertisement, f.ND_TLL, link_layer)
    yield Claim("the target of a neighbour advertisement", advertisement, f.ND_TARGET, port.ipv6)
    fragment: TermLike = (f.IP_FRAG, 1, 1)
    for hidden in (
        (f.IPV6_SRC, 0xFE80 << 112, 0xFFC0 << 112),
        (f.IPV6_DST, 0xFF02 << 112, 0xFFFF << 112),
    ):
        among = cube(*ipv6, fragment, hidden)
        yield Claim("a fragment that may hide neighbour discovery", among, None)
