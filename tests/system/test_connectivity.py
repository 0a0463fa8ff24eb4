# SPDX-License-Identifier: Apache-2.0
"""Packets get where they belong: within a network, on one host and across, over both underlays."""

import socket
import threading
import time
from collections.abc import Callable

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Ether

from controller.lab import Lab, Underlay, namespaces
from controller.lab.settings import workload_namespace
from tests.system.overlay import Endpoint, Overlay
from tests.system.packets import BROADCAST, Wire, Wires, marked, token

pytestmark = pytest.mark.system

BULK = bytes(range(256)) * 4000


@pytest.fixture(scope="module", params=[Underlay.IPV4, Underlay.IPV6], ids=str)
def shared(request: pytest.FixtureRequest, make_overlay: Callable[..., Overlay]) -> Overlay:
    return make_overlay(underlay=request.param)


def test_ping_and_tcp_within_a_network(overlay: Overlay) -> None:
    overlay.network("blue")
    here = overlay.port("blue", "hv1", 1)
    beside = overlay.port("blue", "hv1", 2)
    away = overlay.port("blue", "hv2", 3)
    for source, target in ((here, beside), (here, away), (away, here)):
        for address in target.addresses:
            assert overlay.ping(source, address) == 3, f"{source.name} to {address}"
            assert tcp(overlay.lab, source, target, address) == BULK


def test_a_full_inner_mtu_crosses(overlay: Overlay) -> None:
    overlay.network("blue")
    one, two = overlay.port("blue", "hv1", 1), overlay.port("blue", "hv3", 2)
    done = overlay.lab.exec(one.name, ["ping", "-c1", "-W1", "-Mdo", "-s1472", two.ipv4])
    assert done.returncode == 0, done.stdout


def test_the_first_packet_is_not_lost(overlay: Overlay) -> None:
    overlay.network("blue")
    one, two = overlay.port("blue", "hv1", 1), overlay.port("blue", "hv2", 2)
    for address in two.addresses:
        assert overlay.ping(one, address, count=1, wait=0.5) == 1


@pytest.mark.parametrize("host", ["hv1", "hv2"])
def test_questions_for_neighbours_disturb_nobody_else(overlay: Overlay, host: str) -> None:
    """ARP is answered where it is asked, neighbour discovery by the owner of the address, who alone hears of it."""
    overlay.network("blue")
    asker, target = overlay.port("blue", "hv1", 1), overlay.port("blue", host, 2)
    others = [overlay.port("blue", place, number).name for number, place in ((3, "hv1"), (4, "hv2"))]
    with Wires(overlay.lab, (asker.name, target.name, *others)) as wires:
        for address in target.addresses:
            assert overlay.ping(asker, address) == 3
        time.sleep(0.1)
        asked = {
            name: [Ether(frame).summary() for frame in wires[name].heard() if is_question(frame)]
            for name in (target.name, *others)
        }
        assert not any(asked.values()), asked
        solicited = [Ether(f) for f in wires[target.name].heard() if ICMPv6ND_NS in Ether(f)]
        assert (target.mac, target.ipv6) in [(f.dst, f[ICMPv6ND_NS].tgt) for f in solicited]
        told = [Ether(frame) for frame in wires[asker.name].heard()]
        arp = [frame[ARP] for frame in told if ARP in frame]
        # A busy machine may ask twice.
        assert {(a.op, a.hwsrc, a.psrc, a.hwdst) for a in arp} == {(2, target.mac, target.ipv4, asker.mac)}
        answers = [frame for frame in told if IPv6 in frame and bytes(frame[IPv6].payload)[:1] == b"\x88"]
        assert (target.mac, target.ipv6, 255, target.mac) in [
            (f.src, f[IPv6].src, f[IPv6].hlim, f.lladdr) for f in answers
        ]


def test_a_question_about_nobody_reaches_everybody(overlay: Overlay) -> None:
    """Without this the test above would pass on a wire that is cut."""
    overlay.network("blue")
    asker, target = overlay.port("blue", "hv1", 1), overlay.port("blue", "hv2", 2)
    with Wire(overlay.lab, target.name) as wire:
        assert overlay.ping(asker, "10.0.0.99", count=1, wait=0.3) == 0
        assert any(is_question(frame) for frame in wire.heard())


