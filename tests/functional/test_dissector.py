# SPDX-License-Identifier: Apache-2.0
"""What ovs-geneve dissector writes, run by tshark and tcpdump themselves, over IPv4 and IPv6."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest
from scapy.contrib.geneve import GENEVE, GeneveOptions

from ovs_geneve.errors import EncodeError
from ovs_geneve.geneve.capture import read_capture
from ovs_geneve.geneve.capture_filter import capture_filter, parse_condition
from ovs_geneve.geneve.dissector import lua_plugin
from ovs_geneve.geneve.fields import FieldKind, OptionField, OptionLayout, render_mask, render_value
from ovs_geneve.geneve.header import Header
from ovs_geneve.geneve.option import Option
from ovs_geneve.geneve.packet import Packet, encode
from ovs_geneve.values import OptionClass, OptionType, Vni
from tests.functional.openflow.conftest import Vswitchd
from tests.functional.test_geneve_oracles import write_pcap
from tests.functional.test_geneve_ovs import bridge, recorded, wire_up
from tests.unit.geneve.builders import ethernet, ipv4, ipv6, udp

pytestmark = pytest.mark.skipif(
    not (shutil.which("tshark") and shutil.which("tcpdump")), reason="tshark or tcpdump is not installed"
)

INNER = ethernet(0x0800, ipv4(udp(b"hello", port=7777)))
BLUE = Vni(100)


def field(name: str, kind: FieldKind, offset: int, bits: int, **names: int) -> OptionField:
    return OptionField(name=name, kind=kind, offset=offset, bits=bits, names=tuple(names.items()))


def layout(name: str, kind: int, length: int, *fields: OptionField, number: int = 0xFF00) -> OptionLayout:
    return OptionLayout(
        name=name,
        option_class=OptionClass(number),
        option_type=OptionType(kind),
        length=length,
        fields=fields,
    )


CONTEXT = layout("context", 1, 4, field("tier", FieldKind.UINT, 0, 8), field("zone", FieldKind.UINT, 8, 16))
EVERY = layout(
    "every-kind",
    2,
    64,
    field("number", FieldKind.UINT, 0, 8),
    field("grade", FieldKind.ENUM, 8, 4, none=0, gold=1, silver=2),
    field("marks", FieldKind.FLAGS, 12, 4, urgent=0, last=3),
    field("odd", FieldKind.UINT, 17, 33),
    field("v4", FieldKind.IPV4, 64, 32),
    field("mac", FieldKind.MAC, 96, 48),
    field("raw", FieldKind.BYTES, 144, 24),
    field("v6", FieldKind.IPV6, 168, 128),
    field("crooked4", FieldKind.IPV4, 301, 32),
    field("wide_grade", FieldKind.ENUM, 336, 64, none=0, top=(1 << 64) - 1),
    field("wide_marks", FieldKind.FLAGS, 400, 40, first=0, high=39),
    field("word", FieldKind.UINT, 440, 32),
)
MARKER = layout("marker", 3, 0)
DECLARED = (CONTEXT, EVERY, MARKER)
SHOWN_AS_NUMBERS = (FieldKind.UINT, FieldKind.ENUM, FieldKind.FLAGS)


@pytest.fixture
def plugin(tmp_path) -> Path:
    path = tmp_path / "options.lua"
    path.write_text(lua_plugin(DECLARED))
    return path


def geneve(*options: Option, vni: Vni = BLUE, payload: bytes = INNER) -> bytes:
    return encode(Packet(header=Header(vni=vni), options=options, payload=payload))


def families(*datagrams: bytes) -> list[bytes]:
    over_ipv4 = [ethernet(0x0800, ipv4(udp(data))) for data in datagrams]
    return over_ipv4 + [ethernet(0x86DD, ipv6(udp(data, checksum=0xBEEF))) for data in datagrams]


def tshark(plugin: Path, capture: Path, *arguments: str) -> list[str]:
    """Return the lines that tshark prints; a plugin that does not load or fails on a packet fails the test."""
    command = ["tshark", "-n", "-X", f"lua_script:{plugin}", "-r", str(capture), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert "Lua" not in done.stdout + done.stderr
    return done.stdout.splitlines()


def shown(plugin: Path, capture: Path, *names: str) -> list[list[str]]:
    wanted = [argument for name in names for argument in ("-e", f"ovsgeneve.{name}")]
    return [line.split("\t") for line in tshark(plugin, capture, "-T", "fields", *wanted)]


def selected(plugin: Path, capture: Path, expression: str) -> list[int]:
    lines = tshark(plugin, capture, "-Y", expression, "-T", "fields", "-e", "frame.number")
    return [int(line) for line in lines]


def some_values(rng: random.Random, shape: OptionLayout) -> dict[str, int]:
    return {
        each.name: rng.choice([0, 1, (1 << each.bits) - 1, rng.getrandbits(each.bits)])
        for each in shape.fields
    }


def comparable(each: OptionField, text: str) -> object:
    if each.kind in SHOWN_AS_NUMBERS:
        return int(text, 0)
    return text.removeprefix("0x")


def test_every_kind_reads_as_we_read_it(plugin, tmp_path):
    rng = random.Random(4)
    drawn = [some_values(rng, EVERY) for _ in range(40)]
    capture = write_pcap(
        tmp_path / "every.pcap", 1, families(*(geneve(EVERY.encode_option(one)) for one in drawn))
    )
    rows = shown(plugin, capture, *(f"every-kind.{each.name}" for each in EVERY.fields))
    assert len(rows) == 80
    for values, row in zip(drawn * 2, rows, strict=True):
        read = [comparable(each, text) for each, text in zip(EVERY.fields, row, strict=True)]
        wanted = [
            values[each.name]
            if each.kind in SHOWN_AS_NUMBERS
            else render_value(each, values[each.name]).removeprefix("0x")
            for each in EVERY.fields
        ]
        assert read == wanted


def test_the_tree_says_names(plugin, tmp_path):
    values = {
        "grade": "gold",
        "marks": "urgent|last",
        "wide_grade": "top",
        "wide_marks": "high",
        "v6": "2001:db8::7",
    }
    options = (CONTEXT.encode_option({"tier": 2}), EVERY.encode_option(values), MARKER.encode_option({}))
    capture = write_pcap(tmp_path / "tree.pcap", 1, families(geneve(*options)))
    text = "\n".join(line.strip() for line in tshark(plugin, capture, "-O", "ovsgeneve"))
    for line in (
        "context (0xff00/0x01, experimental)\ntier: 2\nzone: 0\n",
        "grade: gold (1)\n",
        "marks: 0x00000009 (urgent|last)\n",
        "wide_grade: 18446744073709551615 (top)\n",
        "wide_marks: 0x0000008000000000 (high)\n",
        "v6: 2001:db8::7\n",
        "marker (0xff00/0x03, experimental)",
    ):
        assert text.count(line) == 2, line


@pytest.mark.parametrize(
    ("expression", "numbers"),
    [
        ("ovsgeneve.context.tier == 2", [1, 4]),
        ("ovsgeneve.context.tier > 2", [2, 5]),
        ("ovsgeneve.every-kind.grade == 1", [2, 5]),
        ('ovsgeneve.every-kind.grade == "gold"', [2, 5]),
        ("ovsgeneve.every-kind.v4 == 10.0.0.0/8", [2, 5]),
        ("ovsgeneve.every-kind.v6 == 2001:db8::/32", [2, 5]),
        ("ovsgeneve.every-kind.mac == 02:00:00:00:00:0a", [2, 5]),
        ("ovsgeneve.every-kind.marks.urgent == 1", [2, 5]),
        ("ovsgeneve.every-kind.marks.last == 1", []),
        ("ovsgeneve.every-kind.odd == 8589934591", [2, 5]),
        ("ovsgeneve.marker", [3, 6]),
        ("ovsgeneve", [1, 2, 3, 4, 5, 6]),
    ],
)
def test_filters(plugin, tmp_path, expression, numbers):
    values = {
        "grade": "gold",
        "v4": "10.1.2.3",
        "v6": "2001:db8::7",
        "mac": "02:00:00:00:00:0a",
        "marks": "urgent",
        "odd": (1 << 33) - 1,
    }
    packets = (
        geneve(CONTEXT.encode_option({"tier": 2})),
        geneve(CONTEXT.encode_option({"tier": 3}), EVERY.encode_option(values)),
        geneve(MARKER.encode_option({})),
    )
    capture = write_pcap(tmp_path / "some.pcap", 1, families(*packets))
    assert selected(plugin, capture, expression) == numbers


def scapys(*options: tuple[int, int, bytes], payload: bytes = INNER) -> bytes:
    made = [
        GeneveOptions(classid=number, type=kind, length=len(data) // 4, data=data)
        for number, kind, data in options
    ]
    return bytes(GENEVE(vni=BLUE, proto=0x6558, options=made)) + payload


def test_options_of_others_by_their_profile(plugin, tmp_path):
    datagram = scapys(
        (0x0102, 0x80, bytes.fromhex("00070009")),
        (0x0103, 0x22, bytes.fromhex("0102030405060708")),
        (0x0108, 1, bytes.fromhex("0123456789abcdef")),
        (0x0108, 2, bytes.fromhex("1111111122222222")),
        (0x0108, 3, bytes.fromhex("00000010")),
        (0x0132, 1, bytes.fromhex("00000101")),
        (0x0132, 2, bytes.fromhex("aabbccdd")),
        (0x014B, 0x81, bytes.fromhex("0a0000011f900000")),
        (0x0100, 1, bytes.fromhex("06102030")),
        (0x0129, 0, b""),
    )
    capture = write_pcap(tmp_path / "others.pcap", 1, families(datagram))
    wanted = {
        "ovn.ports.ingress": "7",
        "ovn.ports.egress": "9",
        "int.telemetry.data": "0102030405060708",
        "aws-gwlb.endpoint.eni": "0123456789abcdef",
        "aws-gwlb.attachment.id": "1111111122222222",
        "aws-gwlb.cookie.flow": "16",
        "google-nsi.network.vnid": "16",
        "google-nsi.network.direction": "1",
        "google-nsi.endpoint.id": "aabbccdd",
        "cilium.dsr4.address": "10.0.0.1",
        "cilium.dsr4.port": "8080",
        "linux.gro-hint.inner_protocol": "2",
        "linux.gro-hint.nested_hdr_len": "48",
    }
    rows = shown(plugin, capture, *(f"profile.{name}" for name in wanted))
    assert rows == [list(wanted.values())] * 2
    assert selected(plugin, capture, "ovsgeneve.profile.oxide.external") == [1, 2]
    assert selected(plugin, capture, "ovsgeneve.expert.length || ovsgeneve.expert.twice") == []


def test_what_is_declared_comes_before_a_profile(tmp_path):
    mine = layout("mine", 0x80, 8, field("whole", FieldKind.UINT, 0, 64), number=0x0102)
    plugin = tmp_path / "options.lua"
    plugin.write_text(lua_plugin([mine]))
    packets = (scapys((0x0102, 0x80, bytes(4))), scapys((0x0102, 0x80, bytes(7) + b"\x05")))
    capture = write_pcap(tmp_path / "mine.pcap", 1, families(*packets))
    assert selected(plugin, capture, "ovsgeneve.mine.whole == 5") == [2, 4]
    assert selected(plugin, capture, "ovsgeneve.expert.length") == [1, 3]
    assert selected(plugin, capture, "ovsgeneve.profile.ovn.ports") == []


TWICE = scapys((0xFF00, 1, bytes(4)), (0xFF00, 1, bytes(4)))
LONG = scapys((0xFF00, 1, bytes(8)))
SHORT = scapys((0xFF00, 2, bytes(60)))
STRAY = scapys((0xFF00, 1, bytes.fromhex("00000001")))
OUTSIDE = scapys((0xFF00, 1, bytes(4)))[:11] + b"\x1f" + scapys((0xFF00, 1, bytes(4)))[12:]
BEHIND = scapys((0xFF00, 1, bytes.fromhex("02000700")), (0xFF00, 9, bytes(4)))
CILIUM = scapys((0x014B, 0x81, bytes(12)))
NESTED = geneve(
    CONTEXT.encode_option({}),
    payload=ethernet(0x0800, ipv4(udp(geneve(CONTEXT.encode_option({}))))),
)


@pytest.mark.parametrize(
    ("datagram", "expression", "number"),
    [
        (TWICE, "ovsgeneve.expert.twice", 1),
        (LONG, "ovsgeneve.expert.length", 1),
        (SHORT, "ovsgeneve.expert.length", 1),
        (STRAY, "ovsgeneve.expert.bits", 1),
        (CILIUM, "ovsgeneve.expert.length", 1),
        (OUTSIDE, "ovsgeneve", 0),
        (OUTSIDE, "geneve.option.length.invalid", 1),
        (BEHIND, "ovsgeneve.context.zone == 7", 1),
        (BEHIND[:14], "geneve", 1),
        (NESTED, "ovsgeneve.expert.twice", 0),
        (NESTED, "ovsgeneve.context", 1),
    ],
    ids=[
        "twice",
        "too long",
        "too short",
        "stray bits",
        "no length of the profile",
        "outside",
        "outside as Wireshark has it",
        "beside one unknown",
        "cut",
        "GENEVE in GENEVE is not twice",
        "GENEVE in GENEVE",
    ],
)
def test_malformed_options(plugin, tmp_path, datagram, expression, number):
    capture = write_pcap(tmp_path / "odd.pcap", 1, families(datagram))
    assert len(selected(plugin, capture, expression)) == 2 * number


def test_wrong_lengths_are_told_with_the_right_one(plugin, tmp_path):
    capture = write_pcap(tmp_path / "odd.pcap", 1, families(LONG, CILIUM))
    text = "\n".join(tshark(plugin, capture, "-O", "ovsgeneve"))
    assert text.count("): 8 bytes of data: want 4") == 2
    assert text.count("): 12 bytes of data: want 8 or 20") == 2


def test_names_from_a_file_are_only_text(tmp_path):
    hostile = 'a"]] os.exit(3) --\n\\'
    named = layout(hostile, 1, 4, field("tier", FieldKind.UINT, 0, 8))
    clash = [
        layout("a.b", 2, 4, field("c", FieldKind.UINT, 0, 8)),
        layout("a", 3, 4, field("b", FieldKind.FLAGS, 0, 8, c=0)),
        layout("expert", 4, 4, field("length", FieldKind.UINT, 0, 8)),
        layout("0", 5, 4, field("tier", FieldKind.UINT, 0, 8)),
    ]
    plugin = tmp_path / "options.lua"
    plugin.write_text(lua_plugin([named, *clash]))
    packets = families(geneve(*(one.encode_option({}) for one in (named, *clash))))
    capture = write_pcap(tmp_path / "a.pcap", 1, packets)
    text = "\n".join(tshark(plugin, capture, "-O", "ovsgeneve"))
    assert text.count("os.exit(3)") == 2
    assert selected(plugin, capture, "ovsgeneve.a.b.c == 0 && ovsgeneve.0.tier == 0") == [1, 2]


CARRIED = (CONTEXT, MARKER, EVERY)


def tcpdump(tmp_path: Path, capture: Path, expression: str) -> list[bytes]:
    out = tmp_path / "selected.pcap"
    command = ["tcpdump", "-Z", "root", "-r", str(capture), "-w", str(out), expression]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    with out.open("rb") as stream:
        return [frame.data for frame in read_capture(stream)]


def carried(values: dict[str, dict[str, int]], vni: Vni = BLUE) -> bytes:
    return geneve(*(shape.encode_option(values.get(shape.name, {})) for shape in CARRIED), vni=vni)


def test_tcpdump_selects_by_any_field_and_mask(tmp_path):
    rng = random.Random(7)
    drawn = [{shape.name: some_values(rng, shape) for shape in CARRIED} for _ in range(60)]
    frames = families(*map(carried, drawn))
    capture = write_pcap(tmp_path / "all.pcap", 1, frames)
    hits = 0
    for shape in (CONTEXT, EVERY):
        for each in shape.fields:
            value = rng.choice(drawn)[shape.name][each.name]
            mask = rng.choice([(1 << each.bits) - 1, rng.getrandbits(each.bits) | 1])
            text = f"{render_value(each, value & mask)}/{render_mask(each, mask)}"
            condition = parse_condition(f"{shape.name}.{each.name}={text}")
            wanted = [
                frame
                for one, frame in zip(drawn * 2, frames, strict=True)
                if one[shape.name][each.name] & mask == value & mask
            ]
            assert tcpdump(tmp_path, capture, capture_filter(6081, BLUE, CARRIED, [condition])) == wanted
            hits += len(wanted)
    assert hits < len(frames) * (len(CONTEXT.fields) + len(EVERY.fields)), (
        "a filter that takes all finds nothing"
    )


def test_tcpdump_takes_nothing_else(tmp_path):
    wanted = carried({"context": {"tier": 2}})
    others = (
        carried({"context": {"tier": 3}}),
        carried({"context": {"tier": 2}}, vni=Vni(101)),
        geneve(CONTEXT.encode_option({"tier": 2})),
        geneve(EVERY.encode_option({}), CONTEXT.encode_option({"tier": 2}), MARKER.encode_option({})),
        geneve(layout("other", 9, 4).encode_option({}), MARKER.encode_option({}), EVERY.encode_option({})),
        wanted[:12],
    )
    options = ethernet(0x0800, ipv4(udp(wanted), ihl=8))
    elsewhere = ethernet(0x0800, ipv4(udp(wanted, port=6082)))
    later = ethernet(0x0800, ipv4(udp(wanted), flags=0x0010))
    frames = [*families(wanted, *others), options, elsewhere, later]
    capture = write_pcap(tmp_path / "all.pcap", 1, frames)
    conditions = [parse_condition("context.tier=2/0xff"), parse_condition("every-kind.grade=none")]
    expression = capture_filter(6081, BLUE, CARRIED, conditions)
    assert tcpdump(tmp_path, capture, expression) == [*families(wanted), options]
    moved = capture_filter(6082, BLUE, CARRIED, conditions)
    assert tcpdump(tmp_path, capture, moved) == [elsewhere]


def test_tcpdump_behind_a_vlan_tag(tmp_path):
    wanted, other = carried({"context": {"tier": 2}}), carried({"context": {"tier": 3}})
    frames = [
        ethernet(kind, network(udp(data)), ((0x8100, 7),))
        for data in (wanted, other)
        for kind, network in ((0x0800, ipv4), (0x86DD, ipv6))
    ]
    capture = write_pcap(tmp_path / "tagged.pcap", 1, frames)
    expression = capture_filter(6081, BLUE, CARRIED, [parse_condition("context.tier=2")])
    assert tcpdump(tmp_path, capture, expression) == []
    assert tcpdump(tmp_path, capture, f"vlan and ({expression})") == frames[:2]


def test_another_port_than_6081(plugin, tmp_path):
    datagram = geneve(CONTEXT.encode_option({"tier": 2}))
    frames = [ethernet(0x0800, ipv4(udp(datagram, port=6099)))]
    capture = write_pcap(tmp_path / "port.pcap", 1, frames)
    assert selected(plugin, capture, "ovsgeneve.context.tier == 2") == []
    again = tshark(plugin, capture, "-d", "udp.port==6099,geneve", "-Y", "ovsgeneve.context.tier == 2")
    assert len(again) == 1


def test_tcpdump_by_network_alone(tmp_path):
    frames = families(carried({}), geneve(vni=Vni(101)), geneve())
    capture = write_pcap(tmp_path / "all.pcap", 1, frames)
    assert tcpdump(tmp_path, capture, capture_filter(6081, BLUE, CARRIED, [])) == [
        frames[index] for index in (0, 2, 3, 5)
    ]
    assert tcpdump(tmp_path, capture, capture_filter(6081, None, (), [])) == frames


def test_filter_and_plugin_on_what_ovs_sends(plugin, tmp_path):
    vswitchd = Vswitchd.start(tmp_path)
    try:
        wire_up(vswitchd)
        of_br_int = bridge(vswitchd, "br-int")
        vswitchd.ofctl(
            "add-tlv-map",
            of_br_int,
            "{class=0xff00,type=1,len=4}->tun_metadata7,{class=0xff00,type=2,len=64}->tun_metadata2",
        )
        every = int.from_bytes(EVERY.encode_values({"v4": "10.1.2.3", "grade": "gold"}), "big")
        stamp = f"set_field:0x02000700->tun_metadata7,set_field:{every:#x}->tun_metadata2"
        tunnel = "set_field:100->tun_id,set_field:192.0.2.11->tun_dst,output:100"
        vswitchd.ofctl("add-flow", of_br_int, f"in_port=v1,actions={stamp},{tunnel}")
        vswitchd.appctl("netdev-dummy/receive", "v1", INNER.hex())
        sent = recorded(vswitchd)
    finally:
        vswitchd.stop()
    capture = write_pcap(tmp_path / "ovs.pcap", 1, families(sent.geneve))
    in_order = (EVERY, CONTEXT)
    conditions = [parse_condition("context.tier=2"), parse_condition("every-kind.v4=10.0.0.0/8")]
    assert len(tcpdump(tmp_path, capture, capture_filter(6081, BLUE, in_order, conditions))) == 2
    assert tcpdump(tmp_path, capture, capture_filter(6081, BLUE, in_order[::-1], conditions)) == []
    assert shown(plugin, capture, "context.zone", "every-kind.grade") == [["7", "1"]] * 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("context.tier", "want SCHEMA.FIELD=VALUE"),
        ("tier=2", "want SCHEMA.FIELD=VALUE"),
        ("context.tier=", "want SCHEMA.FIELD=VALUE"),
        ("other.tier=2", "is not among those carried: context, marker, every-kind"),
        ("context.colour=2", "no such field"),
        ("context.tier=256", "does not fit 8 bits"),
        ("context.tier=3/2", "bits outside of mask"),
    ],
)
def test_conditions_that_are_refused(text, reason):
    with pytest.raises(EncodeError, match=reason):
        capture_filter(6081, BLUE, CARRIED, [parse_condition(text)])
