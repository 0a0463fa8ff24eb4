# SPDX-License-Identifier: Apache-2.0
"""Follows everything that can come in, through all hosts, and holds what comes out against the facts. Pure.

One set of packets for each way in: everything a port can send, everything that ports of nobody can send, everything
that strangers can send to the tunnel. What leaves through the tunnel is what comes in at the other host.

First sets are merged where that loses little. Only what then looks wrong is followed again set by set, with an account
of where each came from; and only what a single packet, made from that account, does again is called a violation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from controller.compiler.pipeline import TUNNEL_OFPORT
from controller.intent.model import Address, direct_vni
from controller.intent.rules import PacketField
from controller.proof.bridge import Bridge, Check, Emission, Walk
from controller.proof.facts import Facts, HostFacts, PortFacts
from controller.proof.packets import NOBODYS, Packets, Planes, from_anywhere, from_port, merged
from controller.proof.report import Breach
from controller.proof.sources import Sources
from controller.proof.space import Cube, Layout, Unprovable
from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.fields import Field

MAX_HOSTS = 16
"Tunnels that a packet may go through before this is called a loop."

_ENDS: dict[int, tuple[Field, Field]] = {4: (f.TUN_SRC, f.TUN_DST), 6: (f.TUN_IPV6_SRC, f.TUN_IPV6_DST)}
_ADDRESSES = (f.TUN_SRC, f.TUN_DST, f.TUN_IPV6_SRC, f.TUN_IPV6_DST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingress:
    """A way in."""

    host: str
    sender: str
    "In words."
    ofport: int | None
    "None: any that is nobody's."
    port: PortFacts | None
    packets: Packets


class Finding(NamedTuple):
    """Packets that do what none may."""

    breach: Breach
    reason: str
    packets: Packets
    where: str


@dataclass(slots=True)
class Tally:
    """What was looked at."""

    sets: int = 0
    deliveries: int = 0


def unchecked(packets: Packets) -> Packets:
    """Take packets as they are: nobody's word is asked about, or it was proved already."""
    return packets


