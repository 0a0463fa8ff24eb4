# SPDX-License-Identifier: Apache-2.0
"""One packet out of a set, as it came in: what a counter-example is made of. Pure; chance is a hash, the same always.

what is known of the set as it came in ─► bits that nobody asked about, from a few patterns
                                       ─► a bit turned for each set that another flow got
                                       ─► what such a packet cannot have becomes zero, as OVS shows it
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import shake_128

from controller.proof.packets import Packets
from controller.proof.space import Cube, Layout
from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.fields import XREGS, XXREGS, Field
from ovs_geneve.openflow.flow import Match, TermLike
from ovs_geneve.openflow.text import render_match

_TRIES = 12

_TAG = 1 << 12
_IPV4, _ARP, _IPV6 = 0x0800, 0x0806, 0x86DD
_PORTS: Mapping[int, tuple[Field, ...]] = {
    6: (f.TCP_SRC, f.TCP_DST, f.TCP_FLAGS),
    17: (f.UDP_SRC, f.UDP_DST),
    132: (f.SCTP_SRC, f.SCTP_DST),
}
_IP = (f.IP_FRAG, f.IP_DSCP, f.IP_ECN, f.IP_TTL, f.IP_PROTO)
_USUAL: tuple[tuple[TermLike, ...], ...] = (
    ((f.ETH_TYPE, 0x88B5),),
    ((f.ETH_TYPE, _IPV4), (f.IP_PROTO, 17), (f.IP_TTL, 64)),
    ((f.ETH_TYPE, _ARP), (f.ARP_OP, 1)),
    ((f.ETH_TYPE, _IPV6), (f.IP_PROTO, 58), (f.IP_TTL, 255), (f.ICMPV6_TYPE, 135)),
    ((f.ETH_TYPE, _IPV6), (f.IP_PROTO, 6), (f.IP_TTL, 64)),
)


def samples(layout: Layout, packets: Packets) -> Iterator[int]:
    """Yield single packets that may be among some, as they came in; few, and different ones."""
    assert packets.origin is not None, "the way of these packets was not kept"
    cube, without = packets.origin.cube, packets.origin.without
    seen = set()
    for number in range(_TRIES):
        fill = _filling(layout, number)
        value = _avoiding(cube.value | fill & ~cube.known, cube.known, without)
        if value is None:
            continue
        for one in (_real(layout, value), value):
            fits = one if not (one ^ cube.value) & cube.known else value
            if fits not in seen:
                seen.add(fits)
                yield fits


def alone(layout: Layout, value: int, among: Packets) -> Packets:
    """Return one packet of some that came in."""
    return among._replace(cube=Cube(value, layout.everything), without=())


def described(layout: Layout, packet: Packets) -> str:
    """Write a packet as a match of what is not zero."""
    terms: list[TermLike] = []
    for field in layout.fields():
        value = layout.read(packet.cube.value, field)
        there = packet.cube.value & layout.present(field)
        if field not in XREGS + XXREGS and (value or there):
            terms.append((field, value))
    return render_match(Match.of(*terms))


def _filling(layout: Layout, number: int) -> int:
    usual = layout.cube(*_USUAL[number % len(_USUAL)])
    if number < len(_USUAL):
        return usual.value
    bits = int.from_bytes(shake_128(bytes([number])).digest(layout.everything.bit_length() // 8 + 1))
    return bits & layout.headers & ~usual.known | usual.value


def _avoiding(value: int, known: int, without: tuple[Cube, ...]) -> int | None:
    """Turn bits that nobody asked about until none of the missing sets holds the packet; None if that fails."""
    for _ in range(len(without) + 1):
        hit = next((one for one in without if not (value ^ one.value) & one.known), None)
        if hit is None:
            return value
        free = hit.known & ~known
        if not free:
            return None
        bit = free & -free
        value ^= bit
        known |= bit
    return None


def _real(layout: Layout, value: int) -> int:
    """Return the packet with nothing that its kind cannot have (OVS lib/meta-flow.c, mf_are_prereqs_ok)."""

    def read(field: Field) -> int:
        return layout.read(value, field)

    kind, protocol = read(f.ETH_TYPE), read(f.IP_PROTO)
    has: list[Field] = [f.ETH_SRC, f.ETH_DST, f.ETH_TYPE]
    if read(f.VLAN_VID) & _TAG:
        has += f.VLAN_VID, f.VLAN_PCP
    if kind == _ARP:
        has += f.ARP_OP, f.ARP_SPA, f.ARP_TPA, f.ARP_SHA, f.ARP_THA
    if kind in (_IPV4, _IPV6):
        has += _IP
        has += (f.IPV4_SRC, f.IPV4_DST) if kind == _IPV4 else (f.IPV6_SRC, f.IPV6_DST, f.IPV6_FLABEL)
        if not read(f.IP_FRAG) & 2:
            has += _PORTS.get(protocol, ())
            has += _icmp(kind, protocol, read(f.ICMPV6_TYPE), read(f.ICMPV6_CODE))
    return value & (layout.mask_of(has) | ~layout.headers)


def _icmp(kind: int, protocol: int, icmp_type: int, code: int) -> tuple[Field, ...]:
    if (kind, protocol) == (_IPV4, 1):
        return f.ICMPV4_TYPE, f.ICMPV4_CODE
    if (kind, protocol) != (_IPV6, 58):
        return ()
    has: tuple[Field, ...] = (f.ICMPV6_TYPE, f.ICMPV6_CODE)
    if icmp_type in (135, 136) and not code:
        has += f.ND_TARGET, f.ND_SLL if icmp_type == 135 else f.ND_TLL
    return has
