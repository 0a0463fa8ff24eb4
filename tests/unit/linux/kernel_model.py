# SPDX-License-Identifier: Apache-2.0
"""A small model of the kernel: walks filters as tc does, bridges as written down, and carries tunnels between hosts.

What several filters of one chain and preference match is decided by any of them in the kernel: here they must agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network

from ovs_geneve.kernel.objects import (
    BridgeLink,
    Filter,
    Flower,
    Fw,
    GeneveLink,
    GeneveOptionMatch,
    Goto,
    KernelState,
    MatchAll,
    Mirred,
    SetMark,
    TunnelSet,
    TunnelUnset,
    Verdict,
    VrfLink,
)

Option = tuple[int, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """What the device for all tunnels knows of a packet."""

    vni: int
    src: str
    dst: str
    options: tuple[Option, ...] = ()
    dst_port: int = 6081


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    src_mac: str
    dst_mac: str
    protocol: str = "ip"
    ip_proto: int = 0
    src_ip: str | None = None
    dst_ip: str | None = None
    src_port: int = 0
    dst_port: int = 0
    fragment: bool = False
    icmp_type: int | None = None
    icmp_code: int = 0
    arp_sip: str | None = None
    arp_tip: str | None = None
    arp_sha: str | None = None
    mark: int = 0
    tunnel: Tunnel | None = None


@dataclass(slots=True)
class Walk:
    """What became of a packet on a hook: as it goes on, if it does, and what was handed elsewhere."""

    packet: Packet | None
    handed: list[tuple[Mirred, Packet]] = field(default_factory=list)


def walk(state: KernelState, device: str, packet: Packet, *, egress: bool) -> Walk:
    """Judge a packet by the filters of a device; who meets none goes on."""
    chains: dict[int, list[Filter]] = {}
    for one in state.filters:
        if one.device == device and one.egress == egress:
            chains.setdefault(one.chain, []).append(one)
    found = Walk(packet)
    chain = 0
    for _ in range(10):
        following = _chain(chains.get(chain, []), found)
        if following is None:
            return found
        chain = following
    raise AssertionError("the packet goes round and round")


def _chain(filters: list[Filter], found: Walk) -> int | None:
    """Walk a chain; return the one to go on in, None where the packet's fate is known."""
    for preference in sorted({one.preference for one in filters}):
        assert found.packet is not None
        alike = [one for one in filters if one.preference == preference and matches(one, found.packet)]
        assert len({one.actions for one in alike}) <= 1, alike
        if alike:
            end = _act(alike[0], found)
            if end != "continue":
                return end if isinstance(end, int) else None
    return None


def _act(chosen: Filter, found: Walk) -> int | str:
    for action in chosen.actions:
        assert found.packet is not None
        match action:
            case SetMark(mark=mark):
                found.packet = replace(found.packet, mark=mark)
            case TunnelSet(vni=vni, src=src, dst=dst, options=options):
                listed = tuple((o.option_class, o.option_type, o.data) for o in options)
                found.packet = replace(
                    found.packet, tunnel=Tunnel(vni=vni, src=str(src), dst=dst, options=listed)
                )
            case TunnelUnset():
                found.packet = replace(found.packet, tunnel=None)
            case Mirred(copy=copy):
                found.handed.append((action, found.packet))
                if not copy:
                    found.packet = None
                    return "stolen"
            case Goto(chain=chain):
                return chain
            case Verdict(verdict=verdict):
                if verdict == "drop":
                    found.packet = None
                return verdict
    return "pass"


def matches(one: Filter, packet: Packet) -> bool:
    """Tell whether a filter's match holds for a packet."""
    if one.protocol not in ("all", packet.protocol):
        return False
    match one.match:
        case MatchAll():
            return True
        case Fw(mark=mark, mask=mask):
            return packet.mark & mask == mark
        case Flower() as flower:
            return all(_holds(flower, packet))


