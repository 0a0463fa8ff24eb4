# SPDX-License-Identifier: Apache-2.0
"""Options that users declare: stamped at one host, matched at another, and the same bytes to every reader."""

from __future__ import annotations

import io
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from controller.intent.model import Kind
from controller.lab import Underlay
from ovs_geneve.geneve.capture import read_capture
from ovs_geneve.geneve.fields import FieldKind, OptionField, OptionLayout
from ovs_geneve.geneve.outer import OuterPacket, find_geneve
from ovs_geneve.geneve.packet import Packet, decode
from ovs_geneve.values import OptionClass, OptionType
from tests.patience import patient
from tests.system.overlay import Endpoint, Overlay
from tests.system.packets import BROADCAST, Wires, marked, token

pytestmark = pytest.mark.system


def layout(name: str, kind: int, length: int, **fields: tuple[int, int]) -> OptionLayout:
    made = (
        OptionField(name=field, kind=FieldKind.UINT, offset=offset, bits=bits)
        for field, (offset, bits) in fields.items()
    )
    return OptionLayout(
        name=name,
        option_class=OptionClass(0xFF00),
        option_type=OptionType(kind),
        length=length,
        fields=tuple(made),
    )


CONTEXT = layout("context", 1, 4, tier=(0, 8), zone=(8, 16))
TRAIL = layout("trail", 2, 12, first=(0, 32), last=(64, 32))


@pytest.fixture(scope="module", params=[Underlay.IPV4, Underlay.IPV6], ids=str)
def shared(request: pytest.FixtureRequest, make_overlay: Callable[..., Overlay]) -> Overlay:
    overlay = make_overlay(hosts=2, underlay=request.param)
    overlay.schema(CONTEXT)
    overlay.schema(TRAIL)
    return overlay


@pytest.fixture
def ports(overlay: Overlay) -> list[Endpoint]:
    """A target on hv2; tiers 1, 2 and 0x12 talk to it from hv1, and again from beside it."""
    overlay.network("blue", options=("context", "trail"))
    made = [overlay.port("blue", "hv2", 1)]
    for number, (host, tier) in enumerate(
        ((host, tier) for host in ("hv1", "hv2") for tier in (1, 2, 0x12)), 2
    ):
        made.append(overlay.port("blue", host, number, values={"context.tier": tier, "context.zone": 700}))
    return made


def passing(overlay: Overlay, sources: list[Endpoint], target: Endpoint) -> list[bool]:
    """Tell for each source whether its frames reach the target, asked of the frames and not of a ping's way back."""
    heard = []
    with Wires(overlay.lab, [port.name for port in (*sources, target)]) as wires:
        for source in sources:
            mark = token()
            frame = Ether(src=source.mac, dst=target.mac) / IP(src=source.ipv4, dst=target.ipv4)
            wires[source.name].send(marked(frame / UDP(dport=9), mark))
            heard.append(mark)
        time.sleep(patient(0.15))
        return [wires[target.name].count(mark) == 1 for mark in heard]


YES, NO = True, False
POLICIES = {
    "a value": ([("context.tier", 2, 0xFF)], "allow", [NO, YES, NO]),
    "a value with a mask": ([("context.tier", 2, 0x0F)], "allow", [NO, YES, YES]),
    "another mask": ([("context.tier", 0, 0xF0)], "allow", [YES, YES, NO]),
    "two fields": ([("context.tier", 1, 0xFF), ("context.zone", 700, 0xFFFF)], "allow", [YES, NO, NO]),
    "a field nobody set": ([("trail.last", 0, 0xFFFFFFFF)], "allow", [YES, YES, YES]),
    "a wrong second field": ([("context.tier", 1, 0xFF), ("context.zone", 701, 0xFFFF)], "allow", [NO] * 3),
    "drop by mask": ([("context.tier", 2, 0x0F)], "drop", [YES, NO, NO]),
    "drop a bit": ([("context.tier", 0x10, 0x10)], "drop", [YES, YES, NO]),
}


