# SPDX-License-Identifier: Apache-2.0
"""Two hosts without Open vSwitch and their agents: what passes, what does not, what outlives what."""

from __future__ import annotations

import dataclasses
import io
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_RA, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet as Frame

from controller.intent.identity import GROUP_FIELD, LAYOUT
from controller.intent.model import GroupSpec, Kind, Payload, TunnelStyle
from controller.intent.rules import PortRange
from controller.lab import Underlay
from controller.lab.settings import interface_name
from ovs_geneve.geneve.capture import read_capture
from ovs_geneve.geneve.outer import OuterPacket, find_geneve
from ovs_geneve.geneve.packet import Packet, decode
from tests.patience import patient
from tests.system.conversations import tcp
from tests.system.overlay import Endpoint, Overlay
from tests.system.packets import BROADCAST, Wires, marked, token
from tests.system.test_options import CONTEXT
from tests.vm.conftest import Prove

pytestmark = pytest.mark.system

TCP = 6
TIER_2 = {"context.tier": 2, "context.zone": 700}
IP_PORT = 16081
ETHERTYPES = {0x0806: "ARP", 0x0800: "IPv4", 0x86DD: "IPv6"}


@dataclasses.dataclass
class Fabric:
    """Two Linux hosts, and who is on them: web, db and lone of network blue, red with the addresses of web."""

    overlay: Overlay
    web: Endpoint
    lone: Endpoint
    db: Endpoint
    red: Endpoint
    red_beside: Endpoint

    @property
    def underlay(self) -> Underlay:
        return self.overlay.lab.state.underlay

    def shell(self, host: str, script: str) -> str:
        done = self.overlay.lab.exec(host, ["sh", "-ec", script], timeout=patient(20))
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def settle_hosts(self) -> None:
        hosts = [(Kind.HOST, host.name) for host in self.overlay.lab.linux_hosts]
        self.overlay.controller.settle(*hosts, timeout=patient(30))


@pytest.fixture(scope="module", params=[Underlay.IPV6], ids=str)  # over IPv4: test_mixed
def fabric(request: pytest.FixtureRequest, make_overlay: Callable[..., Overlay]) -> Fabric:
    overlay = make_overlay(hosts=0, linux_hosts=2, underlay=request.param)
    overlay.schema(CONTEXT)
    for name in ("web", "db"):
        overlay.controller.put(Kind.GROUP, name, GroupSpec())
    overlay.network("blue", options=("identity", "context"))
    overlay.network("red")
    return Fabric(
        overlay,
        web=overlay.port("blue", "lx1", 1, group="web", values=TIER_2),
        lone=overlay.port("blue", "lx1", 2),
        db=overlay.port("blue", "lx2", 3, group="db"),
        red=overlay.port("red", "lx1", 1),
        red_beside=overlay.port("red", "lx2", 3),
    )


@contextmanager
def wire(fabric: Fabric, host: str, port: int = 6081) -> Iterator[list[tuple[OuterPacket, Packet]]]:
    """Fill a list, when the context ends, with the GENEVE packets that went by a host's underlay."""
    found: list[tuple[OuterPacket, Packet]] = []
    with fabric.overlay.lab.capture(host, expression=f"udp port {port}") as capture:
        yield found
        time.sleep(patient(0.3))
    for frame in read_capture(io.BytesIO(capture.path.read_bytes())):
        outer = find_geneve(frame.linktype, frame.data, frozenset({port}))
        assert isinstance(outer, OuterPacket)
        found.append((outer, decode(outer.geneve)))


def test_they_reach_each_other(fabric: Fabric, prove: Prove) -> None:
    pairs = ((fabric.web, fabric.db), (fabric.db, fabric.web), (fabric.lone, fabric.web))
    counts = {
        f"{one.name} to {address}": fabric.overlay.ping(one, address)
        for one, other in pairs
        for address in other.addresses
    }
    assert set(counts.values()) == {3}, counts
    assert tcp(fabric.overlay, fabric.web, fabric.db, 80)
    assert tcp(fabric.overlay, fabric.db, fabric.web, 80, version=6)
    prove(
        f"{fabric.underlay}: two hosts without Open vSwitch exchange packets",
        f"answered of 3 pings each: {counts}; TCP carries bytes both ways, over IPv4 and IPv6",
    )


