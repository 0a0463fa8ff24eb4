# SPDX-License-Identifier: Apache-2.0
"""Our reading of Geneve against two others': scapy's and Wireshark's.

One list of packets, the same every time, goes through all three. What they are known to do
differently is said where it is left out.
"""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from scapy.contrib.geneve import GENEVE, GeneveOptions

from ovs_geneve.errors import DecodeError
from ovs_geneve.geneve.capture import read_capture
from ovs_geneve.geneve.classes import registry
from ovs_geneve.geneve.header import Header
from ovs_geneve.geneve.inner import summarise
from ovs_geneve.geneve.option import Option
from ovs_geneve.geneve.outer import OuterPacket, find_geneve
from ovs_geneve.geneve.packet import Packet, decode, encode
from ovs_geneve.values import OptionClass, OptionType, Vni
from tests.unit.geneve.builders import ethernet, ipv4, ipv6, udp

needs_tshark = pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")

INNER = ethernet(0x0800, ipv4(udp(b"hello", port=7777)))


def some_packets(count: int = 60) -> list[Packet]:
    """Return packets with none to many options, critical and not, the largest header among them."""
    rng = random.Random(8926)
    made = [Packet(header=Header(vni=Vni(0xFFFFFF), oam=True), options=largest(), payload=INNER)]
    while len(made) < count:
        header = Header(vni=Vni(rng.randrange(1 << 24)), oam=rng.random() < 0.3)
        made.append(Packet(header=header, options=some_options(rng), payload=INNER))
    return made


def largest() -> tuple[Option, ...]:
    sizes = ((1, 124), (0x82, 120))
    return tuple(
        Option(option_class=OptionClass(0xFFFF), option_type=OptionType(kind), data=bytes(range(size)))
        for kind, size in sizes
    )


def some_options(rng: random.Random) -> tuple[Option, ...]:
    options: dict[tuple[int, int], Option] = {}
    for _ in range(rng.choice([0, 1, 1, 2, 5])):
        # None of Google's or cPacket's: Wireshark dissects those and shows no raw bytes.
        number = rng.choice([0, 0x0102, 0x0129, 0x014B, 0xFF00, 0xFFFF])
        option = Option(
            option_class=OptionClass(number),
            option_type=OptionType(rng.randrange(256)),
            data=rng.randbytes(4 * rng.choice([0, 1, 1, 2, 10])),
        )
        options[option.key] = option
    return tuple(options.values())


PACKETS = some_packets()


@dataclass(frozen=True)
class Reading:
    """What every reader says about a packet, as plain values."""

    vni: int
    oam: bool
    critical: bool
    protocol_type: int
    options: tuple[tuple[int, int, str], ...]


def ours(packet: Packet) -> Reading:
    return Reading(
        vni=packet.header.vni,
        oam=packet.header.oam,
        critical=packet.critical,
        protocol_type=packet.header.protocol_type,
        options=tuple((each.option_class, each.option_type, each.data.hex()) for each in packet.options),
    )


def scapys(data: bytes) -> tuple[Reading, bytes]:
    seen = GENEVE(data)
    reading = Reading(
        vni=seen.vni,
        oam=bool(seen.oam),
        critical=bool(seen.critical),
        protocol_type=seen.proto,
        options=tuple((each.classid, each.type, each.data.hex()) for each in seen.options),
    )
    return reading, bytes(seen.payload)


@pytest.mark.parametrize("packet", PACKETS)
def test_scapy_reads_what_we_write(packet):
    assert scapys(encode(packet)) == (ours(packet), packet.payload)


@pytest.mark.parametrize("packet", PACKETS)
def test_we_read_what_scapy_writes(packet):
    written = GENEVE(
        vni=packet.header.vni,
        oam=int(packet.header.oam),
        # scapy leaves the C bit to its user and computes both lengths.
        critical=int(packet.critical),
        proto=packet.header.protocol_type,
        options=[
            GeneveOptions(
                classid=each.option_class, type=each.option_type, data=each.data, length=len(each.data) // 4
            )
            for each in packet.options
        ],
    )
    assert decode(bytes(written) + packet.payload) == packet


def write_pcap(path: Path, linktype: int, frames: list[bytes]) -> Path:
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, linktype)
    for index, frame in enumerate(frames):
        data += struct.pack("<IIII", 1_700_000_000, index, len(frame), len(frame)) + frame
    path.write_bytes(data)
    return path


def tshark(path: Path, *fields: str, occurrence: str = "a") -> list[list[str]]:
    """Return the fields of every packet, each a text with all its occurrences, comma between."""
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", f"occurrence={occurrence}"]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return [line.split("\t") for line in done.stdout.splitlines()]


FIELDS = (
    "geneve.vni",
    "geneve.flags.oam",
    "geneve.flags.critical",
    "geneve.proto_type",
    "geneve.option.class",
    "geneve.option.type",
    "geneve.option.unknown.data",
)


def wiresharks(row: list[str]) -> Reading:
    vni, oam, critical, protocol, classes, types, data = row
    # An option without data is "<MISSING>" among others and nothing when alone.
    parts = ["" if part == "<MISSING>" else part for part in data.split(",")]
    numbers = [int(number, 16) for number in classes.split(",") if number]
    kinds = [int(kind, 16) for kind in types.split(",") if kind]
    return Reading(
        vni=int(vni, 16),
        oam=oam == "1",
        critical=critical == "1",
        protocol_type=int(protocol, 16),
        options=tuple(zip(numbers, kinds, parts[: len(numbers)], strict=True)),
    )


