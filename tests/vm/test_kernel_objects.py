# SPDX-License-Identifier: Apache-2.0
"""Kernel objects in a real kernel: netlink and rendered commands make the same, and what was made carries packets."""

from __future__ import annotations

import itertools
import json
import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence

import pytest
from msgspec.structs import replace

from controller.lab import namespaces
from ovs_geneve.kernel import facts, render
from ovs_geneve.kernel.apply import converge
from ovs_geneve.kernel.canonical import canonical
from ovs_geneve.kernel.errors import InTheWay, KernelRefused
from ovs_geneve.kernel.netlink import Netlink
from ovs_geneve.kernel.objects import Encap, GeneveLink, KernelState, Route
from ovs_geneve.kernel.observe import Observation, observe
from ovs_geneve.kernel.plan import plan
from ovs_geneve.kernel.watch import Watch
from tests import kernel_states


def _lacking() -> str:
    if os.geteuid():
        return "needs root: makes network namespaces"
    with Netlink() as netlink:
        missing = facts.missing_modules(netlink)
    return f"kernel {facts.kernel_release()} lacks {', '.join(missing)}" if missing else ""


pytestmark = [pytest.mark.system, pytest.mark.skipif(bool(_lacking()), reason=_lacking())]

ENCAPSULATED = KernelState(
    links=frozenset({kernel_states.link("og-geneve", GeneveLink(), mtu=65000)}),
    routes=frozenset(
        {
            Route(
                table=254,
                prefix="10.3.0.1/32",
                device="og-geneve",
                encap=Encap(vni=5, dst="10.9.0.2", options=kernel_states.options(3)),
            ),
            Route(
                table=254,
                prefix="fd03::1/128",
                device="og-geneve",
                encap=Encap(vni=6, dst="fd09::2", ttl=9, tos=4),
            ),
        }
    ),
)
TUNABLES: tuple[dict[str, object], ...] = (
    {},
    {"ttl": 9, "tos": 0x20, "df": "set"},
    {"ttl": "inherit", "tos": "inherit", "df": "inherit"},
    {"udp_csum": False},
    {"vni": 0xFFFFFF, "remote": "10.9.0.3", "dst_port": 6081},
    {"remote": "fd09::2"},
    {"remote": "fd09::2", "udp6_zero_csum_tx": True, "udp6_zero_csum_rx": True},
    {"remote": "fd09::2", "udp6_zero_csum_rx": True, "ttl": 7},
    {"inner_proto_inherit": True},
)
STATES = {
    "ethernet": kernel_states.ethernet(ports=(1, 3)),
    "ethernet-ipv6": kernel_states.ethernet(local="fd09::1", remote="fd09::2"),
    "routed": kernel_states.routed(),
    "encapsulated": ENCAPSULATED,
} | {f"fixed-{n}": kernel_states.fixed(**tunables) for n, tunables in enumerate(TUNABLES)}

_numbers = itertools.count()


@pytest.fixture
def host() -> Iterator[str]:
    yield from _host()


@pytest.fixture
def other() -> Iterator[str]:
    yield from _host()


def _host() -> Iterator[str]:
    name = f"kernel-{os.getpid()}-{next(_numbers)}"
    namespaces.create(name)
    lines = ["link set lo up"]
    for n in (1, 3, 5):
        lines += [f"link add p{n} type veth peer name q{n}", f"link set p{n} up", f"link set q{n} up"]
    _ip(name, lines)
    yield name
    namespaces.remove(name)


def _ip(host: str, lines: Sequence[str]) -> None:
    subprocess.run(["ip", "-n", host, "-batch", "-"], input="\n".join(lines), text=True, check=True)


def _shell(host: str, script: str) -> str:
    line = ["ip", "netns", "exec", host, "sh", "-ec", script]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


def _converge(host: str, desired: KernelState) -> tuple[KernelRefused, ...]:
    def inside() -> tuple[KernelRefused, ...]:
        with Netlink() as netlink:
            return converge(netlink, desired)

    return namespaces.inside(host, inside)


def _observe(host: str, desired: KernelState) -> Observation:
    def inside() -> Observation:
        with Netlink() as netlink:
            return observe(netlink, settings=[one.path for one in desired.settings])

    return namespaces.inside(host, inside)


def _assert_holds(host: str, desired: KernelState) -> None:
    observed = _observe(host, desired)
    assert observed.state == canonical(desired, observed.state)
    assert plan(desired, observed) == ()


@pytest.mark.parametrize("name", STATES)
def test_what_is_applied_is_observed(host: str, name: str) -> None:
    desired = STATES[name]
    assert _converge(host, desired) == ()
    _assert_holds(host, desired)
    assert _converge(host, KernelState()) == ()
    assert _observe(host, KernelState()).state == KernelState()
    assert "clsact" not in _shell(host, "tc qdisc show")


