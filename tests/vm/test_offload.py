# SPDX-License-Identifier: Apache-2.0
"""Hosts with traffic control in software: what the report says is what is there. No NIC is involved."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from controller.intent.model import Kind, OffloadChoice
from controller.lab import Datapath
from ovs_geneve.geneve.capture import read_capture
from ovs_geneve.offload.placement import Place, Way, parse_dump
from tests.patience import patient
from tests.system.overlay import Endpoint, Overlay
from tests.system.test_offload import declare, reported
from tests.system.test_options import CONTEXT
from tests.vm.conftest import Prove

pytestmark = pytest.mark.system

OPTION = "{class=0xff00,type=0x1,len=4,"


@pytest.fixture(scope="module")
def shared(make_overlay: Callable[..., Overlay]) -> Overlay:
    overlay = make_overlay(hosts=2, datapath=Datapath.SYSTEM)
    overlay.schema(CONTEXT)
    for host in overlay.lab.hosts:
        declare(overlay, host.name, OffloadChoice.ON)
    overlay.controller.settle(*((Kind.HOST, host.name) for host in overlay.lab.hosts))
    return overlay


@pytest.fixture
def ports(overlay: Overlay) -> tuple[Endpoint, Endpoint]:
    overlay.network("blue", options=("context",))
    one, other = (overlay.port("blue", f"hv{n}", n, values={"context.tier": n}) for n in (1, 2))
    return one, other


def places(view: dict[str, Any], way: str) -> set[str]:
    return {each["place"] for each in view["live"] if each["way"] == way and each["packets"]}


def test_the_report_agrees_with_the_datapath(
    overlay: Overlay, ports: tuple[Endpoint, Endpoint], prove: Prove
) -> None:
    source, target = ports
    assert overlay.ping(source, target.ipv4, count=5) == 5
    host = reported(overlay, "hv1")
    (blue,) = host["networks"]
    assert (host["problems"], host["unread"]) == ([], 0)
    assert host["running"] == "hw-offload=true tc-policy=none"
    assert places(blue, "to-tunnel") == {"tc"}, blue
    assert places(blue, "from-tunnel") == {"openvswitch"}, blue
    assert blue["seen"] == "none"
    dump = overlay.lab.host("hv1").appctl("dpctl/dump-flows", "-m", "type=tc")
    sent = next(line for line in dump.splitlines() if "set(tunnel(" in line and "0x0800" in line)
    assert OPTION in sent.partition("actions:")[2]
    assert not any(flow.way.value == "from-tunnel" for flow in parse_dump(dump).flows)
    prove("what hosts send with an option is in traffic control, as the report says", sent)
    reasons = {one["code"]: one for one in blue["reasons"]}
    assert "refused" in reasons
    (network,) = overlay.controller.ask("offload")["networks"]
    by_rules = {one["family"]: one for one in network["families"]}["tc"]
    assert (by_rules["sending"], by_rules["receiving"]) == ("yes", "unknown")
    (why,) = [one for one in by_rules["reasons"] if one["code"] == "oam-bit"]
    prove("what arrives stays in openvswitch, for the reason that rules give", why["message"])


def test_the_o_bit_is_why_nothing_that_arrives_is_in_traffic_control(
    overlay: Overlay, ports: tuple[Endpoint, Endpoint], prove: Prove
) -> None:
    """Without the flow that compares it, and a controller that would put it back, the same packets are."""
    source, target = ports
    host = overlay.lab.host("hv1")
    overlay.controller.kill()
    try:
        host.ofctl("del-flows", "br-int", "tun_flags=+oam")
        host.appctl("revalidator/purge")
        assert overlay.ping(source, target.ipv4, count=4) == 4
        dump = parse_dump(host.appctl("dpctl/dump-flows", "-m"))
        arrived = [flow for flow in dump.flows if flow.way is Way.FROM_TUNNEL and flow.packets]
        assert {flow.place for flow in arrived} == {Place.TC}, arrived
        prove("without the flow on the O bit, what arrives is in traffic control too", str(arrived[0]))
    finally:
        overlay.controller.start()


def test_the_outer_df_bit_is_lost(overlay: Overlay, ports: tuple[Endpoint, Endpoint], prove: Prove) -> None:
    source, target = ports
    assert (
        overlay.ping(source, target.ipv4, count=2) == 2
    )  # the first packet of a flow goes through ovs-vswitchd
    with overlay.lab.capture("hv1", expression="udp port 6081") as capture:
        assert overlay.ping(source, target.ipv4, count=4) == 4
        time.sleep(patient(0.3))
    frames = (Ether(frame.data) for frame in read_capture(io.BytesIO(capture.path.read_bytes())))
    outer = [frame[IP] for frame in frames if IP in frame and frame[IP].src == "10.9.0.1"]
    assert outer
    assert not any(packet.flags.DF for packet in outer), [str(packet.flags) for packet in outer]
    (network,) = overlay.controller.ask("offload")["networks"]
    assert [one["code"] for one in network["caveats"]] == ["df-lost"]
    prove("packets that traffic control sends have no outer DF bit", f"{len(outer)} packets, flags none")
