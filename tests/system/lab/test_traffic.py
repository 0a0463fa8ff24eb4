# SPDX-License-Identifier: Apache-2.0
"""Packets cross the lab through GENEVE, with a bridge, vport and flows written by hand: the lab alone is on trial."""

import re
import socket
import struct
import subprocess
import sys
from collections.abc import Callable

import pytest

from controller.lab import Datapath, Lab, LabHost, Underlay

pytestmark = pytest.mark.system

_PORTS = {"hv1": "a", "hv2": "b"}


@pytest.fixture(scope="module", params=[Underlay.IPV4, Underlay.IPV6])
def lab(request: pytest.FixtureRequest, bring_up: Callable[..., Lab]) -> Lab:
    lab = bring_up(hosts=2, underlay=request.param)
    first, second = lab.hosts
    for host in lab.hosts:
        make_bridge(lab, host)
    lab.plug(first, "a", "02:00:00:00:00:01", ["10.0.0.1/24", "2001:db8::1/64"])
    lab.plug(second, "b", "02:00:00:00:00:02", ["10.0.0.2/24", "2001:db8::2/64"])
    program(first, second)
    program(second, first)
    return lab


def make_bridge(lab: Lab, host: LabHost) -> None:
    # The kernel's datapath sends zero UDP checksums over IPv6 unless told otherwise.
    kind, checksum = lab.state.datapath.value, lab.state.underlay is Underlay.IPV6
    host.vsctl(
        *("add-br", "br-int", "--", "set", "Bridge", "br-int", f"datapath_type={kind}", "fail_mode=secure"),
        *("protocols=OpenFlow15", "--", "add-port", "br-int", "gnv0", "--", "set", "Interface", "gnv0"),
        *("type=geneve", "ofport_request=10", "options:remote_ip=flow", "options:key=flow"),
        *([f"options:csum={str(checksum).lower()}"]),
    )


def program(host: LabHost, peer: LabHost) -> None:
    local, bridge = f"w-{_PORTS[host.name]}", f"unix:{host.management()}"
    destination = "tun_dst" if host.underlay is Underlay.IPV4 else "tun_ipv6_dst"
    out = f"set_field:77->tun_id,set_field:{peer.endpoint}->{destination},output:10"
    host.ofctl("add-flow", bridge, f"in_port={local},actions={out}")
    host.ofctl("add-flow", bridge, f"in_port=10,tun_id=77,actions=output:{local}")


def test_not_even_the_first_packet_is_lost(lab: Lab) -> None:
    with lab.capture("hv2", expression="udp port 6081") as capture:
        for target in ("10.0.0.2", "2001:db8::2"):
            done = lab.exec("a", ["ping", "-c2", "-i0.2", "-W1", target])
            assert " 0% packet loss" in done.stdout, done.stdout
            # Workloads ask for a neighbour again after a second: then the first packet, the asking, was lost.
            assert all(float(time) < 500 for time in re.findall(r"time=([\d.]+) ms", done.stdout)), (
                done.stdout
            )
    vnis = {frame[-3:] for frame in geneve_headers(capture.path.read_bytes(), lab.state.underlay)}
    assert vnis == {(77).to_bytes(3)}


def test_the_first_packet_after_a_restart_is_not_lost(lab: Lab) -> None:
    first, second = lab.hosts
    first.kill_vswitchd()
    first.start_vswitchd()
    program(first, second)
    done = lab.exec("a", ["ping", "-c1", "-W1", "10.0.0.2"])
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("target", ["10.0.0.2", "2001:db8::2"])
def test_tcp_carries_bulk(lab: Lab, target: str) -> None:
    with lab.popen("b", [sys.executable, "-c", _SINK, target], stdout=subprocess.PIPE) as sink:
        try:
            assert sink.stdout is not None
            assert sink.stdout.readline() == b"ready\n"
            sent = lab.exec("a", [sys.executable, "-c", _SOURCE, target], timeout=10)
            assert sent.returncode == 0, sent.stderr
            assert sink.stdout.readline() == b"4000000\n"
        finally:
            sink.kill()


_SINK = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.create_server((sys.argv[1], 5000), family=family) as server:
    print("ready", flush=True)
    session, total = server.accept()[0], 0
    while chunk := session.recv(65536):
        total += len(chunk)
    print(total, flush=True)
"""
_SOURCE = "import socket, sys; socket.create_connection((sys.argv[1], 5000), 10).sendall(bytes(4_000_000))"


def test_a_full_inner_mtu_fits(lab: Lab) -> None:
    done = lab.exec("a", ["ping", "-c1", "-W1", "-Mdo", "-s1472", "10.0.0.2"])
    assert done.returncode == 0, done.stdout


def test_traffic_follows_a_move(lab: Lab) -> None:
    first, second = lab.hosts
    lab.move("b", first)
    for rule in ("in_port=w-a,actions=output:w-b", "in_port=w-b,actions=output:w-a"):
        first.ofctl("add-flow", f"unix:{first.management()}", rule)
    done = lab.exec("a", ["ping", "-c1", "-W1", "10.0.0.2"])
    assert done.returncode == 0, done.stdout
    lab.move("b", second)
    program(first, second)
    program(second, first)
    assert lab.exec("a", ["ping", "-c1", "-W1", "10.0.0.2"]).returncode == 0


def test_the_kernel_is_quiet_about_the_endpoint(lab: Lab) -> None:
    if lab.state.datapath is not Datapath.NETDEV:
        pytest.skip("the kernel is the endpoint")
    peer = lab.host("hv2")
    lab.exec("hv1", ["ping", "-c1", "-W2", str(peer.endpoint)])
    known = lab.exec("hv1", ["ip", "neigh", "show", str(peer.endpoint)]).stdout
    assert peer.endpoint_mac in known, "ARP was answered on u0, where no tunnel ends"


def geneve_headers(pcap: bytes, underlay: Underlay) -> list[bytes]:
    """The first seven bytes of each GENEVE header in a pcap file of Ethernet frames."""
    start = 14 + (20 if underlay is Underlay.IPV4 else 40) + 8
    found, offset = [], 24
    while offset < len(pcap):
        length = struct.unpack_from("<I", pcap, offset + 8)[0]
        found.append(pcap[offset + 16 + start :][:7])
        offset += 16 + length
    return found


def test_ports_of_geneve_are_free_outside(lab: Lab) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside:
        outside.bind(("127.0.0.1", 6081))