@pytest.mark.parametrize("name", STATES)
def test_rendered_commands_make_and_end_the_same(host: str, other: str, name: str) -> None:
    desired = STATES[name]
    for _ in range(2):
        assert _shell(other, "\n".join(render.commands(desired))) == ""
        _assert_holds(other, desired)
    assert _converge(host, desired) == ()
    macs = {one.name: one.mac for one in _observe(host, desired).state.links}
    by_commands = _observe(other, desired).state
    links = frozenset(replace(one, mac=macs[one.name]) for one in by_commands.links)
    assert replace(by_commands, links=links) == _observe(host, desired).state
    _shell(other, "\n".join(render.removal(desired)))
    assert replace(_observe(other, desired).state, settings=frozenset()) == KernelState()


def test_every_tunable_changes_into_every_other(host: str) -> None:
    for one in (*TUNABLES, *reversed(TUNABLES), *TUNABLES[::2]):
        desired = kernel_states.fixed(**one)
        assert _converge(host, desired) == ()
        _assert_holds(host, desired)


def test_what_hands_did_is_undone(host: str) -> None:
    desired = kernel_states.ethernet(ports=(1, 3))
    assert _converge(host, desired) == ()
    for damage in (
        "ip link del og-geneve",
        "ip link set og-b00004d type bridge stp_state 1; ip link set og-t00004d down",
        "ip link set og-t00004d nomaster; ip link set p1 nomaster",
        "tc filter del dev p1 ingress; ip neigh flush dev og-b00004d nud permanent",
        "tc filter add dev og-geneve ingress pref 3 matchall action pass; tc qdisc del dev og-t00004d clsact",
        "bridge fdb replace 02:00:00:00:00:02 dev p3 master static; bridge link set dev p1 learning on",
        "ip link del og-b00004d; ip link del og-t00004d",
    ):
        _shell(host, damage)
        assert _converge(host, desired) == ()
        _assert_holds(host, desired)


def test_what_belongs_to_others_is_named_and_stays(host: str) -> None:
    _shell(
        host,
        "ip link add og-geneve type dummy; ip link add mine type geneve external dstport 16081;"
        "tc qdisc add dev p1 clsact; tc filter add dev p1 ingress pref 7 flower dst_mac 02:00:00:00:00:99 action pass;"
        "ip neigh add 10.7.0.1 lladdr 02:00:00:00:00:77 dev p5 nud permanent",
    )
    refused = _converge(host, KernelState(links=kernel_states.fixed().links | kernel_states.ethernet().links))
    assert {one.holder for one in refused if isinstance(one, InTheWay)} == {
        "a device of another owner (dummy)",
        "geneve device mine",
    }
    desired = kernel_states.ethernet()
    assert [str(one) for one in _converge(host, desired)] == [
        "geneve device og-geneve: make: the name is taken: a device of another owner (dummy) is in the way"
    ]
    assert "clsact" not in _shell(host, "tc qdisc show dev og-geneve")
    assert _converge(host, KernelState()) == ()
    assert "02:00:00:00:00:99" in _shell(host, "tc filter show dev p1 ingress")
    assert "10.7.0.1" in _shell(host, "ip neigh show dev p5 nud permanent")
    assert "dummy" in _shell(host, "ip -d link show og-geneve")


def test_a_device_that_goes_is_told(host: str) -> None:
    assert _converge(host, kernel_states.fixed()) == ()
    with namespaces.inside(host, Watch) as watch:
        watch.drain()
        _shell(host, "ip link del og00004ex2")
        assert select.select([watch], [], [], 30)[0]
        assert watch.drain() > 0
        assert watch.drain() == 0


@pytest.fixture
def pair() -> Iterator[tuple[str, str]]:
    makers = [_host(), _host()]
    hosts = next(makers[0]), next(makers[1])
    _ip(hosts[0], [f"link add u0 type veth peer name u0 netns {hosts[1]}"])
    for n, host in enumerate(hosts, start=1):
        workload = f"{host}-w"
        namespaces.create(workload)
        _ip(host, [f"link set q{2 * n - 1} netns {workload}", "link set u0 mtu 1600"])
        _ip(host, [f"addr add 10.9.0.{n}/24 dev u0", f"addr add fd09::{n}/64 dev u0 nodad", "link set u0 up"])
        _ip(
            workload,
            [
                f"link set q{2 * n - 1} name eth0 address {kernel_states.MACS[2 * n - 1]} mtu 1450",
                f"addr add 10.1.0.{2 * n - 1}/24 dev eth0",
                f"addr add fd01::{2 * n - 1}/64 dev eth0 nodad",
                "link set eth0 up",
            ],
        )
    yield hosts
    for host in hosts:
        namespaces.remove(f"{host}-w")
    for maker in makers:
        next(maker, None)