def _holds(flower: Flower, packet: Packet) -> Iterator[bool]:
    yield flower.src_mac is None or _mac(flower.src_mac, packet.src_mac)
    yield flower.dst_mac is None or _mac(flower.dst_mac, packet.dst_mac)
    yield flower.ip_proto is None or (
        packet.protocol in ("ip", "ipv6") and flower.ip_proto == packet.ip_proto
    )
    for prefix, address in (
        (flower.src_ip, packet.src_ip),
        (flower.dst_ip, packet.dst_ip),
        (flower.arp_sip, packet.arp_sip),
        (flower.arp_tip, packet.arp_tip),
    ):
        yield prefix is None or (address is not None and ip_address(address) in ip_network(prefix))
    # The dissector stops at a fragment: ports and types read 0 (net/core/flow_dissector.c).
    shown = not packet.fragment
    for wanted, port in ((flower.src_ports, packet.src_port), (flower.dst_ports, packet.dst_port)):
        yield wanted is None or wanted[0] <= (port if shown else 0) <= wanted[1]
    yield flower.fragment is None or flower.fragment is packet.fragment
    yield flower.icmp_type is None or flower.icmp_type == (packet.icmp_type if shown else 0)
    yield flower.icmp_code is None or flower.icmp_code == (packet.icmp_code if shown else 0)
    yield flower.arp_sha is None or flower.arp_sha == packet.arp_sha
    tunnel = packet.tunnel
    yield flower.enc_vni is None or (tunnel is not None and tunnel.vni == flower.enc_vni)
    for prefix, end in (
        (flower.enc_src, None if tunnel is None else tunnel.src),
        (flower.enc_dst, None if tunnel is None else tunnel.dst),
    ):
        yield prefix is None or (end is not None and ip_address(end) in ip_network(prefix))
    yield not flower.enc_options or (tunnel is not None and _options(flower.enc_options, tunnel.options))


def _mac(wanted: str, mac: str) -> bool:
    value, _, mask = wanted.partition("/")
    care = _number(mask) if mask else (1 << 48) - 1
    return _number(mac) & care == _number(value)


def _number(mac: str) -> int:
    return int(mac.replace(":", ""), 16)