@pytest.mark.parametrize("what", POLICIES)
def test_a_policy_matches_what_was_stamped(overlay: Overlay, ports: list[Endpoint], what: str) -> None:
    match, action, expected = POLICIES[what]
    target, *sources = ports
    assert passing(overlay, sources, target) == [YES] * 6
    overlay.policy("rule", "blue", match, action=action, to_port=target.name)
    try:
        # The same from another host and from beside the target: an option needs no tunnel.
        assert passing(overlay, sources, target) == expected * 2
        # Nobody else is concerned.
        assert passing(overlay, sources[:2], sources[5]) == [YES, YES]
    finally:
        overlay.controller.delete(Kind.OPTION_POLICY, "rule")
    overlay.controller.settle((Kind.NETWORK, "blue"), (Kind.PORT, target.name))
    assert passing(overlay, sources, target) == [YES] * 6


def test_pings_are_allowed_and_refused(overlay: Overlay, ports: list[Endpoint]) -> None:
    target, one, two, *_ = ports
    overlay.policy("only2", "blue", [("context.tier", 2, 0xFF)], to_port=target.name)
    overlay.policy("never", "blue", [("context.tier", 1, 0xFF)], to_port=target.name, action="drop")
    try:
        for address in target.addresses:
            assert overlay.ping(two, address) == 3
            assert overlay.ping(one, address, count=2, wait=0.3) == 0
    finally:
        for name in ("only2", "never"):
            overlay.controller.delete(Kind.OPTION_POLICY, name)


def test_a_value_changes_while_its_port_is_in_use(overlay: Overlay, ports: list[Endpoint]) -> None:
    target, one, two, *_ = ports
    overlay.policy("only2", "blue", [("context.tier", 2, 0xFF)], to_port=target.name)
    try:
        assert passing(overlay, [one, two], target) == [NO, YES]
        assert overlay.declare("blue", 2, values={"context.tier": 2}) == one
        assert overlay.declare("blue", 3, values={"context.tier": 1}) == two
        overlay.controller.settle((Kind.PORT, one.name), (Kind.PORT, two.name))
        assert passing(overlay, [one, two], target) == [YES, NO]
    finally:
        overlay.controller.delete(Kind.OPTION_POLICY, "only2")


def on_the_wire(
    overlay: Overlay, say: Callable[[], None], mark: bytes, host: str = "hv2"
) -> tuple[Path, list[tuple[OuterPacket, Packet]]]:
    """Capture a host's underlay while `say` speaks; return the file and the GENEVE packets that carry the token."""
    with overlay.lab.capture(host, expression="udp port 6081") as capture:
        say()
        time.sleep(patient(0.3))
    found = []
    for frame in read_capture(io.BytesIO(capture.path.read_bytes())):
        outer = find_geneve(frame.linktype, frame.data)
        if outer is not None and mark in frame.data:
            assert isinstance(outer, OuterPacket)
            found.append((outer, decode(outer.geneve)))
    return capture.path, found


STAMPED = {"context": (2 << 24 | 700 << 8).to_bytes(4), "trail": bytes(12)}
"What tier 2 in zone 700 says, and what nobody set."


@pytest.mark.parametrize("kind", ["unicast", "broadcast"])
def test_the_option_s_bytes_on_the_wire(overlay: Overlay, ports: list[Endpoint], kind: str) -> None:
    target, _, source, *_ = ports
    mark = token()
    frame = Ether(src=source.mac, dst=target.mac if kind == "unicast" else BROADCAST) / IP(
        src=source.ipv4, dst=target.ipv4
    )

    def say() -> None:
        with Wires(overlay.lab, [source.name]) as wires:
            wires[source.name].send(marked(frame / UDP(dport=9), mark))

    path, packets = on_the_wire(overlay, say, mark)
    assert len(packets) == 1
    outer, packet = packets[0]
    sender, receiver = (overlay.lab.host(name).endpoint for name in ("hv1", "hv2"))
    assert (str(outer.source), str(outer.destination)) == (str(sender), str(receiver))
    assert packet.header.vni == overlay.vni("blue")
    assert not packet.header.oam
    assert not packet.critical
    got = {(option.option_class, option.option_type): option.data for option in packet.options}
    assert got == {each.key: STAMPED[each.name] for each in (CONTEXT, TRAIL)}
    assert CONTEXT.decode_values(got[CONTEXT.key]) == {"tier": 2, "zone": 700}
    assert packet.payload == marked(frame / UDP(dport=9), mark)
    tshark_agrees(path, mark, packet)


