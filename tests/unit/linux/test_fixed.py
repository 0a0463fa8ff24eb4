# SPDX-License-Identifier: Apache-2.0
"""Hosts whose tunnels have devices of their own, and networks of IP."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.intent.commands import Record
from controller.intent.model import CapabilitySpec, InnerVlan, Payload, Tunables, TunnelStyle
from controller.linux.compile import parts_of
from controller.linux.layout import TUNNEL_DEVICE
from controller.linux.part import Problem
from ovs_geneve.kernel.objects import GeneveLink, TunnelSet, joined
from tests.builders import bind, group, group_policy, host, network, policy, port, put, schema
from tests.unit.linux.builders import LinuxFabric, linux
from tests.unit.linux.kernel_model import Packet, Tunnel
from tests.unit.linux.test_traffic import between, places, world_of


def small(
    style: TunnelStyle = TunnelStyle.FIXED, payload: Payload = Payload.ETHERNET, **tunables
) -> LinuxFabric:
    """Two Linux hosts with fixed tunnels, one with one device for all, and one with Open vSwitch."""
    fabric = LinuxFabric()
    outer = Tunables(**tunables)
    fabric.do(
        put("lx1", linux("192.0.2.1", "2001:db8:ffff::1", tunnels=style, tunables=outer)),
        put("lx2", linux("192.0.2.2", tunnels=style)),
        put("lx3", linux("2001:db8:ffff::3", "192.0.2.3")),
        put("blue", network(100, payload=payload)),
        put("a1", port("blue", 1, "10.0.0.1", "2001:db8::1")),
        put("a2", port("blue", 2, "10.0.0.2")),
        put("b1", port("blue", 3, "10.0.0.3", "2001:db8::3")),
        put("c1", port("blue", 4, "10.0.0.4", "2001:db8::4")),
        *(bind(name, where) for name, where in (("a1", "lx1"), ("a2", "lx1"), ("b1", "lx2"), ("c1", "lx3"))),
    )
    if payload is Payload.ETHERNET:
        fabric.do(put("hv1", host("192.0.2.9")), put("d1", port("blue", 5, "10.0.0.5")), bind("d1", "hv1"))
    for name in ("lx1", "lx2", "lx3"):
        fabric.plug(name, **{one: f"if-{one}" for one in fabric.intent.ports})
    return fabric


def test_fixed_tunnels_carry_what_the_one_for_all_does() -> None:
    fabric = small()
    world = world_of(fabric)
    assert places(world.send("lx1", "if-a1", between(fabric, "a1", "a2"))) == [("lx1", "if-a2")]
    assert places(world.send("lx1", "if-a1", between(fabric, "a1", "b1", 6))) == [("lx2", "if-b1")]
    assert places(world.send("lx1", "if-a1", between(fabric, "a1", "c1"))) == [("lx3", "if-c1")]
    # Each sends to what the other prefers: there by IPv6, back by IPv4.
    assert places(world.send("lx3", "if-c1", between(fabric, "c1", "a1"))) == [("lx1", "if-a1")]
    ((_, _, packet),) = world.send("lx1", "if-a1", between(fabric, "a1", "d1"))
    assert packet.tunnel == Tunnel(vni=100, src="192.0.2.1", dst="192.0.2.9")
    everybody = replace(between(fabric, "a1", "b1"), dst_mac="ff:ff:ff:ff:ff:ff")
    wanted = [("hv1", ""), ("lx1", "if-a2"), ("lx2", "if-b1"), ("lx3", "if-c1")]
    assert places(world.send("lx1", "if-a1", everybody)) == wanted
    arriving = replace(everybody, tunnel=Tunnel(vni=100, src="192.0.2.9", dst="192.0.2.1"))
    assert places(world.arrive(arriving)) == [("lx1", "if-a1"), ("lx1", "if-a2")], "and not on to other hosts"
    spoofed = replace(between(fabric, "a1", "b1"), src_ip="10.0.0.9")
    assert world.send("lx1", "if-a1", spoofed) == []


def test_tunnels_of_networks_and_hosts_have_names_that_fit() -> None:
    fabric = small()
    for part in fabric.held["lx1"].values():
        assert all(len(link.name) <= 15 for link in part.state.links)


@pytest.mark.parametrize(
    ("tunables", "four", "six"),
    [
        ({}, GeneveLink(df="set"), GeneveLink(udp6_zero_csum_rx=True)),
        (
            {"csum": False, "ttl": 7, "tos": 8, "df_default": False, "udp6_zero_csum": False},
            GeneveLink(ttl=7, tos=8, udp_csum=False),
            GeneveLink(ttl=7, tos=8, udp6_zero_csum_tx=True),
        ),
        (
            {"ttl": "inherit", "tos": "inherit", "df_inherit": True},
            GeneveLink(ttl="inherit", tos="inherit", df="inherit"),
            GeneveLink(ttl="inherit", tos="inherit", udp6_zero_csum_rx=True),
        ),
    ],
)
def test_tunables_become_those_of_devices(tunables, four: GeneveLink, six: GeneveLink) -> None:
    links = small(**tunables).all_of("lx1").state.links
    kinds = {link.kind.remote: link.kind for link in links if isinstance(link.kind, GeneveLink)}
    for remote, wanted in (("192.0.2.2", four), ("2001:db8:ffff::3", six)):
        kind = kinds[remote]
        for name in ("ttl", "tos", "df", "udp_csum", "udp6_zero_csum_tx", "udp6_zero_csum_rx"):
            assert getattr(kind, name) == getattr(wanted, name), (remote, name)


@pytest.mark.parametrize("style", TunnelStyle)
def test_a_network_of_ip_is_routed(style: TunnelStyle) -> None:
    fabric = small(style, Payload.IP)
    world = world_of(fabric)
    for source, destination, version, where in (
        ("a1", "a2", 4, ("lx1", "if-a2")),
        ("a1", "b1", 4, ("lx2", "if-b1")),
        ("a1", "b1", 6, ("lx2", "if-b1")),
        ("b1", "c1", 4, ("lx3", "if-c1")),
        ("a1", "c1", 6, ("lx3", "if-c1")),
        ("c1", "a1", 6, ("lx1", "if-a1")),
    ):
        at = {"a": "lx1", "b": "lx2", "c": "lx3"}[source[0]]
        packet = replace(between(fabric, source, destination, version), dst_mac="02:ff:ff:ff:ff:ff")
        assert places(world.send(at, f"if-{source}", packet)) == [where]
    packet = between(fabric, "a1", "b1")
    assert world.send("lx1", "if-a1", replace(packet, src_ip="10.0.0.2")) == []
    assert world.send("lx1", "if-a1", replace(packet, dst_ip="192.0.2.1")) == [], "an address of the host"
    assert world.send("lx1", "if-a1", replace(packet, dst_ip="198.51.100.1")) == [], "past the routing domain"
    strange = Packet(
        src_mac="",
        dst_mac="",
        src_ip="10.0.0.3",
        dst_ip="192.0.2.1",
        tunnel=Tunnel(vni=100, src="192.0.2.2", dst="192.0.2.1", dst_port=16081),
    )
    assert world.arrive(strange) == []
    assert places(world.arrive(replace(strange, dst_ip="10.0.0.1"))) == [("lx1", "if-a1")]


def test_the_host_answers_for_all_addresses_but_the_ports_own() -> None:
    state = small(payload=Payload.IP).all_of("lx1").state
    answered = {one.address for one in state.neighbours if one.device == "if-a1" and one.mac is None}
    assert answered == {"10.0.0.2", "10.0.0.3", "10.0.0.4", "2001:db8::3", "2001:db8::4"}


FIXED, METADATA = TunnelStyle.FIXED, TunnelStyle.METADATA

REFUSED = {
    "vlan": (
        METADATA,
        [put("blue", network(100, inner_vlan=InnerVlan.STRIP))],
        "network/blue needs taking VLAN tags off",
    ),
    "critical": (
        FIXED,
        [
            *(Record(name=name, spec=CapabilitySpec(critical=True)) for name in ("lx1", "lx2")),
            put("s", schema(0x81)),
            put("blue", network(100, "s")),
        ],
        "network/blue needs critical options",
    ),
    "option-policy": (
        FIXED,
        [
            put("s", schema(1)),
            put("blue", network(100, "s")),
            put("r", policy("blue", {"s.tier": (1, 1)}, to_port="b1")),
        ],
        "option-policy/r needs stamping options that policies match",
    ),
    "protected": (
        FIXED,
        [
            put("web", group()),
            put("blue", network(100, "identity")),
            put("a1", port("blue", 1, "10.0.0.1", group="web")),
            put("in", group_policy("blue", "web")),
        ],
        "policy/in needs policies between groups",
    ),
    "spoken-of": (
        FIXED,
        [
            put("web", group()),
            put("db", group()),
            put("blue", network(100, "identity")),
            put("a1", port("blue", 1, "10.0.0.1", group="web")),
            put("no", group_policy("blue", "db", from_group="web", allow=False)),
        ],
        "policy/no needs telling the group of senders",
    ),
    "stateful": (
        METADATA,
        [
            put("web", group()),
            put("blue", network(100, "identity")),
            put("a1", port("blue", 1, "10.0.0.1", group="web")),
            put("in", group_policy("blue", "web", stateful=True)),
        ],
        "policy/in needs stateful policies",
    ),
    "answers": (
        METADATA,
        [
            put("web", group()),
            put("db", group()),
            put("blue", network(100, "identity")),
            put("a1", port("blue", 1, "10.0.0.1", group="web")),
            put("in", group_policy("blue", "web", from_group="db")),
            put("out", group_policy("blue", "db", from_group="web", stateful=True)),
        ],
        "policy/out needs stateful policies",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_done_is_not_half_done(name: str) -> None:
    """Admission refuses it; what got past it leaves the port without a network, and says why."""
    style, commands, reason = REFUSED[name]
    fabric = LinuxFabric()
    fabric.do(
        put("lx1", host("192.0.2.1")),
        put("lx2", host("192.0.2.2")),
        put("blue", network(100)),
        put("a1", port("blue", 1, "10.0.0.1")),
        put("b1", port("blue", 2, "10.0.0.2")),
        bind("a1", "lx1"),
        bind("b1", "lx2"),
    )
    fabric.do(*commands)
    held = fabric.intent.hosts["lx1"]
    declared = replace(held, spec=linux("192.0.2.1", tunnels=style))
    fabric.swap(declared)
    fabric.plug("lx1", a1="tap1")
    part = fabric.all_of("lx1")
    assert part.state.attachments == frozenset()
    assert not any(one.device == "tap1" for one in (*part.state.filters, *part.state.fdb))
    (problem,) = part.problems
    assert isinstance(problem, Problem)
    assert problem.subject == "port/a1"
    assert reason in problem.reason


def test_two_ports_on_one_interface_are_none() -> None:
    fabric = small(METADATA)
    fabric.plug("lx1", a1="tap0", a2="tap0")
    part = fabric.all_of("lx1")
    assert part.state.attachments == frozenset()
    assert part.problems == (
        Problem(subject="port/a1", reason="its interface tap0 is that of port/a2 as well"),
        Problem(subject="port/a2", reason="its interface tap0 is that of port/a1 as well"),
    )
    fabric.plug("lx1", a1="tap1")
    assert {one.name for one in fabric.all_of("lx1").state.attachments} == {"tap0", "tap1"}


def test_mtu_is_what_the_narrowest_underlay_carries_where_all_are_known() -> None:
    fabric = small(METADATA)
    part = fabric.all_of("lx1")
    assert {one.mtu for one in part.state.attachments} == {None}
    assert {one.mtu for one in part.state.links} == {65_000}
    for name in sorted(fabric.intent.hosts):
        fabric.do(put(name, replace(fabric.intent.hosts[name].spec, underlay_mtu=9000)))
    part = fabric.all_of("lx1")
    links = (one for one in part.state.links if one.name != TUNNEL_DEVICE)
    assert {one.mtu for one in (*links, *part.state.attachments)} == {8930}


@pytest.mark.parametrize(("port_number", "of_ip"), [(6082, 16082), (60_000, 50_000)])
def test_tunnels_use_the_port_of_the_fabric(port_number: int, of_ip: int) -> None:
    def ports(fabric: LinuxFabric) -> tuple[set[int], set[int]]:
        parts = parts_of("lx1", fabric.intent, fabric.interfaces["lx1"], port_number)
        state = joined(part.state for part in parts.values())
        actions = (action for one in state.filters for action in one.actions)
        return (
            {one.kind.dst_port for one in state.links if isinstance(one.kind, GeneveLink)},
            {action.dst_port for action in actions if isinstance(action, TunnelSet)},
        )

    assert ports(small()) == ({port_number}, set())
    assert ports(small(METADATA)) == ({port_number}, {port_number})
    # No two devices of one port differ in payload, and the one for all tunnels is there whatever networks are.
    assert ports(small(payload=Payload.IP)) == ({of_ip}, set())
    assert ports(small(METADATA, payload=Payload.IP)) == ({port_number, of_ip}, set())