def _options(wanted: tuple[GeneveOptionMatch, ...], options: tuple[Option, ...]) -> bool:
    """As cls_flower compares: bytes under a mask, where lengths are masked by themselves (fl_set_enc_opt)."""
    key, mask = bytearray(), bytearray()
    for one in wanted:
        data = bytes.fromhex(one.data)
        key += one.option_class.to_bytes(2) + bytes((one.option_type, len(data) // 4)) + data
        mask += one.class_mask.to_bytes(2) + bytes((one.type_mask, len(data) // 4))
        mask += bytes.fromhex(one.data_mask)
    packed = b"".join(
        number.to_bytes(2) + bytes((kind, len(data) // 8)) + bytes.fromhex(data)
        for number, kind, data in options
    )
    if not options or len(packed) & len(key) != len(key):
        return False
    padded = packed.ljust(255, b"\0")
    return all(held & care == value & care for held, value, care in zip(padded, key, mask, strict=False))


@dataclass
class World:
    """Linux hosts by endpoint, and what they hold; other hosts only receive."""

    states: Mapping[str, KernelState]
    endpoints: Mapping[str, str]
    "Host by endpoint address."
    received: list[tuple[str, str, Packet]] = field(default_factory=list)
    "Host, interface and packet, of what came out; of a host that is no Linux host, the interface is empty."

    def send(self, host: str, interface: str, packet: Packet) -> list[tuple[str, str, Packet]]:
        """Let a workload send; return what came out where."""
        self.received = []
        entering = walk(self.states[host], interface, packet, egress=False)
        assert not entering.handed
        if entering.packet is not None:
            self._enter(host, interface, entering.packet)
        return self.received

    def arrive(self, packet: Packet) -> list[tuple[str, str, Packet]]:
        """Let a packet come out of the underlay; return what came out where."""
        self.received = []
        self._underlay(packet)
        return self.received

    def _enter(self, host: str, inside: str, packet: Packet) -> None:
        """Pass on what came in by a device that is a slave of another."""
        state = self.states[host]
        masters = {one.name: one.master for one in (*state.links, *state.attachments)}
        kinds = {one.name: one.kind for one in state.links}
        match kinds.get(masters.get(inside) or ""):
            case BridgeLink():
                self._bridge(host, inside, packet)
            case VrfLink(table=table):
                self._route(host, table, packet)
            case _:
                pass

    def _bridge(self, host: str, inside: str, packet: Packet) -> None:
        """Pass a packet on from one port of a bridge, as br_handle_frame_finish does."""
        state = self.states[host]
        ports = {one.name: one for one in (*state.links, *state.attachments) if one.port is not None}
        ports = {
            name: one for name, one in ports.items() if one.master == ports[inside].master and name != inside
        }
        known = [one.device for one in state.fdb if one.mac == packet.dst_mac]
        known = [name for name in known if name in (*ports, inside)]
        assert len(known) <= 1, known
        multicast = _number(packet.dst_mac) >> 40 & 1
        silent = {one.name for one in ports.values() if one.port is not None and not one.port.flood}
        isolated = {one.name for one in (*state.links, *state.attachments) if one.port and one.port.isolated}
        for member in ports if multicast or not known else [name for name in known if name != inside]:
            if not {inside, member} <= isolated and (known or member not in silent):
                self._out(host, member, packet)

    def _route(self, host: str, table: int, packet: Packet) -> None:
        """Pass a packet on by the routes of a table."""
        state = self.states[host]
        assert packet.dst_ip is not None
        destination = ip_address(packet.dst_ip)
        found = [one for one in state.routes if one.table == table and destination in ip_network(one.prefix)]
        assert len(found) <= 1, "what no route of ours takes, the next table would"
        assert found, packet
        forwarding = {one.path.split("/")[3] for one in state.settings if one.path.endswith("/forwarding")}
        device = found[0].device
        assert device in forwarding
        if device in {one.name for one in state.attachments}:
            (mac,) = [
                one.mac for one in state.neighbours if (one.device, one.address) == (device, packet.dst_ip)
            ]
            assert mac is not None
            packet = replace(packet, dst_mac=mac)
        self._out(host, device, packet)

    def _out(self, host: str, device: str, packet: Packet) -> None:
        state = self.states[host]
        leaving = walk(state, device, packet, egress=True)
        for mirred, handed in leaving.handed:
            self._hand(host, mirred, handed)
        if leaving.packet is None:
            return
        if device in {one.name for one in state.attachments}:
            self.received.append((host, device, leaving.packet))
        for link in state.links:
            if link.name == device and isinstance(link.kind, GeneveLink) and link.kind.remote is not None:
                kind = link.kind
                source = self._source(host, kind.remote)
                tunnel = Tunnel(vni=kind.vni or 0, src=source, dst=kind.remote, dst_port=kind.dst_port)
                self._underlay(replace(leaving.packet, tunnel=tunnel))

    def _source(self, host: str, remote: str) -> str:
        version = ip_address(remote).version
        own = [one for one, where in self.endpoints.items() if where == host]
        return next(one for one in own if ip_address(one).version == version)

    def _hand(self, host: str, mirred: Mirred, packet: Packet) -> None:
        device = next(one for one in self.states[host].links if one.name == mirred.device)
        if mirred.ingress:
            self._enter(host, mirred.device, packet)
            return
        assert isinstance(device.kind, GeneveLink)
        assert packet.tunnel is not None
        assert packet.mark == 0, "a mark would choose a route in the underlay"
        self._underlay(packet)

    def _underlay(self, packet: Packet) -> None:
        assert packet.tunnel is not None
        host = self.endpoints.get(packet.tunnel.dst)
        if host is None:
            return
        if host not in self.states:
            self.received.append((host, "", packet))
            return
        device = self._device_of(host, packet.tunnel)
        if device is None:
            return
        arriving = walk(self.states[host], device, replace(packet, mark=0), egress=False)
        for mirred, handed in arriving.handed:
            self._hand(host, mirred, handed)
        if arriving.packet is not None:
            self._enter(host, device, replace(arriving.packet, tunnel=None))

    def _device_of(self, host: str, tunnel: Tunnel) -> str | None:
        """Find the geneve device that takes a packet, as geneve_lookup does."""
        for link in self.states[host].links:
            if isinstance(link.kind, GeneveLink) and link.kind.dst_port == tunnel.dst_port:
                if link.kind.vni is None:
                    return link.name
                if (link.kind.vni, link.kind.remote) == (tunnel.vni, tunnel.src):
                    critical = any(kind & 0x80 for _, kind, _ in tunnel.options)
                    return None if critical else link.name
        return None
