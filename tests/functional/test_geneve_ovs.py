# SPDX-License-Identifier: Apache-2.0
"""Our reading of Geneve against Open vSwitch's own packets, both ways, on the dummy datapath.

v1 -- br-int -- geneve vport ~~ br-phy -- p0 (what it sends is recorded in a pcap file)
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovs_geneve.geneve.capture import read_capture
from ovs_geneve.geneve.describe import describe, index_layouts, render_line
from ovs_geneve.geneve.fields import FieldKind, OptionField, OptionLayout
from ovs_geneve.geneve.header import Header
from ovs_geneve.geneve.outer import OuterPacket, find_geneve
from ovs_geneve.geneve.packet import Packet, decode, encode
from ovs_geneve.values import OptionClass, OptionType, Vni
from tests.functional.openflow.conftest import Vswitchd
from tests.unit.geneve.builders import ethernet, ipv4, udp

LAYOUT = OptionLayout(
    name="context",
    option_class=OptionClass(0xFF00),
    option_type=OptionType(0x81),
    length=8,
    fields=(
        OptionField(name="tier", kind=FieldKind.UINT, offset=0, bits=8),
        OptionField(name="mac", kind=FieldKind.MAC, offset=8, bits=48),
    ),
)
VALUES = {"tier": 2, "mac": "02:00:00:00:00:0a"}
FRAME = ethernet(0x0800, ipv4(udp(b"hello", port=7777)))


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[Vswitchd]:
    vswitchd = Vswitchd.start(tmp_path)
    try:
        wire_up(vswitchd)
        yield vswitchd
    finally:
        vswitchd.stop()


def wire_up(switch: Vswitchd) -> None:
    recorded = switch.folder / "p0.pcap"
    switch.vsctl("add-br", "br-phy", "--", "set", "bridge", "br-phy", "other-config:hwaddr=aa:55:aa:55:00:00")
    switch.vsctl(
        "add-port", "br-phy", "p0", "--", "set", "int", "p0", "type=dummy", f"options:tx_pcap={recorded}"
    )
    switch.appctl("netdev-dummy/ip4addr", "br-phy", "192.0.2.12/24")
    switch.appctl("ovs/route/add", "192.0.2.0/24", "br-phy")
    switch.appctl("tnl/arp/set", "br-phy", "192.0.2.11", "02:00:00:00:00:11")
    switch.vsctl("add-br", "br-int", "--", "add-port", "br-int", "v1", "--", "set", "int", "v1", "type=dummy")
    switch.vsctl(
        *("add-port", "br-int", "tun", "--", "set", "int", "tun", "type=geneve"),
        *("options:remote_ip=flow", "options:key=flow", "ofport_request=100"),
    )
    switch.ofctl("add-flow", bridge(switch, "br-phy"), "actions=normal")
    switch.ofctl("del-flows", bridge(switch, "br-int"))
    key = f"{{class={LAYOUT.option_class:#x},type={LAYOUT.option_type:#x},len={LAYOUT.length}}}"
    switch.ofctl("add-tlv-map", bridge(switch, "br-int"), f"{key}->tun_metadata0")


def bridge(switch: Vswitchd, name: str) -> str:
    return f"unix:{switch.folder}/{name}.mgmt"


def recorded(switch: Vswitchd) -> OuterPacket:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with (switch.folder / "p0.pcap").open("rb") as stream:
            for frame in read_capture(stream):
                outer = find_geneve(frame.linktype, frame.data)
                if isinstance(outer, OuterPacket):
                    return outer
        time.sleep(0.02)
    raise AssertionError("no Geneve packet left p0")


def test_we_read_what_ovs_sends(switch):
    data = int.from_bytes(LAYOUT.encode_values(VALUES), "big")
    actions = (
        f"set_field:{data:#x}->tun_metadata0,set_field:100->tun_id,set_field:192.0.2.11->tun_dst,output:100"
    )
    switch.ofctl("add-flow", bridge(switch, "br-int"), f"in_port=v1,actions={actions}")
    switch.appctl("netdev-dummy/receive", "v1", FRAME.hex())
    outer = recorded(switch)
    packet = decode(outer.geneve)
    assert packet == Packet(
        header=Header(vni=Vni(100)), options=(LAYOUT.encode_option(VALUES),), payload=FRAME
    )
    assert encode(packet) == outer.geneve
    line = render_line(describe(packet, index_layouts([LAYOUT]), outer))
    assert line.startswith("192.0.2.12:")
    assert " > 192.0.2.11:6081 vni 100 [C] context{tier=2 mac=02:00:00:00:00:0a} | " in line


@pytest.mark.parametrize(
    ("name", "value", "mask", "matched"),
    [
        ("tier", 2, None, True),
        ("tier", 3, None, False),
        ("tier", 2, 0x03, True),
        ("tier", 1, 0x03, False),
        ("mac", 0x02000000000A, None, True),
        ("mac", 0x02000000000B, None, False),
        ("mac", 0x020000000000, 0xFF0000000000, True),
    ],
)
def test_ovs_matches_the_bits_we_say(switch, name, value, mask, matched):
    bits, care = LAYOUT.match_bits(name, value, mask)
    match = f"priority=10,tun_id=100,tun_metadata0={bits:#x}/{care:#x}"
    switch.ofctl("add-flow", bridge(switch, "br-int"), f"cookie=1,{match},actions=v1")
    switch.ofctl("add-flow", bridge(switch, "br-int"), "cookie=2,priority=1,tun_id=100,actions=drop")
    packet = Packet(header=Header(vni=Vni(100)), options=(LAYOUT.encode_option(VALUES),), payload=FRAME)
    # To br-phy's own address, so that the dummy datapath pops the tunnel header.
    outer = bytearray(ethernet(0x0800, ipv4(udp(encode(packet)))))
    outer[:6] = bytes.fromhex("aa55aa550000")
    switch.appctl("netdev-dummy/receive", "p0", with_checksum(bytes(outer)).hex())
    assert hits(switch) == ({"1"} if matched else {"2"})


def with_checksum(frame: bytes) -> bytes:
    header = frame[14:34]
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, 20, 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return frame[:24] + (total ^ 0xFFFF).to_bytes(2, "big") + frame[26:]


def hits(switch: Vswitchd) -> set[str]:
    """Return the cookies of the flows that met a packet."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = set()
        for line in switch.ofctl("dump-flows", bridge(switch, "br-int")).splitlines():
            if "cookie=0x" in line and "n_packets=0" not in line:
                found.add(line.partition("cookie=0x")[2].partition(",")[0])
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("no flow met the packet")
