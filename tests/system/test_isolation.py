# SPDX-License-Identifier: Apache-2.0
"""What must not arrive: another tenant's packets, and tunnel packets from whom nobody declared."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from ipaddress import ip_address

import pytest
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from controller.compiler.pipeline import Table
from controller.lab import Datapath, LabHost, Underlay
from tests.system.overlay import Endpoint, Overlay
from tests.system.packets import BROADCAST, Wire, Wires, marked, token

pytestmark = pytest.mark.system

GENEVE_PORT = 6081
FABRIC_MAC = "02:09:00:00:00:fe"


@pytest.fixture(scope="module", params=[Underlay.IPV4, Underlay.IPV6], ids=str)
def shared(request: pytest.FixtureRequest, make_overlay: Callable[..., Overlay]) -> Overlay:
    return make_overlay(underlay=request.param)


def frame_between(source: Endpoint, target: Endpoint, mac: str | None = None) -> Packet:
    return Ether(src=source.mac, dst=mac or target.mac) / IP(src=source.ipv4, dst=target.ipv4) / UDP(dport=9)


def test_nothing_crosses_between_networks(overlay: Overlay) -> None:
    overlay.network("blue")
    overlay.network("red")
    blue = [overlay.port("blue", host, number) for host, number in (("hv1", 1), ("hv2", 2))]
    red = [overlay.port("red", host, number) for host, number in (("hv1", 11), ("hv2", 12))]
    source = blue[0]
    assert overlay.ping(source, blue[1].ipv4) == 3
    for target in red:
        for address in target.addresses:
            assert overlay.ping(source, address, count=2, wait=0.3) == 0
            # Nor when it knows the other's MAC address, and need not ask.
            line = ["ip", "neigh", "replace", address, "lladdr", target.mac, "dev", "eth0"]
            assert overlay.lab.exec(source.name, line).returncode == 0
            assert overlay.ping(source, address, count=2, wait=0.3) == 0
    with Wires(overlay.lab, [port.name for port in (*blue, *red)]) as wires:
        for target in red:
            mark = token()
            wires[source.name].send(marked(frame_between(source, target), mark))
            # In its own network the address is unknown: the frame goes to all there, and to nobody else.
            assert wires.counts_after(mark, [blue[1].name]) == {blue[1].name: 1}


def test_tenants_may_use_the_same_addresses(overlay: Overlay) -> None:
    ends: dict[str, list[Endpoint]] = {}
    for network in ("blue", "red"):
        overlay.network(network)
        # Both on the same hosts, so that nothing but the network tells them apart.
        ends[network] = [overlay.port(network, host, n) for n, host in enumerate(("hv1", "hv2", "hv1"), 1)]
    assert ends["blue"][1].mac == ends["red"][1].mac
    names = [port.name for ports in ends.values() for port in ports]
    with Wires(overlay.lab, names) as wires:
        for one, *others in ends.values():
            for other in others:
                assert overlay.ping(one, other.ipv4) == overlay.ping(one, other.ipv6) == 3
                mark = token()
                wires[one.name].send(marked(frame_between(one, other), mark))
                assert wires.counts_after(mark, [other.name]) == {other.name: 1}


def test_one_network_goes_and_the_other_stays(overlay: Overlay) -> None:
    for network in ("blue", "red"):
        overlay.network(network)
        one, two = (overlay.port(network, host, n) for n, host in ((1, "hv1"), (2, "hv2")))
        assert overlay.ping(one, two.ipv4) == 3
    overlay.remove(two)
    gone = Endpoint("red1", one.mac, one.addresses)
    assert overlay.ping(gone, two.ipv4, count=2, wait=0.3) == 0
    assert overlay.ping(Endpoint("blue1", one.mac, one.addresses), two.ipv4) == 3


class Underworld:
    """Speaks GENEVE from the switch in the middle, as anybody on the underlay can."""

    def __init__(self, overlay: Overlay) -> None:
        self.overlay = overlay
        overlay.network("blue")
        self.sender, self.target, self.beside = (
            overlay.port("blue", host, n) for n, host in ((1, "hv1"), (2, "hv2"), (3, "hv2"))
        )
        self.listeners = [self.sender.name, self.target.name, self.beside.name]
        self.vni = overlay.vni("blue")
        self.peer, self.host = overlay.lab.host("hv1"), overlay.lab.host("hv2")

    def outer(self, source: str | None = None, target: str | None = None) -> Packet:
        ip = IP if self.overlay.lab.state.underlay is Underlay.IPV4 else IPv6
        addresses = {"src": source or str(self.peer.endpoint), "dst": target or str(self.host.endpoint)}
        # Not the peer's own MAC address: flooded, it would make the peer's bridge look for itself on its cable.
        ether = Ether(src=FABRIC_MAC, dst=self.host.endpoint_mac)
        return ether / ip(**addresses) / UDP(sport=50000, dport=GENEVE_PORT)

    def geneve(self, **fields: object) -> Packet:
        return GENEVE(**{"vni": self.vni, "proto": 0x6558, **fields})

    def inner(self, mac: str | None = None) -> bytes:
        self.mark = token()
        return marked(frame_between(self.sender, self.target, mac), self.mark)

    def stranger(self) -> str:
        return str(ip_address(str(self.host.endpoint)) + 75)

    def heard(self, frame: bytes, *, expected: tuple[str, ...] = ()) -> dict[str, int]:
        """Send a frame on the underlay; return who of the network heard what is in it, once honest ones pass."""
        with Wire(self.overlay.lab) as fabric, Wires(self.overlay.lab, self.listeners) as wires:
            mark = self.mark
            fabric.send(frame)
            honest = bytes(self.outer() / self.geneve() / self.inner())
            fabric.send(honest)
            assert wires.counts_after(self.mark, [self.target.name]) == {self.target.name: 1}
            return wires.counts_after(mark, expected, grace=0.1)

    def dropped_in(self, table: Table) -> int:
        """Packets that hv2 dropped in a table because nothing in it matched."""
        flows = self.overlay.flows(self.host.name)
        return sum(flow.packets for flow in flows if flow.table == table and "priority=0 " in flow.rest)


@pytest.fixture
def underworld(overlay: Overlay) -> Underworld:
    return Underworld(overlay)


def settled_count(underworld: Underworld, table: Table, more_than: int) -> bool:
    """ovs-vswitchd counts flows' packets a little later."""
    end = time.monotonic() + 6
    while time.monotonic() < end:
        if underworld.dropped_in(table) > more_than:
            return True
        time.sleep(0.2)
    return False