def test_networks_do_not_hear_each_other(fabric: Fabric, prove: Prove) -> None:
    mark = token()
    frame = Ether(src=fabric.red.mac, dst=BROADCAST) / ARP(
        op=1, hwsrc=fabric.red.mac, psrc=fabric.red.ipv4, pdst="10.0.0.77"
    )
    names = [one.name for one in (fabric.web, fabric.lone, fabric.db, fabric.red, fabric.red_beside)]
    with Wires(fabric.overlay.lab, names) as wires:
        wires[fabric.red.name].send(marked(frame, mark))
        heard = wires.counts_after(mark, [fabric.red_beside.name])
    assert heard == {fabric.red_beside.name: 1}
    # 10.0.0.2 is of the other network alone.
    assert fabric.overlay.ping(fabric.red, fabric.lone.ipv4, count=2, wait=0.3) == 0
    assert fabric.overlay.ping(fabric.red, fabric.red_beside.ipv4) == 3
    prove(
        f"{fabric.underlay}: networks with the same addresses do not hear each other",
        f"a broadcast of red: {heard}",
    )


def _forged(web: Endpoint, db: Endpoint) -> dict[str, Frame]:
    """What web may not say, by what is wrong with it."""
    other = "02:00:00:00:00:99"
    to_db = {"dst": db.mac}
    question = {"op": 1, "pdst": db.ipv4}
    return {
        "MAC": Ether(src=other, **to_db) / IP(src=web.ipv4, dst=db.ipv4) / UDP(dport=9),
        "IPv4": Ether(src=web.mac, **to_db) / IP(src="10.0.0.99", dst=db.ipv4) / UDP(dport=9),
        "IPv6": Ether(src=web.mac, **to_db) / IPv6(src="2001:db8::99", dst=db.ipv6) / UDP(dport=9),
        "ARP sender": Ether(src=web.mac, dst=BROADCAST) / ARP(hwsrc=web.mac, psrc="10.0.0.99", **question),
        "ARP MAC": Ether(src=web.mac, dst=BROADCAST) / ARP(hwsrc=other, psrc=web.ipv4, **question),
        "router advertisement": Ether(src=web.mac, dst="33:33:00:00:00:01")
        / IPv6(src=web.ipv6, dst="ff02::1")
        / ICMPv6ND_RA(),
        "VLAN tag": Ether(src=web.mac, **to_db)
        / Dot1Q(vlan=5)
        / IP(src=web.ipv4, dst=db.ipv4)
        / UDP(dport=9),
    }


def test_a_port_speaks_as_itself_alone(fabric: Fabric, prove: Prove) -> None:
    web, db = fabric.web, fabric.db
    good = token()
    forged = {what: token() for what in _forged(web, db)}
    with Wires(fabric.overlay.lab, [web.name, db.name, fabric.lone.name]) as wires:
        for what, frame in _forged(web, db).items():
            wires[web.name].send(marked(frame, forged[what]))
        wires[web.name].send(
            marked(Ether(src=web.mac, dst=db.mac) / IP(src=web.ipv4, dst=db.ipv4) / UDP(dport=9), good)
        )
        assert wires.counts_after(good, [db.name]) == {db.name: 1}
        assert not {what: heard for what, mark in forged.items() if (heard := wires.counts(mark))}
    prove(
        f"{fabric.underlay}: a port speaks as itself alone",
        f"forged and heard by nobody: {', '.join(forged)}",
    )


def test_options_are_on_the_wire(fabric: Fabric, prove: Prove) -> None:
    web, db = fabric.web, fabric.db
    mark = token()
    frame = Ether(src=web.mac, dst=db.mac) / IP(src=web.ipv4, dst=db.ipv4) / UDP(dport=9)
    with Wires(fabric.overlay.lab, [web.name, db.name]) as wires, wire(fabric, "lx2") as passed:
        wires[web.name].send(marked(frame, mark))
        assert wires[db.name].wait_for(mark)
    [(outer, packet)] = [one for one in passed if mark in one[1].payload]
    data = {option.key: option.data for option in packet.options}
    said = CONTEXT.decode_values(data[CONTEXT.key]) | LAYOUT.decode_values(data[LAYOUT.key])
    assert (said["tier"], said["zone"]) == (2, 700)
    assert said[GROUP_FIELD] > 0
    assert len(data) == 2
    prove(
        f"{fabric.underlay}: filters stamp options", f"{outer.source} to {outer.destination}, decoded: {said}"
    )


