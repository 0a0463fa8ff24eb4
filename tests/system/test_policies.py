# SPDX-License-Identifier: Apache-2.0
"""What option policies do with real packets: each action is seen at a port or on the wire."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_network

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether

from controller.compiler.cookies import Feature
from controller.intent.model import (
    Direction,
    GroupSpec,
    InnerVlan,
    Kind,
    NetworkSpec,
    OptionMatch,
    OptionPolicySpec,
    PolicyAction,
    direct_vni,
)
from controller.intent.rules import (
    Copy,
    FieldName,
    Mirror,
    PacketField,
    PacketMatch,
    PortRange,
    SetDscp,
    SetQueue,
    Stamp,
    StampFrom,
    Steer,
    Strip,
)
from controller.lab import Underlay
from ovs_geneve.geneve.packet import Packet as GenevePacket
from ovs_geneve.values import Vni
from tests.system.overlay import Endpoint, Overlay
from tests.system.packets import BROADCAST, Wire, Wires, marked, token
from tests.system.test_options import layout, on_the_wire

pytestmark = pytest.mark.system

CONTEXT = layout("context", 1, 4, tier=(0, 8), zone=(8, 16))
TRAIL = layout("trail", 2, 8, first=(0, 32), hop=(36, 4), last=(40, 24))

TIER, ZONE = FieldName("context", "tier"), FieldName("context", "zone")
FIRST, HOP, LAST = (FieldName("trail", name) for name in ("first", "hop", "last"))


OVER_BOTH = ("test_a_mirror_hears_what_passes", "test_a_chain_of_two_services_on_two_hosts")
"What is sent to a port by its key, through tunnels of either family; the rest is the same over both."


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    underlays = list(Underlay) if metafunc.function.__name__ in OVER_BOTH else [Underlay.IPV4]
    metafunc.parametrize("shared", underlays, indirect=True, ids=str, scope="module")


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest, make_overlay: Callable[..., Overlay]) -> Overlay:
    overlay = make_overlay(hosts=3, underlay=request.param)
    overlay.schema(CONTEXT)
    overlay.schema(TRAIL)
    return overlay


class World:
    """A network of five ports: `here` and `beside` on hv1, `there` on hv2, two pure Ethernet ports on hv2 and hv3."""

    def __init__(self, overlay: Overlay) -> None:
        self.overlay = overlay
        overlay.network("blue", options=("context", "trail"))
        self.here = overlay.port("blue", "hv1", 1, values={"context.tier": 2, "context.zone": 700})
        self.beside = overlay.port("blue", "hv1", 2)
        self.there = overlay.port("blue", "hv2", 3, values={"context.tier": 9})
        self.tap = overlay.port("blue", "hv3", 4, bare=True)
        self.near_tap = overlay.port("blue", "hv2", 5, bare=True)
        self.near_here = overlay.port("blue", "hv1", 6, bare=True)

    def network(self, **changes: object) -> None:
        spec = NetworkSpec(vni=Vni(self.overlay.vni("blue")), options=("context", "trail"))
        self.overlay.controller.put(Kind.NETWORK, "blue", replace(spec, **changes))  # type: ignore[arg-type]  # a test's word
        self.overlay.controller.settle((Kind.NETWORK, "blue"))

    @contextmanager
    def policies(self, **specs: OptionPolicySpec) -> Iterator[None]:
        controller = self.overlay.controller
        try:
            for name, spec in specs.items():
                controller.put(Kind.OPTION_POLICY, name, spec)
            controller.settle(*((Kind.OPTION_POLICY, name) for name in specs))
            yield
        finally:
            for name in specs:
                controller.delete(Kind.OPTION_POLICY, name)
            controller.settle((Kind.NETWORK, "blue"))

    def wires(self) -> Wires:
        return Wires(self.overlay.lab, self.overlay._ports["blue"])


@pytest.fixture
def world(overlay: Overlay) -> World:
    return World(overlay)


def egress(*actions: object, **rest: object) -> OptionPolicySpec:
    return OptionPolicySpec(network="blue", direction=Direction.EGRESS, actions=actions, **rest)  # type: ignore[arg-type]  # as the dataclass says


def ingress(*actions: object, **rest: object) -> OptionPolicySpec:
    return OptionPolicySpec(network="blue", actions=actions, **rest)  # type: ignore[arg-type]


def frame(source: Endpoint, target: Endpoint, *, tos: int = 0, dport: int = 9) -> Ether:
    return (
        Ether(src=source.mac, dst=target.mac)
        / IP(src=source.ipv4, dst=target.ipv4 if target.addresses else "10.0.0.99", tos=tos)
        / UDP(dport=dport)
    )


def heard(world: World, source: Endpoint, sent: Ether, *listeners: Endpoint) -> dict[str, int]:
    """Send a frame; return who heard it how often, once all listeners have."""
    with world.wires() as wires:
        mark = token()
        wires[source.name].send(marked(sent, mark))
        return wires.counts_after(mark, [listener.name for listener in listeners], grace=0.15)


def options_on_the_wire(world: World, source: Endpoint, sent: Ether) -> list[dict[str, dict[str, int]]]:
    """Send a frame towards hv2; return the options of each packet there, decoded, those that are absent left out."""
    mark = token()

    def say() -> None:
        with Wire(world.overlay.lab, source.name) as wire:
            wire.send(marked(sent, mark))

    _, packets = on_the_wire(world.overlay, say, mark)
    found = []
    for _, packet in packets:
        data = {(option.option_class, option.option_type): option.data for option in packet.options}
        found.append(
            {one.name: one.decode_values(data[one.key]) for one in (CONTEXT, TRAIL) if one.key in data}
        )
    return found


def test_verdicts_by_what_a_packet_is(world: World) -> None:
    here, beside, there = world.here, world.beside, world.there
    web = PacketMatch(protocol=17, destination_ports=(PortRange(79, 82),))
    drop = ingress(to_port=there.name, from_port=here.name, packet=web, action=PolicyAction.DROP)
    with world.policies(rule=drop):
        for port, passes in ((78, True), (79, False), (80, False), (82, False), (83, True)):
            got = heard(world, here, frame(here, there, dport=port), *([there] if passes else []))
            assert got == ({there.name: 1} if passes else {}), port
        assert heard(world, beside, frame(beside, there, dport=80), there) == {there.name: 1}
        six = Ether(src=here.mac, dst=there.mac) / IPv6(src=here.ipv6, dst=there.ipv6) / UDP(dport=81)
        assert heard(world, here, six) == {}, "a protocol is of both families"
        tcp = Ether(src=here.mac, dst=there.mac) / IP(src=here.ipv4, dst=there.ipv4) / TCP(dport=80)
        assert heard(world, here, tcp, there) == {there.name: 1}
    prefix = PacketMatch(destination=ip_network("10.0.0.2/31"), dscp=46)
    with world.policies(rule=egress(from_port=here.name, packet=prefix, action=PolicyAction.DROP)):
        assert heard(world, here, frame(here, there, tos=46 << 2)) == {}
        assert heard(world, here, frame(here, there, tos=45 << 2), there) == {there.name: 1}
        assert heard(world, beside, frame(beside, there, tos=46 << 2), there) == {there.name: 1}


def test_default_deny_in_both_directions(world: World) -> None:
    here, beside, there = world.here, world.beside, world.there
    tier2 = (OptionMatch(schema="context", field="tier", value=2, mask=0xFF),)
    allowed = ingress(to_port=there.name, match=tier2, action=PolicyAction.ALLOW)
    stamped = ingress(Stamp(ZONE, 1), to_port=there.name, priority=300)
    with world.policies(allowed=allowed, stamped=stamped):
        assert heard(world, here, frame(here, there), there) == {there.name: 1}
        assert heard(world, beside, frame(beside, there)) == {}, "one without a verdict opens nothing"
    out = egress(
        from_port=here.name, to_port=there.name, packet=PacketMatch(protocol=1), action=PolicyAction.ALLOW
    )
    with world.policies(out=out):
        assert world.overlay.ping(here, there.ipv4) == 3, "its questions for neighbours are answered"
        assert heard(world, here, frame(here, there)) == {}
        assert heard(world, here, frame(here, beside)) == {}
        assert heard(world, beside, frame(beside, there), there) == {there.name: 1}


def test_options_are_written(world: World) -> None:
    here, there = world.here, world.there
    key = OptionMatch(schema="context", field="tier", value=2, mask=0xFF)
    rules = {
        "stamp": (egress(Stamp(TIER, 0x55), match=(key,)), {"tier": 0x55, "zone": 700}, {}),
        "dscp": (
            egress(Stamp(ZONE, 0xFFFF), StampFrom(ZONE, PacketField.DSCP), from_port=here.name),
            {"tier": 2, "zone": 46},
            {},
        ),
        "copy": (
            egress(Copy(LAST, ZONE), Stamp(HOP, 15), Copy(FIRST, LAST), from_port=here.name),
            {"tier": 2, "zone": 700},
            {"first": 700, "hop": 15, "last": 700},
        ),
    }
    for name, (rule, context, trail) in rules.items():
        with world.policies(rule=rule):
            [options] = options_on_the_wire(world, here, frame(here, there, tos=46 << 2))
            assert options["context"] == context, name
            assert options["trail"] == {"first": 0, "hop": 0, "last": 0, **trail}, name
    with world.policies(rule=egress(StampFrom(LAST, PacketField.SOURCE_PORT_KEY))):
        keys = [
            options_on_the_wire(world, port, frame(port, there))[0]["trail"]["last"]
            for port in (here, world.beside)
        ]
        assert keys == [
            world.overlay.controller.ask("key", Kind.PORT, port.name) for port in (here, world.beside)
        ]
    with world.policies(rule=egress(Strip("trail"), Stamp(TIER, 1))):
        assert options_on_the_wire(world, here, frame(here, there)) == [{"context": {"tier": 1, "zone": 700}}]


def test_a_policy_at_the_sender_decides_what_one_at_the_receiver_sees(world: World) -> None:
    here, there = world.here, world.there
    refuse = ingress(
        to_port=there.name,
        match=(OptionMatch(schema="context", field="tier", value=7, mask=0xFF),),
        action=PolicyAction.DROP,
    )
    stamp = egress(Stamp(TIER, 7), packet=PacketMatch(protocol=17, destination_ports=(PortRange(7, 7),)))
    with world.policies(refuse=refuse, stamp=stamp):
        assert heard(world, here, frame(here, there, dport=8), there) == {there.name: 1}
        assert heard(world, here, frame(here, there, dport=7)) == {}


def test_a_vlan_tag_is_taken_off_and_stamped(world: World) -> None:
    here, there = world.here, world.there
    tagged = (
        Ether(src=here.mac, dst=there.mac)
        / Dot1Q(vlan=0x123, prio=5)
        / IP(src=here.ipv4, dst=there.ipv4)
        / UDP()
    )
    assert heard(world, here, tagged) == {}
    world.network(inner_vlan=InnerVlan.STRIP)
    try:
        with world.policies(rule=egress(Stamp(ZONE, 0xFFFF), StampFrom(ZONE, PacketField.VLAN))):
            assert heard(world, here, tagged, there) == {there.name: 1}
            assert options_on_the_wire(world, here, tagged)[0]["context"]["zone"] == 0x123
            assert options_on_the_wire(world, here, frame(here, there))[0]["context"]["zone"] == 0
        with Wire(world.overlay.lab, there.name) as wire:
            mark = token()
            heard_raw(world, here, marked(tagged, mark), wire, mark)
            [arrived] = [Ether(each) for each in wire.heard() if mark in each]
            assert Dot1Q not in arrived
        false = (
            Ether(src=here.mac, dst=there.mac) / Dot1Q(vlan=5) / IP(src="10.0.0.77", dst=there.ipv4) / UDP()
        )
        assert heard(world, here, false) == {}, "what is behind the tag is checked"
        double = (
            Ether(src=here.mac, dst=there.mac) / Dot1Q(vlan=5) / Dot1Q(vlan=6) / IP(src="10.0.0.77") / UDP()
        )
        assert heard(world, here, double) == {}
    finally:
        world.network()


def heard_raw(world: World, source: Endpoint, sent: bytes, listener: Wire, mark: bytes) -> None:
    with Wire(world.overlay.lab, source.name) as wire:
        wire.send(sent)
        assert listener.wait_for(mark)


def test_dscp_and_queue(world: World) -> None:
    here, there = world.here, world.there
    with world.policies(rule=ingress(SetDscp(12), SetQueue(3), to_port=there.name)):
        with Wire(world.overlay.lab, there.name) as wire:
            mark = token()
            heard_raw(world, here, marked(frame(here, there, tos=46 << 2), mark), wire, mark)
            [arrived] = [Ether(each) for each in wire.heard() if mark in each]
            assert arrived[IP].tos >> 2 == 12
        # Seen in the switch: a queue is nothing that a packet shows.
        flows = [each for each in world.overlay.flows("hv2") if "set_queue:3" in each.rest]
        assert sum(flow.packets for flow in flows) >= 1
        plain = Ether(src=here.mac, dst=there.mac, type=0x88B5) / (b"x" * 30)
        assert heard(world, here, plain, there) == {there.name: 1}


def test_what_a_policy_counted(world: World) -> None:
    """By host; OVS takes over what its datapath counted within a second."""
    here, beside, there = world.here, world.beside, world.there
    with world.policies(rule=egress(action=PolicyAction.ALLOW, packet=PacketMatch(protocol=17))):
        for sender in (here, here, beside, there):
            target = here if sender is there else there
            assert heard(world, sender, frame(sender, target), target) == {target.name: 1}
        end = time.monotonic() + 10
        while True:
            counted = world.overlay.controller.ask("counted", Kind.OPTION_POLICY, "rule", Feature.POLICY)
            packets = {host: count.packets for host, count in counted.items()}
            if packets == {"hv1": 3, "hv2": 1, "hv3": 0}:
                break
            assert time.monotonic() < end, packets
            time.sleep(0.1)
        assert counted["hv1"].bytes == 3 * counted["hv2"].bytes > 0


def test_by_the_groups_of_both_sides(overlay: Overlay) -> None:
    for name in ("web", "db"):
        overlay.controller.put(Kind.GROUP, name, GroupSpec())
    try:
        overlay.network("green", options=("identity",))
        web, db, other, stranger = (
            overlay.port("green", host, number, group=group)
            for number, (host, group) in enumerate(
                (("hv1", "web"), ("hv2", "db"), ("hv1", "db"), ("hv2", None)), 1
            )
        )
        spec = OptionPolicySpec(network="green", action=PolicyAction.ALLOW)
        said = {
            "let-in": replace(spec, from_group="web", to_group="db"),
            "let-out": replace(spec, direction=Direction.EGRESS, from_group="db", to_port=web.name),
        }
        for name, one in said.items():
            overlay.controller.put(Kind.OPTION_POLICY, name, one)
        overlay.controller.settle(*((Kind.OPTION_POLICY, name) for name in said))
        expected = {(web, db), (web, other), (web, stranger), (stranger, web), (db, web), (other, web)}
        everybody = (web, db, other, stranger)
        with Wires(overlay.lab, [port.name for port in everybody]) as wires:
            marks = {}
            for pair in itertools.permutations(everybody, 2):
                marks[pair] = token()
                wires[pair[0].name].send(marked(frame(*pair), marks[pair]))
            time.sleep(0.3)
            got = {
                (sender, target) for (sender, target), mark in marks.items() if wires[target.name].count(mark)
            }
        assert got == expected
        for name in said:
            overlay.controller.delete(Kind.OPTION_POLICY, name)
    finally:
        overlay.clear()
        for name in ("web", "db"):
            overlay.controller.delete(Kind.GROUP, name)


@pytest.mark.parametrize("side", ["sender", "receiver"])
def test_a_mirror_hears_what_passes(world: World, side: str) -> None:
    """On the same host and on another, whole and with its MACs; who it was for gets it once."""
    here, there = world.here, world.there
    for tap in (world.tap, world.near_tap, world.near_here):
        made = egress(Mirror(tap.name), from_port=here.name)
        if side == "receiver":
            made = ingress(Mirror(tap.name), to_port=there.name)
        # The copy is the tap's, whatever it lets in otherwise.
        closed = ingress(to_port=tap.name, action=PolicyAction.DROP)
        with world.policies(rule=made, closed=closed):
            assert heard(world, here, frame(here, there), there, tap) == {there.name: 1, tap.name: 1}
            assert heard(world, there, frame(there, here), here) == {here.name: 1}
            with Wire(world.overlay.lab, tap.name) as wire:
                mark = token()
                sent = marked(frame(here, there), mark)
                heard_raw(world, here, sent, wire, mark)
                assert [each for each in wire.heard() if mark in each] == [sent]
    dropped = egress(Mirror(world.tap.name), from_port=here.name, action=PolicyAction.DROP)
    if side == "receiver":
        dropped = ingress(Mirror(world.tap.name), to_port=there.name, action=PolicyAction.DROP)
    with world.policies(rule=dropped):
        mark = token()

        def say() -> None:
            with world.wires() as wires:
                wires[here.name].send(marked(frame(here, there), mark))
                assert wires.counts_after(mark, [world.tap.name]) == {world.tap.name: 1}

        # Whoever makes the copy is its sender, under the tap's own VNI.
        [(outer, packet)] = on_the_wire(world.overlay, say, mark, host="hv3")[1]
        maker = world.overlay.lab.host("hv1" if side == "sender" else "hv2")
        assert str(outer.source) == str(maker.endpoint)
        assert packet.header.vni == direct_vni(world.overlay.controller.ask("key", Kind.PORT, world.tap.name))


def pass_on(service: Wire, mark: bytes) -> None:
    """Be a service in the wire: what comes to its port goes out there again, as it came."""
    assert service.wait_for(mark)
    [arrived] = [each for each in service.heard() if mark in each]
    service.send(arrived)


def test_a_chain_of_two_services_on_two_hosts(world: World) -> None:
    here, there, first, second = world.here, world.there, world.tap, world.near_here
    web = PacketMatch(protocol=17, destination_ports=(PortRange(80, 80),))
    chain = egress(Steer((first.name, second.name), HOP), packet=web)
    only_inspected = ingress(
        to_port=there.name,
        packet=web,
        match=(OptionMatch(schema="trail", field="hop", value=2, mask=15),),
        action=PolicyAction.ALLOW,
    )
    with world.policies(chain=chain, inspected=only_inspected):
        mark = token()

        def say() -> None:
            with world.wires() as wires:
                wires[here.name].send(marked(frame(here, there, dport=80), mark))
                for service in (first, second):
                    pass_on(wires[service.name], mark)
                assert wires.counts_after(mark, [there.name]) == dict.fromkeys(
                    (first.name, second.name, there.name), 1
                )

        legs = dict[str, list[int]]()

        def say_and_watch_the_first() -> None:
            _, packets = on_the_wire(world.overlay, say, mark, host="hv3")
            legs["hv3"] = [hop_of(packet) for _, packet in packets]

        _, packets = on_the_wire(world.overlay, say_and_watch_the_first, mark)
        legs["hv2"] = [hop_of(packet) for _, packet in packets]
        assert legs == {"hv3": [1, 2], "hv2": [2]}, (
            "to the first, from it to the second, from that to its address"
        )
        assert heard(world, here, frame(here, there, dport=81)) == {}, "only what was inspected is let in"
        plain = Ether(src=first.mac, dst=here.mac) / IP(src="10.0.0.50", dst=here.ipv4) / UDP(dport=80)
        assert heard(world, first, plain, here) == {here.name: 1}, "what a service says itself is not steered"
        to_all = Ether(src=here.mac, dst=BROADCAST) / IP(src=here.ipv4, dst="10.0.0.255") / UDP(dport=80)
        assert heard(world, here, to_all, first)[first.name] == 1, "nor is what everybody is to hear"


def test_a_single_service_keeps_its_own_addresses(world: World) -> None:
    """A service, here beside the sender, passes on what others said; under its own MAC it says only what is its own."""
    here, there, service = world.here, world.there, world.beside
    with world.policies(chain=egress(Steer((service.name,)), from_port=here.name, to_port=there.name)):
        mark = token()
        with world.wires() as wires:
            wires[here.name].send(marked(frame(here, there), mark))
            pass_on(wires[service.name], mark)
            assert wires.counts_after(mark, [there.name]) == {service.name: 1, there.name: 1}
        assert heard(world, here, frame(here, world.tap), world.tap) == {world.tap.name: 1}
        assert heard(world, service, frame(service, there), there) == {there.name: 1}
        lie = Ether(src=service.mac, dst=there.mac) / IP(src="10.0.0.77", dst=there.ipv4) / UDP()
        assert heard(world, service, lie) == {}
    foreign = Ether(src=here.mac, dst=there.mac) / IP(src=here.ipv4, dst=there.ipv4) / UDP()
    assert heard(world, service, foreign) == {}, "it is a service no more"


def hop_of(packet: GenevePacket) -> int:
    """Return how far along the chain a packet is."""
    [data] = [option.data for option in packet.options if option.option_type == TRAIL.option_type]
    return TRAIL.decode_values(data)["hop"]