def test_an_undeclared_tunnel_source_is_refused(underworld: Underworld) -> None:
    before = underworld.dropped_in(Table.PEERS)
    for mac in (None, BROADCAST):
        frame = underworld.outer(source=underworld.stranger()) / underworld.geneve() / underworld.inner(mac)
        assert underworld.heard(bytes(frame)) == {}
    # It was refused for its sender, not lost on the way.
    assert settled_count(underworld, Table.PEERS, before)


def test_a_host_that_was_taken_out_is_a_stranger(underworld: Underworld) -> None:
    """The honest frames that `heard` sends come from hv1: declared, they arrive; a stranger's do not."""
    overlay = underworld.overlay
    third = overlay.lab.host("hv3")
    frame = underworld.outer(source=str(third.endpoint)) / underworld.geneve()
    name = underworld.target.name
    assert underworld.heard(bytes(frame / underworld.inner()), expected=(name,)) == {name: 1}
    overlay.expel("hv3")
    try:
        for port in (underworld.target, underworld.beside):
            assert overlay.ping(underworld.sender, port.ipv4) == 3
        assert underworld.heard(bytes(frame / underworld.inner())) == {}
    finally:
        overlay.enrol(third)
    assert underworld.heard(bytes(frame / underworld.inner()), expected=(name,)) == {name: 1}


def test_a_wrong_vni_is_refused(underworld: Underworld) -> None:
    for vni in (underworld.vni + 1, underworld.vni ^ 0x800000, 0, 0xFFFFFF):
        for mac in (None, BROADCAST):
            frame = underworld.outer() / underworld.geneve(vni=vni) / underworld.inner(mac)
            assert underworld.heard(bytes(frame)) == {}, f"VNI {vni:#x}"