def kinds_of_bum(source: Endpoint) -> dict[str, Ether]:
    said = UDP(sport=1, dport=2)
    return {
        "broadcast": Ether(src=source.mac, dst=BROADCAST) / IP(src=source.ipv4, dst="10.0.0.255") / said,
        "multicast": Ether(src=source.mac, dst="01:00:5e:01:02:03")
        / IP(src=source.ipv4, dst="239.1.2.3")
        / said,
        "multicast 6": Ether(src=source.mac, dst="33:33:00:00:12:34")
        / IPv6(src=source.ipv6, dst="ff02::1234")
        / said,
        "unknown unicast": Ether(src=source.mac, dst="02:77:00:00:00:99")
        / IP(src=source.ipv4, dst="10.0.0.99")
        / said,
        "arp": Ether(src=source.mac, dst=BROADCAST)
        / ARP(op=1, hwsrc=source.mac, psrc=source.ipv4, pdst="10.0.0.99"),
        "nd": Ether(src=source.mac, dst="33:33:ff:00:00:99")
        / IPv6(src=source.ipv6, dst="ff02::1:ff00:99")
        / ICMPv6ND_NS(tgt="2001:db8::99"),
        "own ethertype": Ether(src=source.mac, dst=BROADCAST, type=0x88B5),
    }


def test_what_is_for_all_reaches_each_once(overlay: Overlay) -> None:
    blue, red = overlay.network("blue"), overlay.network("red")
    hosts = ("hv1", "hv1", "hv2", "hv2", "hv3")
    ports = [overlay.port(blue, host, number) for number, host in enumerate(hosts, 1)]
    strangers = [overlay.port(red, host, number) for number, host in enumerate(("hv1", "hv2", "hv3"), 1)]
    names = [port.name for port in (*ports, *strangers)]
    with Wires(overlay.lab, names) as wires:
        for source in (ports[0], ports[4]):
            others = [port.name for port in ports if port is not source]
            for kind, frame in kinds_of_bum(source).items():
                mark = token()
                wires[source.name].send(marked(frame, mark))
                heard = wires.counts_after(mark, others, grace=0.1)
                assert heard == dict.fromkeys(others, 1), f"{kind} from {source.name}"


def test_unicast_reaches_its_target_alone(overlay: Overlay) -> None:
    overlay.network("blue")
    ports = [
        overlay.port("blue", host, number) for number, host in enumerate(("hv1", "hv1", "hv2", "hv3"), 1)
    ]
    source = ports[0]
    with Wires(overlay.lab, [port.name for port in ports]) as wires:
        for target in ports[1:]:
            mark = token()
            frame = Ether(src=source.mac, dst=target.mac) / IP(src=source.ipv4, dst=target.ipv4) / UDP()
            wires[source.name].send(marked(frame, mark))
            assert wires.counts_after(mark, [target.name], grace=0.1) == {target.name: 1}


def is_question(frame: bytes) -> bool:
    """An ARP request or neighbour solicitation to everybody."""
    seen = Ether(frame)
    if not frame[0] & 1:
        return False
    return (ARP in seen and seen[ARP].op == 1) or ICMPv6ND_NS in seen


def tcp(lab: Lab, client: Endpoint, server: Endpoint, address: str) -> bytes:
    """Send BULK from a socket in one workload to one in another; return what arrived."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    arrived = bytearray()

    def serve() -> None:
        with listener.accept()[0] as session:
            session.settimeout(10)
            while piece := session.recv(65536):
                arrived.extend(piece)

    def inside(port: Endpoint, make: Callable[[], socket.socket]) -> socket.socket:
        return namespaces.inside(workload_namespace(lab.state.name, port.name), make)

    with inside(server, lambda: socket.create_server((address, 0), family=family)) as listener:
        listener.settimeout(10)
        serving = threading.Thread(target=serve)
        serving.start()
        to = (address, listener.getsockname()[1])
        with inside(client, lambda: socket.create_connection(to, 5)) as session:
            session.sendall(BULK)
        serving.join()
    return bytes(arrived)