def tshark_agrees(path: Path, mark: bytes, packet: Packet) -> None:
    if not shutil.which("tshark"):
        pytest.skip("tshark is not installed")
    fields = (
        "geneve.vni",
        "geneve.flags.oam",
        "geneve.option.class",
        "geneve.option.type",
        "geneve.option.unknown.data",
    )
    line = ["tshark", "-r", str(path), "-Y", f"frame contains {mark.hex(':')}", "-T", "fields"]
    for field in fields:
        line += ["-e", field]
    said = subprocess.run(line, check=True, capture_output=True, text=True).stdout.rstrip("\n").split("\t")
    vni, oam, classes, types, data = said
    assert int(vni, 0) == packet.header.vni
    assert oam in ("0", "False")
    assert [int(each, 0) for each in classes.split(",")] == [each.option_class for each in packet.options]
    assert [int(each, 0) for each in types.split(",")] == [each.option_type for each in packet.options]
    assert data.split(",") == [each.data.hex() for each in packet.options]


def test_every_packet_of_a_network_carries_every_option(overlay: Overlay, ports: list[Endpoint]) -> None:
    """Also the one that answers, whose port has no values: 0 means unset, and absence is never a signal."""
    target, _, source, *_ = ports
    _, packets = on_the_wire(overlay, lambda: check_ping(overlay, source, target), b"")
    assert len(packets) >= 12
    for _, packet in packets:
        keys = [(option.option_class, option.option_type) for option in packet.options]
        assert sorted(keys) == [CONTEXT.key, TRAIL.key]


def check_ping(overlay: Overlay, source: Endpoint, target: Endpoint) -> None:
    assert overlay.ping(source, target.ipv4) == overlay.ping(source, target.ipv6) == 3


def test_a_network_without_options_sends_none(overlay: Overlay) -> None:
    overlay.network("plain")
    one, two = overlay.port("plain", "hv1", 1), overlay.port("plain", "hv2", 2)
    _, packets = on_the_wire(overlay, lambda: check_ping(overlay, one, two), b"")
    assert len(packets) >= 12
    assert not any(packet.options for _, packet in packets)


def test_a_guest_can_forge_no_option(overlay: Overlay, ports: list[Endpoint]) -> None:
    """It wraps its frame in GENEVE with the option that would let it in: outside is what its port declares."""
    target, one, *_ = ports
    forged = GeneveOptions(classid=0xFF00, type=1, length=1, data=STAMPED["context"])
    mark = token()
    frame = Ether(src=one.mac, dst=target.mac) / IP(src=one.ipv4, dst=target.ipv4)
    whole = frame / UDP(dport=6081) / GENEVE(vni=overlay.vni("blue"), proto=0x6558, options=[forged]) / frame

    def say() -> None:
        with Wires(overlay.lab, [one.name]) as wires:
            wires[one.name].send(marked(whole, mark))

    _, packets = on_the_wire(overlay, say, mark)
    assert [packet.options[0].data for _, packet in packets] == [(1 << 24 | 700 << 8).to_bytes(4)]
    overlay.policy("only2", "blue", [("context.tier", 2, 0xFF)], to_port=target.name)
    try:
        with Wires(overlay.lab, [one.name, target.name]) as wires:
            wires[one.name].send(marked(whole, mark))
            time.sleep(0.3)
            assert wires[target.name].count(mark) == 0
    finally:
        overlay.controller.delete(Kind.OPTION_POLICY, "only2")