def test_an_oam_packet_of_a_peer_is_never_delivered(underworld: Underworld) -> None:
    for mac in (None, BROADCAST):
        frame = underworld.outer() / underworld.geneve(oam=1) / underworld.inner(mac)
        assert underworld.heard(bytes(frame)) == {}


def test_a_peer_s_broadcast_stays_with_who_gets_it(underworld: Underworld) -> None:
    """The sender has told every host: who tells them again makes a loop."""
    away = underworld.overlay.port("blue", "hv3", 4)
    underworld.listeners.append(away.name)
    both = (underworld.target.name, underworld.beside.name)
    frame = underworld.outer() / underworld.geneve() / underworld.inner(BROADCAST)
    assert underworld.heard(bytes(frame), expected=both) == dict.fromkeys(both, 1)


def test_an_address_of_ours_that_is_no_endpoint_is_refused(underworld: Underworld) -> None:
    host = underworld.host
    if host.datapath is not Datapath.NETDEV:
        pytest.skip("the kernel's addresses")
    spare, length = underworld.stranger(), 24 if host.underlay is Underlay.IPV4 else 64
    more = [] if host.underlay is Underlay.IPV4 else ["nodad"]
    assert host_ip(underworld, host, "add", f"{spare}/{length}", *more)
    try:
        before = underworld.dropped_in(Table.CLASSIFY)
        wait_for_tunnel(host, spare)
        frame = underworld.outer(target=spare) / underworld.geneve() / underworld.inner()
        assert underworld.heard(bytes(frame)) == {}
        assert settled_count(underworld, Table.CLASSIFY, before)
    finally:
        host_ip(underworld, host, "del", f"{spare}/{length}")


def host_ip(underworld: Underworld, host: LabHost, verb: str, *words: str) -> bool:
    line = ["ip", "addr", verb, *words, "dev", host.endpoint_link]
    return underworld.overlay.lab.exec(host, line).returncode == 0


def wait_for_tunnel(host: LabHost, address: str) -> None:
    end = time.monotonic() + 5
    while address not in host.appctl("ovs/route/show"):
        assert time.monotonic() < end, "ovs-vswitchd does not see the address"
        time.sleep(0.1)


def test_a_guest_s_own_geneve_is_payload(overlay: Overlay) -> None:
    """A guest may speak GENEVE as it may speak anything: it never becomes a packet of the overlay."""
    overlay.network("blue")
    one, two, three = (overlay.port("blue", host, n) for n, host in ((1, "hv1"), (2, "hv2"), (3, "hv2")))
    forged, outside = token(), token()
    option = GeneveOptions(classid=0xFF00, type=1, length=1, data=b"\x09\0\0\0")
    tunnel = GENEVE(vni=overlay.vni("blue"), proto=0x6558, options=[option])
    for hop, address in ((two.mac, two.ipv4), (two.mac, str(overlay.lab.host("hv2").endpoint))):
        if ":" in address:
            continue
        inside = bytes(frame_between(two, three)) + forged
        whole = Ether(src=one.mac, dst=hop) / IP(src=one.ipv4, dst=address) / UDP(dport=GENEVE_PORT) / tunnel
        with Wires(overlay.lab, (one.name, two.name, three.name)) as wires:
            frame = marked(whole / inside, outside)
            wires[one.name].send(frame)
            assert wires.counts_after(outside, [two.name]) == {two.name: 1}
            received = [heard for heard in wires[two.name].heard() if outside in heard]
            assert received == [frame], "it arrives as it was sent"
            assert wires.counts(forged)[two.name] == 1, "inside of it, and not by itself"
            assert three.name not in wires.counts(forged)


def test_vxlan_and_others_get_nowhere(overlay: Overlay) -> None:
    """The bridge has one way in from the underlay."""
    ports = overlay.lab.host("hv1").vsctl("list-ports", "br-int").split()
    tunnels = [port for port in ports if re.match(r"(?!w-)", port)]
    kinds = {overlay.lab.host("hv1").vsctl("get", "Interface", port, "type").strip() for port in tunnels}
    assert kinds == {"geneve"}
    assert len(tunnels) == 1