def test_questions_for_neighbours_leave_no_host(fabric: Fabric, prove: Prove) -> None:
    web, db = fabric.web, fabric.db
    with wire(fabric, "lx1") as passed:
        for address in db.addresses:
            fabric.overlay.lab.exec(web.name, ["ip", "neigh", "flush", "dev", "eth0"])
            assert fabric.overlay.ping(web, address) == 3
        # Whom nobody knows is asked for everywhere: the capture does hear questions.
        assert fabric.overlay.ping(web, "10.0.0.77", count=1, wait=0.3) == 0
    kinds = Counter(_kind(packet.payload) for _, packet in passed)
    asked = {_asked(packet.payload) for _, packet in passed if packet.payload[12:14] == b"\x08\x06"}
    assert kinds["neighbour discovery"] == 0
    assert kinds["IPv4"] == kinds["IPv6"] == 6
    assert asked == {"10.0.0.77"}
    prove(
        f"{fabric.underlay}: the kernel answers ARP and neighbour discovery for ports on other hosts",
        f"6 pings to {db.addresses} with empty neighbour tables; left the host: {dict(kinds)}, ARP for {asked} alone",
    )


def _kind(frame: bytes) -> str:
    ethertype = int.from_bytes(frame[12:14])
    if ethertype == 0x86DD and frame[20] == 58 and frame[54] in (135, 136):
        return "neighbour discovery"
    return ETHERTYPES.get(ethertype, hex(ethertype))


def _asked(frame: bytes) -> str:
    return str(ip_address(frame[38:42]))


def test_policies_by_group_and_by_option(
    fabric: Fabric, prove: Prove, request: pytest.FixtureRequest
) -> None:
    overlay, web, lone, db = fabric.overlay, fabric.web, fabric.lone, fabric.db
    overlay.rule("web-db", "blue", "db", from_group="web", protocol=TCP, ports=(PortRange(5432, 5432),))
    request.addfinalizer(overlay.drop_rules)
    seen = {
        f"{one.name} tcp/{port} over IPv{version}": tcp(overlay, one, db, port, version=version)
        for one in (web, lone)
        for port in (5432, 5433)
        for version in (4, 6)
    }
    assert [what for what, passed in seen.items() if passed] == [
        f"{web.name} tcp/5432 over IPv4",
        f"{web.name} tcp/5432 over IPv6",
    ]
    prove(f"{fabric.underlay}: a policy between groups is carried out where the receiver is", str(seen))
    overlay.drop_rules()
    request.addfinalizer(lambda: overlay.controller.delete(Kind.OPTION_POLICY, "tier2"))
    overlay.policy("tier2", "blue", [("context.tier", 2, 0xFF)], to_port=db.name)
    by_option = {
        one.name: [overlay.ping(one, address, count=2, wait=0.5) for address in db.addresses]
        for one in (web, lone)
    }
    assert by_option == {web.name: [2, 2], lone.name: [0, 0]}
    prove(f"{fabric.underlay}: an option policy lets in tier 2 alone", f"of 2 pings each: {by_option}")


def test_an_agent_is_killed_while_pings_go_on(fabric: Fabric, prove: Prove) -> None:
    overlay, agent = fabric.overlay, fabric.overlay.agents["lx1"]
    pings = [overlay.pinging(fabric.web, fabric.db.ipv4), overlay.pinging(fabric.db, fabric.web.ipv6)]
    agent.kill()
    time.sleep(patient(0.5))
    agent.start()
    fabric.settle_hosts()
    lost = {ping.what: (len(ping.times()), ping.lost()) for ping in pings}
    for ping in pings:
        ping.assert_nothing_lost(at_least=30)
    prove(
        f"{fabric.underlay}: an agent is killed and started again without a lost ping",
        f"answered, lost: {lost}",
    )


EMPTY = """
for device in $(ip -o link show | cut -d: -f2 | cut -d@ -f1); do
    tc qdisc del dev $device clsact 2>/dev/null || true
    case $device in og-*) ip link del dev $device;; esac
done
"""
"What a boot leaves: nothing of ours."


def test_a_host_boots_and_is_as_it_was(fabric: Fabric, prove: Prove) -> None:
    overlay, agent = fabric.overlay, fabric.overlay.agents["lx1"]
    before = fabric.shell(
        "lx1", "bridge fdb show; ip neigh show nud permanent; tc filter show dev og-geneve ingress"
    )
    agent.kill()
    fabric.shell("lx1", EMPTY)
    assert "og-" not in fabric.shell("lx1", "ip -o link show")
    assert overlay.ping(fabric.web, fabric.db.ipv4, count=2, wait=0.3) == 0
    agent.start()
    fabric.settle_hosts()
    assert overlay.ping(fabric.web, fabric.db.ipv4) == overlay.ping(fabric.web, fabric.db.ipv6) == 3
    after = fabric.shell(
        "lx1", "bridge fdb show; ip neigh show nud permanent; tc filter show dev og-geneve ingress"
    )
    assert len(after.splitlines()) == len(before.splitlines())
    prove(
        f"{fabric.underlay}: a host that boots is as it was",
        f"{len(after.splitlines())} lines of fdb, neighbours and filters after, as before",
    )