@pytest.mark.parametrize(("first", "second"), [("10.9.0.1", "10.9.0.2"), ("fd09::1", "fd09::2")])
def test_two_hosts_carry_a_network(pair: tuple[str, str], first: str, second: str) -> None:
    one = kernel_states.ethernet(local=first, remote=second, ports=(1,), far=3)
    two = kernel_states.ethernet(local=second, remote=first, ports=(3,), far=1)
    assert _converge(pair[0], one) == ()
    assert _converge(pair[1], two) == ()
    workload = f"{pair[0]}-w"
    with namespaces.inside(pair[1], _sniffer) as wire:
        _shell(workload, "ping -c 3 -i 0.2 -W 5 10.1.0.3; ping -c 3 -i 0.2 -W 5 fd01::3")
        seen = _geneve(wire)
    stamp = bytes.fromhex("ffff8001000000010102010200000000000000 01".replace(" ", ""))
    assert [packet for packet in seen if stamp in packet]
    assert not [packet for packet in seen if b"\x08\x06\x00\x01\x08\x00" in packet], "ARP left the host"
    _shell(workload, "ip addr add 10.1.0.66/24 dev eth0; ! ping -I 10.1.0.66 -c 1 -W 1 10.1.0.3")
    _shell(workload, "ip route add 10.9.0.0/24 dev eth0; ! ping -c 1 -W 1 10.9.0.1")


def _sniffer() -> socket.socket:
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sniffer.bind(("u0", 0))
    sniffer.settimeout(1)
    return sniffer


def _geneve(wire: socket.socket) -> list[bytes]:
    packets = []
    try:
        while True:
            packets.append(wire.recv(2048))
    except TimeoutError:
        return [packet for packet in packets if b"\x17\xc1" in packet[34:60]]


def _option(option_class: int, option_type: int, data: bytes) -> bytes:
    return struct.pack("!HBB", option_class, option_type, len(data) // 4) + data


A, B = _option(0xFFFF, 0x80, bytes(3) + b"\1"), _option(0x0102, 1, bytes(7) + b"\1")
C, D = _option(0x0102, 2, bytes(3) + b"\1"), _option(0x0102, 3, bytes(16))
LONG = _option(0xFFFF, 0x80, bytes(3) + b"\1" + bytes(8))
LISTS = {
    "none": b"", "A": A, "B": B, "AB": A + B, "BA": B + A, "AC": A + C, "ABC": A + B + C, "AD": A + D, "long A": LONG,
}  # fmt: skip
KEYS = {
    "no options": ("", set(LISTS)),
    "A": ("geneve_opts ffff:80:00000001/ffff:ff:ffffffff", {"A", "ABC", "AD"}),
    "A, any value": ("geneve_opts ffff:80:00000000/ffff:ff:00000000", {"A", "ABC", "AD"}),
    "A, any 8 bytes": (
        "geneve_opts ffff:80:00000001/ffff:ff:ffffffff,0:0:0000000000000000/0:0:0000000000000000",
        {"AB", "ABC"},
    ),
    "AC": ("geneve_opts ffff:80:00000001/ffff:ff:ffffffff,0102:02:00000001/ffff:ff:ffffffff", {"AC"}),
}


@pytest.mark.parametrize("name", KEYS)
def test_flower_takes_longer_lists_that_share_the_bits_of_its_length(
    pair: tuple[str, str], name: str
) -> None:
    """docs/decisions/0011: the length of the list is compared under itself as a mask; a shorter one never matches.

    Packets whose option is critical reach the filter: an external device leaves them to it.
    """
    key, expected = KEYS[name]
    state = KernelState(links=frozenset({kernel_states.link("og-geneve", GeneveLink(), mtu=65000)}))
    assert _converge(pair[1], state) == ()
    add = f"tc filter add dev og-geneve ingress pref 9 protocol all flower enc_key_id 77 {key} action drop"
    _shell(pair[1], f"tc qdisc add dev og-geneve clsact; {add}")
    hit = set()
    with namespaces.inside(pair[0], lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        for number, (label, options) in enumerate(LISTS.items(), start=1):
            critical = 0x40 if options[2:3] == b"\x80" else 0
            header = struct.pack("!BBHI", len(options) // 4, critical, 0x6558, 77 << 8)
            before = _hits(pair[1])
            sender.sendto(header + options + bytes(12) + b"\x08\x00" + bytes(46), ("10.9.0.2", 6081))
            _arrived(pair[1], number)
            if _hits(pair[1]) > before:
                hit.add(label)
    assert hit == expected


def _hits(host: str) -> int:
    filters = json.loads(_shell(host, "tc -s -j filter show dev og-geneve ingress"))
    actions = [action for one in filters for action in one.get("options", {}).get("actions", [])]
    return sum(action["stats"]["packets"] for action in actions)


def _arrived(host: str, number: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        link = json.loads(_shell(host, "ip -s -j link show og-geneve"))[0]
        if link["stats64"]["rx"]["packets"] >= number:
            return
        time.sleep(0.05)
    pytest.fail(f"packet {number} did not arrive")
