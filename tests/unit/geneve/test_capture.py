# SPDX-License-Identifier: Apache-2.0
"""Captures built byte by byte: both formats, both byte orders, every way a stream can break."""

from __future__ import annotations

import contextlib
import io
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovs_geneve.errors import DecodeError
from ovs_geneve.geneve.capture import MAX_RECORD, read_capture

FRAMES = [b"first frame", b"", b"x" * 1500]
SECOND = 1_700_000_000


def pcap(order: str, magic: int, frames: list[bytes], linktype: int = 1, fraction: int = 7) -> bytes:
    data = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262144, linktype)
    for frame in frames:
        data += struct.pack(f"{order}IIII", SECOND, fraction, len(frame), len(frame) + 9) + frame
    return data


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + length + body + length


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(order: str, linktype: int = 1, snaplen: int = 0, options: bytes = b"") -> bytes:
    return block(order, 1, struct.pack(f"{order}HHI", linktype, 0, snaplen) + options)


def enhanced(order: str, ticks: int, frame: bytes, number: int = 0) -> bytes:
    head = struct.pack(f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return block(order, 6, head + frame + bytes(-len(frame) % 4) + option(order, 2, b"\0\0\0\1"))


def read(data: bytes) -> list:
    return list(read_capture(io.BytesIO(data)))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_pcap(order, magic, unit):
    frames = read(pcap(order, magic, FRAMES, linktype=276))
    assert [frame.data for frame in frames] == FRAMES
    assert {frame[:2] for frame in frames} == {(SECOND * 10**9 + 7 * unit, 276)}


def test_the_upper_half_of_the_network_field_is_no_link_type():
    assert read(pcap("<", 0xA1B2C3D4, [b"f"], linktype=0x5400_0001))[0].linktype == 1


@pytest.mark.parametrize("order", "<>")
def test_pcapng(order):
    data = section(order) + interface(order, 101) + interface(order, 1) + block(order, 4, b"names")
    for frame in FRAMES:
        data += enhanced(order, SECOND * 10**6 + 5, frame, number=1)
    frames = read(data + block(order, 5, bytes(12)))
    assert [frame.data for frame in frames] == FRAMES
    assert {frame[:2] for frame in frames} == {(SECOND * 10**9 + 5000, 1)}


@pytest.mark.parametrize(
    ("options", "ticks", "nanoseconds"),
    [
        (b"", 3, 3000),
        (option("<", 9, b"\x09"), 3, 3),
        (option("<", 9, b"\x00"), 3, 3 * 10**9),
        (option("<", 9, b"\x81"), 3, 1_500_000_000),
        (option("<", 14, struct.pack("<q", -2)), 3_000_000, 10**9),
        (option("<", 0, b"") + option("<", 9, b"\x09"), 3, 3000),
        (option("<", 2, b"eth0") + option("<", 9, b"\x03"), 3, 3_000_000),
    ],
)
def test_pcapng_time(options, ticks, nanoseconds):
    (frame,) = read(section("<") + interface("<", options=options) + enhanced("<", ticks, b"f"))
    assert frame.timestamp_ns == nanoseconds


def test_pcapng_sections_have_their_own_order_and_interfaces():
    data = section("<") + interface("<", 1) + enhanced("<", 1, b"a")
    data += section(">") + interface(">", 101) + enhanced(">", 1, b"b")
    assert [(frame.linktype, frame.data) for frame in read(data)] == [(1, b"a"), (101, b"b")]
    with pytest.raises(DecodeError, match="pcapng interface: 0"):
        read(data + section("<") + enhanced("<", 1, b"c"))


def test_pcapng_simple_packets_have_no_time():
    data = section("<") + interface("<", snaplen=6) + block("<", 3, struct.pack("<I", 100) + b"abcdef")
    data += block("<", 3, struct.pack("<I", 5) + b"abcde")
    assert [(frame.timestamp_ns, frame.data) for frame in read(data)] == [(None, b"abcdef"), (None, b"abcde")]


def test_pcapng_obsolete_packets_are_frames_too():
    body = struct.pack("<HHIIII", 0, 3, 0, 9, 3, 3) + b"abc"
    (frame,) = read(section("<") + interface("<") + block("<", 2, body))
    assert (frame.timestamp_ns, frame.data) == (9000, b"abc")


def test_frames_come_out_of_a_pipe_as_they_arrive():
    reader, writer = os.pipe()
    data = pcap("<", 0xA1B2C3D4, [b"one", b"two"])
    with os.fdopen(reader, "rb") as stream, os.fdopen(writer, "wb", buffering=0) as sink:
        # All but the last frame: the pipe stays open, so reading ahead would block for ever.
        sink.write(data[:-19])
        frames = read_capture(stream)
        assert next(frames).data == b"one"
        sink.write(data[-19:])
        assert next(frames).data == b"two"
        sink.close()
        assert list(frames) == []


class Dribble(io.RawIOBase):
    """A raw stream that gives a byte at a time, as an unbuffered pipe may."""

    def __init__(self, data: bytes) -> None:
        self._left = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._left.read(min(size, 1))


@pytest.mark.parametrize(
    "data",
    [pcap("<", 0xA1B2C3D4, FRAMES), section(">") + interface(">") + enhanced(">", 1, b"first frame")],
)
def test_short_reads_are_put_together(data):
    assert list(read_capture(Dribble(data))) == read(data)


@pytest.mark.parametrize(
    "data",
    [pcap("<", 0xA1B2C3D4, [b"one"]), section("<") + interface("<") + enhanced("<", 1, b"one")],
)
def test_every_cut_is_an_end_or_an_error(data):
    whole = {len(data)}
    if data.startswith(b"\x0a"):
        whole |= {len(section("<")), len(section("<") + interface("<"))}
    else:
        whole.add(24)
    for length in range(len(data)):
        if length in whole:
            assert read(data[:length]) == []
        else:
            with pytest.raises(DecodeError):
                read(data[:length])


def test_a_cut_file_gives_the_frames_before_the_cut():
    frames = read_capture(io.BytesIO(pcap("<", 0xA1B2C3D4, [b"one", b"two"])[:-1]))
    assert next(frames).data == b"one"
    with pytest.raises(DecodeError, match="pcap record: 2 of 3 bytes"):
        next(frames)


def broken(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"", "capture magic"),
        (b"abcd", "capture magic"),
        (struct.pack("<I", 0xA1B2CD34) + bytes(20), "capture magic"),
        (broken(pcap("<", 0xA1B2C3D4, []), 4, b"\x03"), "pcap version"),
        (broken(pcap("<", 0xA1B2C3D4, [b"f"]), 32, struct.pack("<I", MAX_RECORD + 1)), "pcap record"),
        (broken(section("<"), 8, b"abcd"), "pcapng byte order magic"),
        (broken(section("<"), 12, b"\x02"), "pcapng version"),
        (broken(section("<"), 4, b"\x1b"), "pcapng block length"),
        (broken(section("<"), 24, b"\x20"), "pcapng block length"),
        (section("<") + struct.pack("<III", 5, 8, 8), "pcapng block length"),
        (section("<") + struct.pack("<II", 5, 0xFFFFFFFC), "pcapng block"),
        (section("<") + block("<", 1, bytes(4)), "pcapng interface description"),
        (section("<") + interface("<", options=b"\x09\0\xff\0"), "pcapng option length"),
        (section("<") + enhanced("<", 1, b"f"), "pcapng interface"),
        (section("<") + interface("<") + block("<", 6, bytes(16)), "pcapng packet block"),
        (
            section("<") + interface("<") + block("<", 6, struct.pack("<IIIII", 0, 0, 0, 5, 5) + bytes(4)),
            "pcapng captured length",
        ),
        (section("<") + interface("<") + block("<", 3, struct.pack("<I", 9)), "pcapng original length"),
        (section("<") + interface("<") + block("<", 3, b""), "pcapng simple packet block"),
    ],
)
def test_broken_captures_name_the_field(data, where):
    with pytest.raises(DecodeError) as caught:
        read(data)
    assert caught.value.where == where


@given(st.binary(max_size=200), st.sampled_from(["", "pcap", "pcapng"]))
def test_arbitrary_bytes_raise_nothing_but_decode_error(tail, start):
    heads = {"": b"", "pcap": pcap("<", 0xA1B2C3D4, []), "pcapng": section("<") + interface("<")}
    with contextlib.suppress(DecodeError):
        read(heads[start] + tail)