@dataclass(slots=True)
class Prover:
    """The flows of all hosts, and what they are held against."""

    layout: Layout
    facts: Facts
    bridges: Mapping[str, Bridge]
    tally: Tally = field(default_factory=Tally)
    _sources: dict[str, Sources] = field(default_factory=dict)

    def ways_in(self, *, traced: bool = False) -> Iterator[Ingress]:
        """Yield every way in."""
        for host in self.bridges:
            yield from self.ways_into(self.facts.hosts[host], traced=traced)

    def ways_into(self, host: HostFacts, *, traced: bool = False) -> Iterator[Ingress]:
        """Yield the ways into one host."""
        layout = self.layout
        for ofport, port in host.ports.items():
            yield Ingress(
                host=host.name,
                sender=f"port/{port.name} on {host.name}",
                ofport=ofport,
                port=port,
                packets=from_port(layout, ofport, traced=traced),
            )
        nobody = f"a port of nobody on {host.name}"
        anything = from_port(layout, 0, traced=traced)
        place = layout.at(f.IN_PORT)
        anything = anything._replace(cube=Cube(0, anything.cube.known & ~place.mask))
        known = [layout.cube((f.IN_PORT, number)) for number in (*host.ports, TUNNEL_OFPORT)]
        yield self._way_in(host, nobody, None, anything, known)
        for version, (source, _) in _ENDS.items():
            stranger = f"a stranger's tunnel over IPv{version} to {host.name}"
            everything = self._stranger(version, traced)
            yield self._way_in(host, stranger, TUNNEL_OFPORT, everything, self._declared(source))

    def findings(self, ingress: Ingress, packets: Packets) -> Iterator[Finding]:
        """Follow packets from a way in to wherever they come, set by set; yield what none may do."""
        waiting = [(ingress.host, packets, 0)]
        while waiting:
            host, arrived, hosts = waiting.pop()
            found, sent = self._walked(ingress, host, arrived, None)
            yield from found
            waiting += [(there, one, hosts + 1) for there, one in sent]
            if waiting and hosts == MAX_HOSTS:
                raise Unprovable(f"{ingress.sender}: through more than {MAX_HOSTS} tunnels")

    def suspects(self, some: Sequence[Ingress]) -> list[Ingress]:
        """Return those of some ways in that may do what none may; none of them is proof.

        All are ports of one network, or there is one alone: sets are merged, and what ports of a network send to other
        hosts is followed together.
        """
        suspects = []
        arriving: dict[str, list[Packets]] = defaultdict(list)
        for ingress in some:
            sources = self._sources_of(ingress.port)
            check = unchecked if sources is None else sources.check
            found, sent = self._walked(ingress, ingress.host, ingress.packets, check)
            if found:
                suspects.append(ingress)
            for there, one in sent:
                arriving[there].append(one)
        return list(some) if self._wrong_afar(some, arriving) else suspects

    def _wrong_afar(self, some: Sequence[Ingress], arriving: dict[str, list[Packets]]) -> bool:
        """Tell whether what arrived at other hosts may do what none may, there or further on."""
        for _ in range(MAX_HOSTS):
            further: dict[str, list[Packets]] = defaultdict(list)
            for host, arrived in arriving.items():
                for packets in merged(arrived, self.layout.headers):
                    found, sent = self._walked(some[0], host, packets, unchecked)
                    if found:
                        return True
                    for there, one in sent:
                        further[there].append(one)
            if not further:
                return False
            arriving = further
        return True

    def _walked(
        self, ingress: Ingress, host: str, packets: Packets, check: Check | None
    ) -> tuple[list[Finding], list[tuple[str, Packets]]]:
        """Follow packets through one host; return what is wrong, and what arrives where."""
        came = Walk(self.bridges[host], check).run(packets)
        self.tally.sets += came.sets
        found: list[Finding] = []
        sent: list[tuple[str, Packets]] = []
        for emission in came.emissions:
            if emission.port != TUNNEL_OFPORT:
                found += self._delivered(ingress, self.facts.hosts[host], emission)
                continue
            for one in self._tunnelled(ingress, self.facts.hosts[host], emission.packets):
                if isinstance(one, Finding):
                    found.append(one)
                else:
                    sent.append(one)
        return found, sent

    def _delivered(self, ingress: Ingress, host: HostFacts, emission: Emission) -> Iterator[Finding]:
        at, packets = host.ports.get(emission.port), emission.packets
        self.tally.deliveries += 1
        if emission.back and host.name == ingress.host and emission.port == ingress.ofport:
            return
        if emission.back and ingress.ofport is None:
            return
        where = f"port {emission.port} of {host.name}" if at is None else f"port/{at.name} on {host.name}"
        if at is None:
            yield Finding(Breach.NOBODY, f"{where} is no logical port", packets, where)
        elif ingress.port is None:
            yield Finding(Breach.INTRUDER, f"{ingress.sender} reaches {where}", packets, where)
        elif ingress.port.network != at.network:
            reason = f"network/{ingress.port.network} reaches a port of network/{at.network}"
            yield Finding(Breach.FOREIGN, reason, packets, where)
        else:
            yield from self._spoofed(ingress, packets, where)

    def _spoofed(self, ingress: Ingress, packets: Packets, where: str) -> Iterator[Finding]:
        sources = self._sources_of(ingress.port)
        broken = None if sources is None else sources.broken(packets)
        if broken is not None and ingress.port is not None:
            what, some = broken
            yield Finding(Breach.SPOOFED, f"{what} is not port/{ingress.port.name}'s to say", some, where)

    def _tunnelled(
        self, ingress: Ingress, host: HostFacts, packets: Packets
    ) -> Iterator[Finding | tuple[str, Packets]]:
        """Yield what is wrong with packets on their way into the tunnel, or where they arrive and how."""
        where = f"the tunnel of {host.name}"
        address = self._destination(packets)
        if ingress.port is None:
            if address not in self.facts.gateways:
                yield Finding(Breach.INTRUDER, f"{ingress.sender} gets into the tunnel", packets, where)
            return
        foreign = self._written_by_guests(ingress.port, packets)
        if foreign:
            yield Finding(Breach.OPTION, f"{foreign} is what a guest wrote", packets, where)
            return
        broken = list(self._spoofed(ingress, packets, where))
        if broken:
            yield from broken
            return
        there = None if address is None else self.facts.host_at(address)
        if there is None or address is None:
            to = "no address that is known" if address is None else str(address)
            yield Finding(Breach.LEAVES, f"{to} is no declared host's", packets, where)
        elif not self._is_own(ingress.port, packets.value_of(self.layout, f.TUN_ID)):
            reason = f"the VNI is not network/{ingress.port.network}'s, for {there.name}"
            yield Finding(Breach.FOREIGN, reason, packets, where)
        elif there.name in self.bridges:
            sent = packets._replace(proved=True)
            for endpoint in host.endpoints:
                if endpoint.version == address.version:
                    yield there.name, self._arrived(sent, endpoint, address)
        else:
            self.tally.deliveries += 1

    def _destination(self, packets: Packets) -> Address | None:
        ipv4 = packets.value_of(self.layout, f.TUN_DST)
        ipv6 = packets.value_of(self.layout, f.TUN_IPV6_DST)
        if ipv4:
            return IPv4Address(ipv4)
        return IPv6Address(ipv6) if ipv6 and ipv4 == 0 else None

    def _is_own(self, port: PortFacts, vni: int | None) -> bool:
        if vni == self.facts.networks[port.network].vni:
            return True
        direct = (one for one in self.facts.ports.values() if one.network == port.network)
        return any(vni == direct_vni(one.key) for one in direct)

    def _arrived(self, packets: Packets, source: Address, destination: Address) -> Packets:
        """Return packets as they come out of the tunnel at the other end."""
        layout = self.layout
        kept = layout.headers | layout.options | layout.presence | layout.mask_of((f.TUN_ID, f.TUN_FLAGS))
        source_field, destination_field = _ENDS[source.version]
        value, _ = layout.cube(
            (f.IN_PORT, TUNNEL_OFPORT), (source_field, int(source)), (destination_field, int(destination))
        )
        rest = layout.everything & ~kept
        return packets.put(rest, value, rest, NOBODYS)

    def _written_by_guests(self, port: PortFacts, packets: Packets) -> str:
        """Name what of the tunnel a guest wrote, and no policy declares."""
        layout, (others, dscp, vlan) = self.layout, packets.said
        known = self.facts.networks[port.network].copied
        for name, mask in (
            ("the VNI", layout.at(f.TUN_ID).mask),
            ("a tunnel address", layout.mask_of(_ADDRESSES)),
        ):
            if (others | dscp | vlan) & mask:
                return name
        for index, mask, present in layout.option_masks():
            if packets.cube.known & present and not packets.cube.value & present:
                continue
            offset = layout.option_place(index).offset
            declared = Planes(
                0,
                *(known.get(one, {}).get(index, 0) << offset for one in (PacketField.DSCP, PacketField.VLAN)),
            )
            if any(plane & mask & ~allowed for plane, allowed in zip(packets.said, declared, strict=True)):
                return f"the option in slot {index}"
        return ""

    def _sources_of(self, port: PortFacts | None) -> Sources | None:
        if port is None:
            return None
        if port.name not in self._sources:
            self._sources[port.name] = Sources(self.layout, port)
        return self._sources[port.name]

    def _stranger(self, version: int, traced: bool) -> Packets:
        layout = self.layout
        other = _ENDS[10 - version]
        own = layout.everything & ~layout.headers & ~layout.options & ~layout.presence
        source, destination = _ENDS[version]
        known = own & ~layout.mask_of((source, destination, f.TUN_ID, f.TUN_FLAGS))
        value, _ = layout.cube((f.IN_PORT, TUNNEL_OFPORT), (other[0], 0), (other[1], 0))
        return from_anywhere(layout, Cube(value, known), traced=traced)

    def _declared(self, source: Field) -> list[Cube]:
        return [
            self.layout.cube((source, int(one)))
            for host in self.facts.hosts.values()
            for one in host.endpoints
            if source is _ENDS[one.version][0]
        ]

    def _way_in(
        self, host: HostFacts, sender: str, ofport: int | None, anything: Packets, known: list[Cube]
    ) -> Ingress:
        packets = anything.but_for(known)
        assert packets is not None, "there are more ports and addresses than declared ones"
        if packets.origin is not None:
            packets = packets._replace(origin=packets.origin._replace(cube=packets.cube))
        return Ingress(host=host.name, sender=sender, ofport=ofport, port=None, packets=packets)
