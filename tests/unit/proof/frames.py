# SPDX-License-Identifier: Apache-2.0
"""Single packets as a bridge may meet them, mostly such as get far."""

from __future__ import annotations

from random import Random

from controller.compiler.pipeline import TUNNEL_OFPORT
from controller.proof.facts import HostFacts, PortFacts
from controller.proof.packets import Packets, from_anywhere
from controller.proof.prover import Prover
from controller.proof.space import Cube
from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.fields import tun_metadata
from ovs_geneve.openflow.flow import TermLike

NOTICED = 0xC00000
"VNIs from here on are of single ports."

_ALL, _RESERVED = 0xFFFFFFFFFFFF, 0x0180C2000002
_GROUP6 = 0xFF02 << 112 | 1


class Frames:
    """Draws packets that come into a host."""

    def __init__(self, random: Random, prover: Prover, host: HostFacts) -> None:
        self._random = random
        self._prover = prover
        self._host = host
        self._ports = sorted(prover.facts.ports.values(), key=lambda port: port.key)

    def draw(self) -> Packets:
        """Draw one packet, of which everything is known."""
        ofport = self._random.choice([*self._host.ports, TUNNEL_OFPORT])
        terms = self._headers(self._host.ports.get(ofport) or self._random.choice(self._ports))
        if ofport == TUNNEL_OFPORT:
            terms += self._tunnel()
        layout = self._prover.layout
        value, _ = layout.cube((f.IN_PORT, ofport), *terms)
        return from_anywhere(layout, Cube(value, layout.everything))

    def _mostly(self, own: int, *others: int) -> int:
        return own if self._random.random() < 0.85 else self._random.choice(others)

    def _headers(self, port: PortFacts) -> list[TermLike]:
        peer = self._random.choice(self._ports)
        mac = self._mostly(port.mac, peer.mac, port.mac ^ 1)
        to = self._random.choice(
            [peer.mac, peer.mac, peer.mac, _ALL, 0x333300000001, _RESERVED, 0x02FF00000000]
        )
        terms: list[TermLike] = [(f.ETH_SRC, mac), (f.ETH_DST, to)]
        if self._random.random() < 0.1:
            terms += (
                (f.VLAN_VID, 0x1000 | self._random.randrange(4096)),
                (f.VLAN_PCP, self._random.randrange(8)),
            )
        kinds = (self._arp, self._ipv4, self._ipv4, self._ipv6, self._discovery, self._other)
        return terms + self._random.choice(kinds)(port, peer, mac)

    def _arp(self, port: PortFacts, peer: PortFacts, mac: int) -> list[TermLike]:
        own, other = min(port.ipv4, default=7), min(peer.ipv4, default=9)
        return [
            *((f.ETH_TYPE, 0x0806), (f.ARP_OP, self._random.choice((1, 1, 2)))),
            *(
                (f.ARP_SPA, self._mostly(own, 0, other)),
                (f.ARP_TPA, self._random.choice((own, other, other))),
            ),
            *((f.ARP_SHA, self._mostly(port.mac, peer.mac)), (f.ARP_THA, self._random.choice((0, peer.mac)))),
        ]

    def _ipv4(self, port: PortFacts, peer: PortFacts, mac: int) -> list[TermLike]:
        own, other = min(port.ipv4, default=7), min(peer.ipv4, default=9)
        terms: list[TermLike] = [(f.ETH_TYPE, 0x0800), (f.IPV4_SRC, self._mostly(own, 0, other))]
        if self._random.random() < 0.1:
            dhcp = ((f.IPV4_DST, 0xFFFFFFFF), (f.IP_PROTO, 17), (f.UDP_SRC, 68), (f.UDP_DST, 67))
            return [(f.ETH_TYPE, 0x0800), (f.IPV4_SRC, 0), *dhcp]
        return [*terms, (f.IPV4_DST, other), *self._transport((1, f.ICMPV4_TYPE, (0, 3, 8, 11)))]

    def _ipv6(self, port: PortFacts, peer: PortFacts, mac: int) -> list[TermLike]:
        own, other = min(port.ipv6, default=7), min(peer.ipv6, default=9)
        terms: list[TermLike] = [(f.ETH_TYPE, 0x86DD), (f.IPV6_SRC, self._mostly(own, 0, other, *port.ipv6))]
        to = self._random.choice((other, other, _GROUP6))
        return [*terms, (f.IPV6_DST, to), *self._transport((58, f.ICMPV6_TYPE, (1, 2, 128, 133, 134, 143)))]

    def _transport(self, icmp: tuple[int, f.Field, tuple[int, ...]]) -> list[TermLike]:
        dscp: TermLike = (f.IP_DSCP, self._random.randrange(64))
        if self._random.random() < 0.1:
            return [dscp, (f.IP_PROTO, 6), (f.IP_FRAG, 3)]
        protocol, source, destination = self._random.choice(
            (
                (6, f.TCP_SRC, f.TCP_DST),
                (6, f.TCP_SRC, f.TCP_DST),
                (17, f.UDP_SRC, f.UDP_DST),
                (*icmp[:2], None),
            )
        )
        if destination is None:
            return [dscp, (f.IP_PROTO, protocol), (source, self._random.choice(icmp[2]))]
        ports = [self._random.choice((9, 80, 81, 82, 1000, 40_000)) for _ in range(2)]
        return [dscp, (f.IP_PROTO, protocol), (source, ports[0]), (destination, ports[1])]

    def _discovery(self, port: PortFacts, peer: PortFacts, mac: int) -> list[TermLike]:
        kind = self._random.choice((135, 135, 136))
        own, other = self._random.choice([*port.ipv6, 7]), self._random.choice([*peer.ipv6, 9])
        link = f.ND_SLL if kind == 135 else f.ND_TLL
        return [
            *((f.ETH_TYPE, 0x86DD), (f.IPV6_SRC, self._mostly(own, 0, other)), (f.IP_PROTO, 58)),
            *((f.ICMPV6_TYPE, kind), (f.ND_TARGET, self._random.choice((own, other)))),
            (link, self._mostly(port.mac, 0, peer.mac)),
        ]

    def _other(self, port: PortFacts, peer: PortFacts, mac: int) -> list[TermLike]:
        return [(f.ETH_TYPE, self._random.choice((0x88B5, 0x8035, 0x8847)))]

    def _tunnel(self) -> list[TermLike]:
        networks = [network.vni for network in self._prover.facts.networks.values()]
        vni = self._random.choice([*networks * 3, 999, NOTICED + self._random.choice(self._ports).key])
        others = [host for host in self._prover.facts.hosts.values() if host is not self._host]
        source = min(int(one) for one in self._random.choice(others).endpoints)
        own = min(int(one) for one in self._host.endpoints)
        terms: list[TermLike] = [
            *((f.TUN_ID, vni), (f.TUN_SRC, self._mostly(source, source + 77))),
            (f.TUN_DST, self._mostly(own, own + 1)),
        ]
        if self._random.random() < 0.1:
            terms.append((f.TUN_FLAGS, 1))
        layout = self._prover.layout
        for index, _, _ in layout.option_masks():
            if self._random.random() < 0.4:
                length = layout.option_place(index).ones.bit_length() // 8
                value = self._random.choice((0, 1, 2, self._random.getrandbits(8 * length)))
                terms.append((tun_metadata(index, length), value))
        return terms