@needs_tshark
def test_wireshark_reads_what_we_write(tmp_path):
    frames = [ethernet(0x0800, ipv4(udp(encode(packet)))) for packet in PACKETS]
    rows = tshark(write_pcap(tmp_path / "ours.pcap", 1, frames), *FIELDS)
    assert [wiresharks(row) for row in rows] == [ours(packet) for packet in PACKETS]


@needs_tshark
def test_wireshark_sees_the_oddities_we_see(tmp_path):
    sound = ipv4(udp(bytes.fromhex("0100655800006400ff000100")))
    odd = [
        bytes.fromhex("013f655800006400ff000100"),
        bytes.fromhex("0100655800006455ff000100"),
        bytes.fromhex("0100655800006400ff0001e0"),
    ]
    path = write_pcap(tmp_path / "odd.pcap", 101, [sound, *(ipv4(udp(data)) for data in odd)])
    rows = tshark(path, "geneve.flags.reserved", "geneve.reserved", "geneve.option.flags")
    numbers = [tuple(int(value, 0) for value in row) for row in rows]
    # The flag is a boolean there: 1 for any bit set.
    assert numbers == [(0, 0, 0), (1, 0, 0), (0, 0x55, 0), (0, 0, 7)]
    assert [decode(data).oddities[0].value for data in odd] == [0x3F, 0x55, 7]


@needs_tshark
def test_wireshark_and_we_refuse_the_same_lengths(tmp_path):
    data = bytes.fromhex("0100655800006400ff000102")
    rows = tshark(write_pcap(tmp_path / "long.pcap", 101, [ipv4(udp(data))]), "geneve.option.length.invalid")
    assert rows[0][0]
    with pytest.raises(DecodeError, match="option 0 length"):
        decode(data)


GENEVE_BYTES = encode(Packet(header=Header(vni=Vni(100)), payload=INNER))
COOKED = bytes.fromhex("0000 0001 0006 0200000000010000")
COOKED2 = bytes.fromhex("0000 00000002 0001 00 06 0200000000010000")
V4 = ipv4(udp(GENEVE_BYTES))
V6 = ipv6(udp(GENEVE_BYTES, checksum=0x1234))
HOP_BY_HOP = ipv6(bytes([17, 0, 1, 4, 0, 0, 0, 0]) + udp(GENEVE_BYTES, checksum=0x1234), protocol=0)


@needs_tshark
@pytest.mark.parametrize(
    ("linktype", "frame"),
    [
        (1, ethernet(0x0800, V4)),
        (1, ethernet(0x86DD, V6, ((0x88A8, 7), (0x8100, 0xE008)))),
        (113, COOKED + b"\x08\x00" + V4),
        (276, b"\x86\xdd" + COOKED2 + V6),
        (101, V4),
        (101, HOP_BY_HOP),
        (228, V4),
        (229, V6),
        (0, b"\2\0\0\0" + V4),
        (0, b"\x1e\0\0\0" + V6),
        (108, b"\0\0\0\2" + V4),
    ],
)
def test_wireshark_finds_geneve_where_we_do(tmp_path, linktype, frame):
    path = write_pcap(tmp_path / "link.pcap", linktype, [frame])
    outer = find_geneve(linktype, frame)
    assert isinstance(outer, OuterPacket)
    version = "ip" if outer.source.version == 4 else "ipv6"
    fields = (f"{version}.src", f"{version}.dst", "udp.srcport", "udp.dstport", "udp.checksum", "geneve.vni")
    (row,) = tshark(path, *fields, occurrence="f")
    assert row[:4] == [
        str(outer.source),
        str(outer.destination),
        str(outer.source_port),
        str(outer.destination_port),
    ]
    assert (int(row[4], 16), int(row[5], 16)) == (outer.udp_checksum, 100)
    assert decode(outer.geneve).payload == INNER


@needs_tshark
def test_wireshark_reads_the_same_inner_packet(tmp_path):
    path = write_pcap(tmp_path / "inner.pcap", 101, [V4])
    fields = ("eth.src", "eth.dst", "ip.src", "ip.dst", "ip.proto", "udp.srcport", "udp.dstport")
    (row,) = tshark(path, *fields, occurrence="l")
    inner = summarise(0x6558, INNER)
    assert row == [
        inner.source_mac,
        inner.destination_mac,
        str(inner.source),
        str(inner.destination),
        str(inner.protocol),
        str(inner.source_port),
        str(inner.destination_port),
    ]


@needs_tshark
@pytest.mark.skipif(not shutil.which("editcap"), reason="editcap is not installed")
@pytest.mark.parametrize("form", ["pcap", "nsecpcap", "pcapng"])
def test_captures_read_as_wireshark_reads_them(tmp_path, form):
    source = write_pcap(tmp_path / "source.pcap", 1, [ethernet(0x0800, V4), ethernet(0x86DD, V6)])
    path = tmp_path / f"copy.{form}"
    subprocess.run(["editcap", "-F", form, str(source), str(path)], check=True, timeout=60)
    with path.open("rb") as stream:
        read = [(frame.timestamp_ns, len(frame.data)) for frame in read_capture(stream)]
    rows = tshark(path, "frame.time_epoch", "frame.cap_len")
    assert read == [(int(time.replace(".", "")), int(length)) for time, length in rows]
    assert len(read) == 2


@needs_tshark
def test_the_registry_agrees_with_wireshark_as_far_as_that_goes():
    done = subprocess.run(["tshark", "-G", "values"], check=True, capture_output=True, text=True, timeout=120)
    rows = [line.split("\t") for line in done.stdout.splitlines() if "\tgeneve.option.class\t" in line]
    known = {
        (int(row[2], 16), int(row[3], 16)) for row in rows if row[4] not in {"Unassigned", "Experimental"}
    }
    known.discard((0, 0xFF))
    assert known
    assert known <= {(entry.first, entry.last) for entry in registry()}
