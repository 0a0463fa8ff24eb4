# SPDX-License-Identifier: Apache-2.0
"""Where packets go: filters, bridges and tunnels of Linux hosts, walked as the kernel does."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from random import Random

import pytest

from controller.intent.model import PortSpec
from controller.intent.rules import PortRange
from controller.linux.compile import parts_of
from ovs_geneve.kernel.objects import joined
from ovs_geneve.values import mac_text
from tests.builders import bind, group, group_policy, host, network, port, put, schema
from tests.unit.compiler.test_group_decisions import GROUPS, random_intent, said
from tests.unit.compiler.test_group_decisions import Packet as Question
from tests.unit.linux.builders import LinuxFabric, linux
from tests.unit.linux.kernel_model import Packet, Tunnel, World

ENDPOINTS = {"lx1": "192.0.2.1", "lx2": "192.0.2.2", "hv1": "192.0.2.3", "lx6": "2001:db8:ffff::4"}


def small() -> LinuxFabric:
    """Two Linux hosts and one with Open vSwitch; of blue two ports on the first and one on the others."""
    fabric = LinuxFabric()
    fabric.do(
        put("lx1", linux("192.0.2.1", "2001:db8:ffff::1")),
        put("lx2", linux("192.0.2.2")),
        put("hv1", host("192.0.2.3")),
        put("lx6", linux("2001:db8:ffff::4")),
        put("web", group()),
        put("context", schema(1)),
        put("blue", network(100, "context", "identity", values={"context.zone": 7})),
        put("red", network(200)),
        put("a1", port("blue", 1, "10.0.0.1", "2001:db8::1", values={"context.tier": 2})),
        put("a2", port("blue", 2, "10.0.0.2", group="web")),
        put("b1", port("blue", 3, "10.0.0.3", "2001:db8::3")),
        put("c1", port("blue", 4, "10.0.0.4")),
        put("d1", port("blue", 5, "10.0.0.5", "2001:db8::5")),
        put("r1", port("red", 1, "10.0.0.1")),
        put("r2", port("red", 3, "10.0.0.3")),
        bind("a1", "lx1"),
        bind("a2", "lx1"),
        bind("b1", "lx2"),
        bind("c1", "hv1"),
        bind("d1", "lx6"),
        bind("r1", "lx1"),
        bind("r2", "lx2"),
    )
    for name in ("lx1", "lx2", "lx6"):
        fabric.plug(name, **{one: f"if-{one}" for one in fabric.intent.ports})
    return fabric


def world_of(fabric: LinuxFabric) -> World:
    states = {
        name: joined(part.state for part in parts_of(name, fabric.intent, fabric.interfaces[name]).values())
        for name in fabric.intent.linux_hosts
    }
    endpoints = {str(one): held.name for held in fabric.intent.hosts.values() for one in held.spec.endpoints}
    return World(states=states, endpoints=endpoints)


def between(fabric: LinuxFabric, source: str, destination: str, version: int = 4, **rest) -> Packet:
    """Return a packet from a port to a port."""

    def address(spec: PortSpec) -> str:
        return str(next(one for one in spec.addresses if one.version == version))

    one, other = (fabric.intent.ports[name].spec for name in (source, destination))
    spec = {"ip_proto": 17, "src_port": 1000, "dst_port": 2000, **rest}
    return Packet(
        src_mac=mac_text(one.mac),
        dst_mac=mac_text(other.mac),
        protocol="ip" if version == 4 else "ipv6",
        src_ip=address(one),
        dst_ip=address(other),
        **spec,
    )


def places(received: list[tuple[str, str, Packet]]) -> list[tuple[str, str]]:
    return sorted((host_name, interface) for host_name, interface, _ in received)


def test_a_packet_goes_where_its_receiver_is() -> None:
    fabric = small()
    world = world_of(fabric)
    assert places(world.send("lx1", "if-a1", between(fabric, "a1", "a2"))) == [("lx1", "if-a2")]
    assert places(world.send("lx1", "if-a1", between(fabric, "a1", "b1"))) == [("lx2", "if-b1")]
    assert places(world.send("lx2", "if-b1", between(fabric, "b1", "a1", 6))) == [("lx1", "if-a1")]
    assert places(world.send("lx1", "if-a1", between(fabric, "a1", "d1", 6))) == [("lx6", "if-d1")]
    assert places(world.send("lx1", "if-r1", between(fabric, "r1", "r2"))) == [("lx2", "if-r2")]
    ((where, _, packet),) = world.send("lx1", "if-a1", between(fabric, "a1", "c1"))
    assert where == "hv1"
    assert packet.tunnel == Tunnel(
        vni=100,
        src="192.0.2.1",
        dst="192.0.2.3",
        options=((0xFF6E, 1, "00000000"), (0xFF00, 1, "02000700")),
    ), "the options of the sender, in the order of their slots"
    # Two hosts without a family in common do not reach each other.
    assert places(world.send("lx2", "if-b1", between(fabric, "b1", "d1", 6))) == [("hv1", "")]


def test_broadcast_goes_to_everybody_else_of_its_network_once() -> None:
    fabric = small()
    world = world_of(fabric)
    packet = replace(between(fabric, "a2", "b1"), dst_mac="ff:ff:ff:ff:ff:ff")
    received = world.send("lx1", "if-a2", packet)
    assert places(received) == [("hv1", ""), ("lx1", "if-a1"), ("lx2", "if-b1"), ("lx6", "if-d1")]
    (tunnel,) = [one.tunnel for where, _, one in received if where == "hv1"]
    identity = fabric.intent.groups["web"].spec.identity
    assert tunnel is not None
    assert tunnel.options == ((0xFF6E, 1, f"{identity:08x}"), (0xFF00, 1, "00000700"))


def test_broadcast_to_more_hosts_than_a_filter_has_room_for() -> None:
    fabric = LinuxFabric()
    hosts = range(1, 41)
    fabric.do(
        put("blue", network(100)),
        *(put(f"h{n}", (linux if n == 1 else host)(f"192.0.2.{n}")) for n in hosts),
        *(put(f"p{n}", port("blue", n, f"10.0.0.{n}")) for n in hosts),
        *(bind(f"p{n}", f"h{n}") for n in hosts),
    )
    fabric.plug("h1", p1="tap1")
    packet = replace(between(fabric, "p1", "p2"), dst_mac="ff:ff:ff:ff:ff:ff")
    assert places(world_of(fabric).send("h1", "tap1", packet)) == sorted(
        (f"h{n}", "") for n in hosts if n > 1
    )
    filters = fabric.all_of("h1").state.filters
    assert max(len(one.actions) for one in filters) <= 32, "what the kernel takes"


def test_from_the_tunnel_only_known_peers_own_endpoints_and_known_networks() -> None:
    fabric = small()
    world = world_of(fabric)
    inner = between(fabric, "c1", "a1")
    good = Tunnel(vni=100, src="192.0.2.3", dst="192.0.2.1")
    assert places(world.arrive(replace(inner, tunnel=good))) == [("lx1", "if-a1")]
    for vni, src, dst in product((100, 200, 300), ("192.0.2.3", "192.0.2.99", "2001:db8:ffff::9"), ENDPOINTS):
        tunnel = Tunnel(vni=vni, src=src, dst=ENDPOINTS[dst])
        known = src == "192.0.2.3" and dst in {100: ("lx1", "lx2", "lx6"), 200: ("lx1", "lx2")}.get(vni, ())
        received = places(world.arrive(replace(inner, dst_mac="ff:ff:ff:ff:ff:ff", tunnel=tunnel)))
        assert bool(received) is (known or dst == "hv1"), tunnel
        wanted = {100: "abd", 200: "r"}.get(vni, "")
        assert all(interface[3] in wanted for _, interface in received if interface), tunnel
    # An address of another host that the packet was sent on to.
    strange = replace(good, dst="192.0.2.200")
    world.endpoints = {**world.endpoints, "192.0.2.200": "lx1"}
    assert world.arrive(replace(inner, tunnel=strange)) == []


def test_broadcast_from_the_tunnel_stays_on_the_host() -> None:
    fabric = small()
    packet = replace(
        between(fabric, "c1", "a1"),
        dst_mac="ff:ff:ff:ff:ff:ff",
        tunnel=Tunnel(vni=100, src="192.0.2.3", dst="192.0.2.1"),
    )
    assert places(world_of(fabric).arrive(packet)) == [("lx1", "if-a1"), ("lx1", "if-a2")]


def test_probes_of_the_prober_reach_no_port() -> None:
    fabric = small()
    tunnel = Tunnel(vni=100, src="192.0.2.3", dst="192.0.2.1")
    for last in range(5):
        packet = Packet(src_mac="06:76:67:70:72:00", dst_mac=f"06:76:67:70:72:0{last}", protocol="0x88b5")
        assert world_of(fabric).arrive(replace(packet, tunnel=tunnel)) == []


@pytest.mark.parametrize("seed", range(20))
def test_a_port_speaks_only_as_itself(seed: int) -> None:
    random = Random(seed)
    fabric = small()
    world = world_of(fabric)
    sent = 0
    for _ in range(300):
        name = random.choice(("a1", "a2"))
        packet = random_packet(fabric, random)
        received = world.send("lx1", f"if-{name}", packet)
        for _, _, seen in received:
            assert is_own(fabric.intent.ports[name].spec, seen), seen
        if is_own(fabric.intent.ports[name].spec, packet) and not is_refused(packet):
            assert received, packet
        sent += bool(received)
    assert sent > 3, "nothing was let out"


def random_packet(fabric: LinuxFabric, random: Random) -> Packet:
    addresses = [str(one) for held in fabric.intent.ports.values() for one in held.spec.addresses]
    macs = [mac_text(fabric.intent.ports[name].spec.mac) for name in ("a1", "a2", "b1")]
    protocol = random.choice(("ip", "ipv6", "arp", "rarp", "802.1Q", "802.1ad", "0x9999"))
    source = random.choice((*addresses, "fe80::ff:fe00:1", "::", "0.0.0.0"))
    if (":" in source) != (protocol == "ipv6"):
        source = "10.0.0.1" if protocol != "ipv6" else "2001:db8::1"
    arp = protocol == "arp"
    return Packet(
        src_mac=random.choice(macs),
        dst_mac=random.choice(("ff:ff:ff:ff:ff:ff", "01:80:c2:00:00:02", *macs, "33:33:00:00:00:01")),
        protocol=protocol,
        ip_proto=random.choice((6, 17, 58)) if protocol in ("ip", "ipv6") else 0,
        src_ip=source if protocol in ("ip", "ipv6") else None,
        dst_ip={"ip": random.choice(("255.255.255.255", "10.0.0.3")), "ipv6": "2001:db8::3"}.get(protocol),
        src_port=random.choice((68, 1000)),
        dst_port=random.choice((67, 2000)),
        icmp_type=random.choice((128, 133, 134, 135, 136, 137, 143)),
        arp_sip=source if arp else None,
        arp_sha=random.choice(macs) if arp else None,
        arp_tip="10.0.0.3" if arp else None,
    )


def is_own(spec: PortSpec, packet: Packet) -> bool:
    """Tell whether a port may say this, as docs/pipeline.md has it of ANTISPOOF and ND_GUARD."""
    own = {str(one) for one in spec.addresses}
    if any(one.version == 6 for one in spec.addresses):
        own.add("fe80::ff:fe00:1")
    if packet.src_mac != mac_text(spec.mac):
        return False
    icmp = packet.icmp_type if packet.protocol == "ipv6" and packet.ip_proto == 58 else None
    match packet.protocol:
        case "ip":
            dhcp = (packet.ip_proto, packet.src_port, packet.dst_port) == (17, 68, 67)
            starting = packet.src_ip == "0.0.0.0" and packet.dst_ip == "255.255.255.255" and dhcp
            return packet.src_ip in own or (starting and "." in "".join(own))
        case "ipv6":
            starting = packet.src_ip == "::" and icmp in (133, 135, 143) and ":" in "".join(own)
            return icmp not in (134, 137) and (packet.src_ip in own or starting)
        case "arp":
            return packet.arp_sha == packet.src_mac and packet.arp_sip in {*own, "0.0.0.0"}
        case "rarp" | "802.1Q" | "802.1ad":
            return False
        case _:
            return True


def is_refused(packet: Packet) -> bool:
    """Tell whether nobody is behind what a packet is addressed to."""
    return packet.dst_mac.startswith("01:80:c2") or packet.dst_mac == packet.src_mac


def test_a_port_without_addresses_is_held_to_its_mac_and_sends_no_tags() -> None:
    fabric = small()
    fabric.do(put("e1", port("blue", 9)), bind("e1", "lx1"))
    fabric.plug("lx1", e1="if-e1")
    world = world_of(fabric)
    own = Packet(src_mac="02:00:00:00:00:09", dst_mac="02:00:00:00:00:03", src_ip="198.51.100.1")
    assert places(world.send("lx1", "if-e1", own)) == [("lx2", "if-b1")]
    assert world.send("lx1", "if-e1", replace(own, src_mac="02:00:00:00:00:01")) == []
    assert world.send("lx1", "if-e1", replace(own, protocol="802.1Q")) == []


@pytest.mark.parametrize("seed", range(40))
def test_filters_decide_as_the_policies_say(seed: int) -> None:
    """From every sort of sender to every sort of receiver, whatever host they are on."""
    random = Random(seed)
    fabric = LinuxFabric(intent=random_intent(random))
    policies = {held.name: held.spec for held in fabric.intent.policies.values()}
    fabric.do(
        *(put(name, replace(spec, stateful=False, log=False)) for name, spec in policies.items()),
        put("lx1", linux("192.0.2.1")),
        put("lx2", linux("192.0.2.2")),
        put("hv1", host("192.0.2.3")),
        *(
            put(
                f"{where}-{who or 'any'}",
                port("blue", 16 * i + j, f"10.0.{i}.{j}", f"2001:db8::{i}:{j}", group=who),
            )
            for i, where in enumerate(("lx1", "lx2", "hv1"), 1)
            for j, who in enumerate(GROUPS, 1)
        ),
        *(bind(f"{where}-{who or 'any'}", where) for where in ("lx1", "lx2", "hv1") for who in GROUPS),
    )
    for name in ("lx1", "lx2"):
        fabric.plug(name, **{one: f"if-{one}" for one in fabric.intent.ports if one.startswith(name)})
    world = world_of(fabric)
    for _ in range(150):
        source, receiver = random.choice(("lx1", "lx2", "hv1")), random.choice(("lx1", "lx2"))
        sender, group_name = random.choice(GROUPS), random.choice(GROUPS)
        version = random.choice((4, 6))
        question = Question(
            sender,
            group_name,
            version,
            random.choice([p for p in (6, 17, 1, 58, 47) if p != (58 if version == 4 else 1)]),
            1000,
            random.choice((22, 80, 81, 443, 5432)),
        )
        one, other = f"{source}-{sender or 'any'}", f"{receiver}-{group_name or 'any'}"
        if one == other:
            continue
        packet = between(
            fabric,
            one,
            other,
            version,
            ip_proto=question.protocol,
            dst_port=question.destination,
            icmp_type=128,
        )
        if source == "hv1":
            identity = 0 if sender is None else fabric.intent.groups[sender].spec.identity
            tunnel = Tunnel(
                vni=100,
                src="192.0.2.3",
                dst=ENDPOINTS[receiver],
                options=((0xFF6E, 1, f"{0xABCD:04x}{identity:04x}"),),
            )
            received = world.arrive(replace(packet, tunnel=tunnel))
        else:
            received = world.send(source, f"if-{one}", packet)
        wanted = [(receiver, f"if-{other}")] if said(fabric.intent, question) else []
        assert places(received) == wanted, (question, source, receiver)


def test_a_fragment_does_not_pass_where_ports_are_kept_out() -> None:
    fabric = small()
    fabric.do(
        put("db", group()),
        put("b1", port("blue", 3, "10.0.0.3", "2001:db8::3", group="db")),
        put("in", group_policy("blue", "db")),
        put(
            "no-telnet",
            group_policy("blue", "db", priority=200, protocol=6, ports=(PortRange(23, 23),), allow=False),
        ),
    )
    world = world_of(fabric)
    packet = between(fabric, "a1", "b1", ip_proto=6, dst_port=22)
    assert places(world.send("lx1", "if-a1", packet)) == [("lx2", "if-b1")]
    assert world.send("lx1", "if-a1", replace(packet, dst_port=23)) == []
    assert world.send("lx1", "if-a1", replace(packet, dst_port=23, fragment=True)) == []


def test_neighbour_discovery_passes_whatever_policies_say() -> None:
    fabric = small()
    fabric.do(
        put("db", group()),
        put("b1", port("blue", 3, "10.0.0.3", "2001:db8::3", group="db")),
        put("nobody", group_policy("blue", "db", allow=False)),
    )
    world = world_of(fabric)
    assert world.send("lx1", "if-a1", between(fabric, "a1", "b1")) == []
    for icmp_type in (135, 136):
        packet = between(fabric, "a1", "b1", 6, ip_proto=58, icmp_type=icmp_type)
        assert places(world.send("lx1", "if-a1", packet)) == [("lx2", "if-b1")]
    arp = Packet(
        src_mac="02:00:00:00:00:01",
        dst_mac="02:00:00:00:00:03",
        protocol="arp",
        arp_sha="02:00:00:00:00:01",
        arp_sip="10.0.0.1",
        arp_tip="10.0.0.3",
    )
    assert places(world.send("lx1", "if-a1", arp)) == [("lx2", "if-b1")]
