# SPDX-License-Identifier: Apache-2.0
"""Probes through real tunnels: green where all is well, and the very thing named that was broken."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest
from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from controller.compiler.meters import PROBES
from controller.intent.model import Kind, OffloadChoice
from controller.intent.mtu import OVERHEAD
from controller.lab import LabHost, Underlay, links, namespaces
from controller.lab.settings import fabric_namespace
from controller.prober.model import Result, Verdict
from controller.prober.plan import Request
from ovs_geneve.geneve.probe import ETHERTYPE, Pattern, Probe, encode
from tests.system.overlay import FlowLine, Overlay
from tests.system.packets import Wire, Wires
from tests.system.test_offload import declare
from tests.system.test_options import layout

pytestmark = pytest.mark.system

CONTEXT = layout("context", 1, 4, tier=(0, 8), zone=(8, 16))
MARK = layout("mark", 2, 4, value=(0, 32))
TRAIL = layout("trail", 3, 12, first=(0, 32), last=(64, 32))
OPTIONS_LENGTH = 8 + 8 + 16

HOSTS = ("hv1", "hv2", "hv3")
PAIRS = {(one, other) for one in HOSTS for other in HOSTS if one != other}

Verify = Callable[..., Mapping[tuple[str, str], Result]]


@pytest.fixture(scope="module", params=[Underlay.IPV4, Underlay.IPV6], ids=str)
def shared(request: pytest.FixtureRequest, make_overlay: Callable[..., Overlay]) -> Overlay:
    overlay = make_overlay(hosts=3, underlay=request.param)
    for each in (CONTEXT, MARK, TRAIL):
        overlay.schema(each)
    return overlay


@pytest.fixture
def verify(overlay: Overlay) -> Verify:
    """Blue with a port on each host, and what a run says of it, by pair."""
    overlay.network("blue", options=("context", "mark", "trail"))
    for number, host in enumerate(HOSTS, 1):
        overlay.port("blue", host, number)

    def run(**what: object) -> Mapping[tuple[str, str], Result]:
        results = overlay.controller.ask("verify", Request(**{"network": "blue", **what}))  # type: ignore[arg-type]  # tests
        return {(one.leg.source, one.leg.destination): one for one in results}

    return run


def verdicts(found: Mapping[tuple[str, str], Result]) -> dict[tuple[str, str], Verdict]:
    return {pair: one.verdict for pair, one in found.items()}


def concerning(host: str, verdict: Verdict) -> dict[tuple[str, str], Verdict]:
    """Return what a run should say when a host has this fault in both directions."""
    return {pair: verdict if host in pair else Verdict.OK for pair in PAIRS}


def version(overlay: Overlay) -> int:
    return overlay.lab.host("hv1").endpoint.version


def test_all_is_proved_and_nothing_reaches_a_port(overlay: Overlay, verify: Verify) -> None:
    with Wires(overlay.lab, [f"blue{number}" for number in (1, 2, 3)]) as wires:
        for _ in range(3):  # what datapaths remember of the run before must not answer for this one
            found = verify()
            assert verdicts(found) == dict.fromkeys(PAIRS, Verdict.OK), [one.reason for one in found.values()]
            for one in found.values():
                assert (one.sent, one.seen, one.echoes, one.lost) == (2, 2, 2, 0)
                assert {(each.option, each.verified) for each in one.options} == {
                    ("context", True),
                    ("mark", True),
                    ("trail", True),
                }
                assert (
                    one.proved_mtu
                    == overlay.lab.host("hv1").mtu - OVERHEAD[version(overlay)] - OPTIONS_LENGTH
                )
                assert one.rtt_min is not None
                assert 0 < one.rtt_min < 1
        time.sleep(0.3)
        for number in (1, 2, 3):
            frames = wires[f"blue{number}"].heard()
            assert not [frame for frame in frames if frame[12:14] == ETHERTYPE.to_bytes(2)]


def test_a_host_without_a_port_of_the_network(overlay: Overlay, verify: Verify) -> None:
    overlay.network("red", options=("trail",))
    assert verify(network="red") == {}
    found = verify(network="red", all_hosts=True)
    assert verdicts(found) == dict.fromkeys(PAIRS, Verdict.OK)


def test_a_link_with_a_small_mtu(overlay: Overlay, verify: Verify) -> None:
    with cable_mtu(overlay, "hv3", 1400):
        found = verify()
    assert verdicts(found) == concerning("hv3", Verdict.MTU)
    for pair, one in found.items():
        if "hv3" in pair:
            assert one.proved_mtu is not None
            carries = one.proved_mtu + OVERHEAD[version(overlay)] + OPTIONS_LENGTH
            # Some ways out of Linux leave room for a VLAN tag, whether there is one or not (is_skb_forwardable).
            assert carries in (1400, 1404)
            said = (
                f"packets of up to {one.proved_mtu} bytes pass ({carries} on the underlay between {pair[0]}"
            )
            assert said in one.reason
            assert all(each.verified for each in one.options)
    assert verdicts(verify()) == dict.fromkeys(PAIRS, Verdict.OK)


def test_a_cable_that_is_out(overlay: Overlay, verify: Verify) -> None:
    overlay.lab.set_cable("hv3", up=False)
    try:
        found = verify()
    finally:
        overlay.lab.set_cable("hv3", up=True)
    assert verdicts(found) == concerning("hv3", Verdict.UNREACHABLE)
    endpoint = overlay.lab.host("hv3").endpoint
    assert f"to {endpoint} arrives at hv3" in found["hv1", "hv3"].reason
    assert verdicts(verify()) == dict.fromkeys(PAIRS, Verdict.OK)


SWAPPED = ("{class=0xff00,type=2,len=4}->tun_metadata%d", "{class=0xff00,type=1,len=4}->tun_metadata%d")
FOREIGN = ("{class=0xff00,type=77,len=4}->tun_metadata%d", "{class=0xff00,type=2,len=4}->tun_metadata%d")


def test_two_options_that_changed_places_behind_our_back(overlay: Overlay, verify: Verify) -> None:
    with remapped(overlay.lab.host("hv3"), SWAPPED):
        found = verify()
    # What hv3 sends, and what arrives there; hv1 and hv2 are as they were.
    assert verdicts(found) == concerning("hv3", Verdict.OPTIONS)
    for pair in (("hv1", "hv3"), ("hv3", "hv2")):
        problems = {one.option: one.problem for one in found[pair].options if not one.verified}
        assert set(problems) == {"context", "mark"}
        assert all("arrives in tun_metadata" in problem for problem in problems.values())
        assert f"the TLV map of {pair[1]} is not ours" in found[pair].reason
    assert verdicts(verify()) == dict.fromkeys(PAIRS, Verdict.OK)


def test_an_option_that_a_host_does_not_map_any_more(overlay: Overlay, verify: Verify) -> None:
    with remapped(overlay.lab.host("hv3"), FOREIGN):
        found = verify()
    assert verdicts(found) == concerning("hv3", Verdict.OPTIONS)
    for pair in (("hv1", "hv3"), ("hv3", "hv2")):
        problems = {one.option: one.problem for one in found[pair].options if not one.verified}
        assert set(problems) == {"context"}
        assert f"not seen at {pair[1]}" in problems["context"]
    assert verdicts(verify()) == dict.fromkeys(PAIRS, Verdict.OK)


def test_a_bridge_that_is_away(overlay: Overlay, verify: Verify) -> None:
    overlay.lab.host("hv3").kill_vswitchd()
    try:
        # The session ends at once, the host's datapath with it.
        end = time.monotonic() + 5
        while (found := verify())["hv3", "hv1"].verdict is not Verdict.SKIPPED:
            assert time.monotonic() < end
    finally:
        overlay.lab.host("hv3").start_vswitchd()
    assert (
        found["hv3", "hv1"].reason
        == "the bridge of hv3 is not connected to this controller, or does not keep up"
    )
    assert found["hv1", "hv3"].verdict is Verdict.UNREACHABLE
    assert found["hv1", "hv2"].verdict is Verdict.OK
    end = time.monotonic() + 10
    while set(verdicts(verify()).values()) != {Verdict.OK}:
        assert time.monotonic() < end


def test_a_stranger_s_storm_goes_no_further_than_peers(overlay: Overlay, verify: Verify) -> None:
    before = reported(overlay, "hv1")
    storm(overlay, "hv1", source=stranger(overlay), count=3000)
    assert reported(overlay, "hv1") == before
    assert verdicts(verify()) == dict.fromkeys(PAIRS, Verdict.OK)


def test_a_peer_s_storm_goes_no_further_than_the_meter(overlay: Overlay, verify: Verify) -> None:
    host = overlay.lab.host("hv1")
    before, dropped = reported(overlay, "hv1"), dropped_by_meter(host)
    storm(overlay, "hv1", source=str(overlay.lab.host("hv2").endpoint), count=6000)
    # Some are lost on the way into the datapath; what gets in is more than the meter lets up.
    assert reported(overlay, "hv1") - before > 1500
    assert dropped_by_meter(host) - dropped > 300
    time.sleep(1.2)  # until the meter has tokens again
    assert verdicts(verify()) == dict.fromkeys(PAIRS, Verdict.OK)


def test_hosts_that_offload_know_probes_by_their_vni(overlay: Overlay, verify: Verify) -> None:
    with offloading(overlay, "hv1"), Wires(overlay.lab, ["blue1", "blue2", "blue3"]) as wires:
        for _ in range(3):
            found = verify()
            assert verdicts(found) == dict.fromkeys(PAIRS, Verdict.OK), [one.reason for one in found.values()]
            assert all(each.verified for one in found.values() for each in one.options)
        time.sleep(1.2)  # until the datapath's counters have reached the flows
        before = reported(overlay, "hv1")
        assert before
        forged = encode(Probe(run=1, sequence=1, pattern=Pattern.VALUE, size=64))
        wires["blue2"].send(forged[:6] + bytes.fromhex("020000000002") + forged[12:])
        time.sleep(1.2)
        assert wires["blue1"].count(forged[12:]) == 1, "a frame like others, to a MAC that nobody has"
        assert reported(overlay, "hv1") == before


def test_oam_packets_that_are_no_probes_end_at_once(overlay: Overlay, verify: Verify) -> None:
    # Last, as what follows: Open vSwitch learns the MAC of a peer from packets that claim to be its.
    other = Ether(src="02:00:00:00:00:02", dst="02:00:00:00:00:01") / IP(src="10.0.0.2", dst="10.0.0.1")
    with Wires(overlay.lab, ["blue1"]) as wires:
        mark = b"no probe at all"
        packet = wrapped(overlay, "hv1", str(overlay.lab.host("hv2").endpoint), bytes(other) + mark)
        with Wire(overlay.lab) as underlay:
            underlay.send(packet)
        time.sleep(0.3)
        assert wires["blue1"].count(mark) == 0


def test_a_host_that_offloads_takes_oam_packets_of_peers(overlay: Overlay, verify: Verify) -> None:
    mark, peer = b"no probe at all", str(overlay.lab.host("hv2").endpoint)
    with offloading(overlay, "hv1"), Wires(overlay.lab, ["blue1", "blue3"]) as wires:
        with Wire(overlay.lab) as underlay:
            for number in (1, 3):
                inner = Ether(src="02:00:00:00:00:02", dst=f"02:00:00:00:00:0{number}")
                inner /= IP(src="10.0.0.2", dst=f"10.0.0.{number}")
                underlay.send(wrapped(overlay, f"hv{number}", peer, bytes(inner) + mark))
                underlay.send(wrapped(overlay, f"hv{number}", stranger(overlay), bytes(inner) + mark))
        time.sleep(0.3)
        assert {name: wires[name].count(mark) for name in ("blue1", "blue3")} == {"blue1": 1, "blue3": 0}


@contextmanager
def offloading(overlay: Overlay, host: str) -> Iterator[None]:
    """Have a host hand its flows to traffic control, as far as its datapath has any."""
    declare(overlay, host, OffloadChoice.ON)
    overlay.controller.settle((Kind.HOST, host))
    try:
        yield
    finally:
        declare(overlay, host, None)
        overlay.controller.settle((Kind.HOST, host))


@contextmanager
def cable_mtu(overlay: Overlay, host: str, mtu: int) -> Iterator[None]:
    """Have the underlay carry no more than this to and from a host, without its knowing."""
    fabric, was = fabric_namespace(overlay.lab.state.name), overlay.lab.host(host).mtu
    namespaces.inside(fabric, lambda: links.set_mtu(f"{host}-u", mtu))
    try:
        yield
    finally:
        namespaces.inside(fabric, lambda: links.set_mtu(f"{host}-u", was))


@contextmanager
def remapped(host: LabHost, maps: tuple[str, str]) -> Iterator[None]:
    """Give the slots of context and mark to other options, as somebody with ovs-ofctl could."""
    shown = host.ofctl("dump-tlv-map", "br-int")
    slots = [slot_in(shown, option) for option in (1, 2)]
    ours = ("{class=0xff00,type=1,len=4}->tun_metadata%d", "{class=0xff00,type=2,len=4}->tun_metadata%d")
    _remap(host, slots, maps)
    try:
        yield
    finally:
        _remap(host, slots, ours)


def slot_in(shown: str, option_type: int) -> int:
    found = re.search(rf"0xff00\s+0x{option_type:x}\s+\d+\s+tun_metadata(\d+)", shown)
    assert found is not None, shown
    return int(found[1])


def _remap(host: LabHost, slots: list[int], maps: tuple[str, str]) -> None:
    """Change the TLV map under the flows: they have to go for that, and come back as they were."""
    flows = host.directory / "flows.txt"
    dump = host.ofctl("--no-stats", "dump-flows", "br-int")
    flows.write_text("\n".join(line.strip() for line in dump.splitlines() if "cookie=" in line))
    host.ofctl("del-flows", "br-int")
    for slot in slots:
        unmap(host, slot)
    wanted = [one % slot for one, slot in zip(maps, slots, strict=True)]
    host.ofctl("add-tlv-map", "br-int", ",".join(wanted))
    host.ofctl("add-flows", "br-int", str(flows))


def unmap(host: LabHost, slot: int) -> None:
    line = re.search(
        rf"(0x\w+)\s+(0x\w+)\s+(\d+)\s+tun_metadata{slot}\b", host.ofctl("dump-tlv-map", "br-int")
    )
    assert line is not None
    what = f"{{class={line[1]},type={line[2]},len={line[3]}}}->tun_metadata{slot}"
    end = time.monotonic() + 2
    while True:
        # OVS says for a moment that the slot is in use (docs/decisions/0004).
        host.ofctl("del-tlv-map", "br-int", what)
        if f"tun_metadata{slot}\n" not in host.ofctl("dump-tlv-map", "br-int") + "\n":
            return
        assert time.monotonic() < end
        time.sleep(0.02)


def reported(overlay: Overlay, host: str) -> int:
    """Count the requests that got as far as the flow that reports them."""
    return sum(line.packets for line in probe_flows(overlay, host))


def probe_flows(overlay: Overlay, host: str) -> list[FlowLine]:
    return [line for line in overlay.flows(host) if "dl_dst=06:76:67:70:72:01" in line.rest]


def dropped_by_meter(host: LabHost) -> int:
    shown = host.ofctl("meter-stats", "br-int", f"meter={PROBES}")
    found = re.search(r"bands:\s+0: packet_count:(\d+)", shown)
    assert found is not None, shown
    return int(found[1])


def stranger(overlay: Overlay) -> str:
    """Return an underlay address that no host has."""
    return "10.9.0.200" if version(overlay) == 4 else "fd09::c8"


def wrapped(overlay: Overlay, host: str, source: str, payload: bytes) -> bytes:
    """Return an OAM packet to a host as it goes over the underlay."""
    target = overlay.lab.host(host)
    ip = (
        IP(src=source, dst=str(target.endpoint))
        if version(overlay) == 4
        else IPv6(src=source, dst=str(target.endpoint))
    )
    ethernet = Ether(src="02:09:00:00:00:c8", dst=target.endpoint_mac)
    geneve = GENEVE(vni=overlay.vni("blue"), proto=0x6558, oam=1)
    return bytes(ethernet / ip / UDP(sport=1234, dport=6081) / geneve / payload)


def storm(overlay: Overlay, host: str, source: str, count: int) -> None:
    """Send probes that nobody asked for."""
    probe = encode(Probe(run=1, sequence=1, pattern=Pattern.VALUE, size=64))
    packet = wrapped(overlay, host, source, probe)
    with Wire(overlay.lab) as underlay:
        for number in range(count):
            underlay.send(packet)
            if number % 100 == 99:
                time.sleep(0.01)  # a socket of vswitchd takes about 250 at once
    time.sleep(1.2)  # until the datapath's counters have reached the flows