FOREIGN = """
ip link add theirs type geneve id 9 remote {remote} dstport 7000
ip link set theirs up
ip link add og-b{vni:06x} type dummy
ip route add 198.51.100.0/24 dev u0
tc qdisc add dev theirs clsact
tc filter add dev theirs ingress pref 5 matchall action pass
tc filter add dev {tap} ingress pref 5 protocol ip flower ip_proto tcp dst_port 7777 action drop
"""

SHOWN = """
ip -o link show theirs | cut -d: -f2
ip -o -d link show og-b{vni:06x} | grep -o dummy
ip route show 198.51.100.0/24
tc filter show dev theirs ingress
tc filter show dev {tap} ingress pref 5
"""


def test_what_others_made_is_left_alone(fabric: Fabric, prove: Prove) -> None:
    overlay = fabric.overlay
    overlay.network("green")
    words = {
        "vni": overlay.vni("green"),
        "tap": interface_name(fabric.web.name),
        "remote": overlay.lab.linux_host("lx2").endpoint,
    }
    fabric.shell("lx1", FOREIGN.format(**words))
    before = fabric.shell("lx1", SHOWN.format(**words))
    late = overlay.declare("green", 8)
    overlay.plug(late, "lx1", wait=False)
    end = time.monotonic() + patient(10)
    while True:
        told = overlay.controller.ask("conditions", Kind.PORT, late.name)["Programmed"]
        if told[1] == "DeviceInTheWay":
            break
        assert time.monotonic() < end, told
        time.sleep(0.2)
    assert tcp(overlay, fabric.web, fabric.db, 80)
    overlay.remove(late)
    overlay.agents["lx1"].stop()
    overlay.agents["lx1"].start()
    fabric.settle_hosts()
    assert fabric.shell("lx1", SHOWN.format(**words)) == before
    prove(
        f"{fabric.underlay}: devices, filters and routes of others are left alone",
        f"after a network with a device of its name in the way ({told[2]}), and a new agent: {before}",
    )
    fabric.shell(
        "lx1",
        f"ip link del og-b{words['vni']:06x}; ip link del theirs; tc filter del dev {words['tap']} ingress pref 5",
    )


def test_ip_without_ethernet(fabric: Fabric, prove: Prove) -> None:
    overlay = fabric.overlay
    for host in ("lx1", "lx2"):
        fabric.shell(host, "sysctl -qw net.ipv6.conf.all.forwarding=1")
    overlay.network("routed", payload=Payload.IP)
    one, other = overlay.port("routed", "lx1", 1), overlay.port("routed", "lx2", 2)
    with wire(fabric, "lx2", IP_PORT) as passed:
        answered = {address: overlay.ping(one, address) for address in other.addresses}
    assert set(answered.values()) == {3}, answered
    kinds = Counter(
        (packet.header.protocol_type, packet.payload[0] >> 4, packet.options) for _, packet in passed
    )
    assert kinds == {(0x0800, 4, ()): 6, (0x86DD, 6, ()): 6}
    outer, packet = passed[0]
    prove(
        f"{fabric.underlay}: IP goes in GENEVE without Ethernet between Linux hosts",
        f"{answered}; {outer.source} to {outer.destination} port {outer.destination_port},"
        f" protocol type and first bytes: {packet.header.protocol_type:#06x} {packet.payload[:8].hex()}",
    )


def test_fixed_tunnels(fabric: Fabric, prove: Prove) -> None:
    """The last test: it takes all networks away."""
    overlay = fabric.overlay
    overlay.clear()
    for host in overlay.lab.linux_hosts:
        overlay.enrol_linux(host, tunnels=TunnelStyle.FIXED)
    fabric.settle_hosts()
    overlay.network("plain", options=("context",))
    one, other = overlay.port("plain", "lx1", 1, values=TIER_2), overlay.port("plain", "lx2", 2)
    with wire(fabric, "lx2") as passed:
        answered = {address: overlay.ping(one, address) for address in other.addresses}
    assert set(answered.values()) == {3}, answered
    assert not any(packet.options for _, packet in passed)
    devices = fabric.shell("lx1", "ip -o -d link show type geneve")
    assert "external" not in devices
    prove(f"{fabric.underlay}: fixed tunnels carry a network, without options", f"{answered}; {devices}")
