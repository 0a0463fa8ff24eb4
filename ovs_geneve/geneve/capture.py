# SPDX-License-Identifier: Apache-2.0
"""Reading packet captures, pcap and pcapng, from any blocking binary stream.

Nothing is read ahead of the frame that is handed out, so a pipe from `tcpdump -U -w -` is as good
as a file. A file cut inside a record (tcpdump killed) hands out the frames before the cut, then
raises DecodeError. Sources: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.

    pcap     file header 24 | (record header 16 | frame)...
    pcapng   block... ; a block: type 4 | total length 4 | body, padded to 4 | total length 4
             body of a section header: byte order magic; it restarts the list of interfaces
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from ovs_geneve.errors import DecodeError

MAX_RECORD = 16 << 20
"Bytes a single record or block may claim; a larger one is damage, not a frame."

_NANOSECONDS = 10**9
_PCAP_UNITS = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}
"Magic number of a pcap file -> nanoseconds in the unit of its fractions."

_SECTION_HEADER = 0x0A0D0D0A
_INTERFACE = 1
_OBSOLETE_PACKET = 2
_SIMPLE_PACKET = 3
_ENHANCED_PACKET = 6
_BYTE_ORDER_MAGIC = 0x1A2B3C4D

_OPTION_END = 0
_OPTION_TSRESOL = 9
_OPTION_TSOFFSET = 14


class CapturedFrame(NamedTuple):
    """One frame of a capture."""

    timestamp_ns: int | None
    "Nanoseconds since 1970; None where the format has none (pcapng simple packet blocks)."
    linktype: int
    "What the frame begins with: a LINKTYPE_ number of the pcap registry."
    data: bytes


def read_capture(stream: BinaryIO) -> Iterator[CapturedFrame]:
    """Yield the frames of a pcap or pcapng stream as they arrive; raise DecodeError for anything else."""
    magic = _exactly(stream, 4, "capture magic")
    if magic is None:
        raise DecodeError("capture magic", "the stream is empty")
    if int.from_bytes(magic, "big") == _SECTION_HEADER:
        return _pcapng(stream)
    for order in "<", ">":
        unit = _PCAP_UNITS.get(struct.unpack(f"{order}I", magic)[0])
        if unit is not None:
            return _pcap(stream, order, unit)
    raise DecodeError("capture magic", f"{magic.hex()}: neither pcap nor pcapng")


def _pcap(stream: BinaryIO, order: str, unit: int) -> Iterator[CapturedFrame]:
    head = _exactly(stream, 20, "pcap header")
    if head is None:
        raise DecodeError("pcap header", "4 of 24 bytes")
    major, minor, network = struct.unpack(f"{order}HH12xI", head)
    if (major, minor) != (2, 4):
        raise DecodeError("pcap version", f"{major}.{minor}: want 2.4")
    record = struct.Struct(f"{order}IIII")
    while (head := _exactly(stream, record.size, "pcap record header")) is not None:
        seconds, fraction, length, _original = record.unpack(head)
        data = _body(stream, length, "pcap record")
        # The upper half of `network` tells about frame check sequences, which nobody here reads.
        yield CapturedFrame(seconds * _NANOSECONDS + fraction * unit, network & 0xFFFF, data)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Interface:
    """What an interface description block says about the packets that name it."""

    linktype: int
    snaplen: int
    ticks_per_second: int
    offset_seconds: int

    def nanoseconds(self, ticks: int) -> int:
        return self.offset_seconds * _NANOSECONDS + ticks * _NANOSECONDS // self.ticks_per_second


def _pcapng(stream: BinaryIO) -> Iterator[CapturedFrame]:
    # The first four bytes, a section header's type, are gone already; it reads the same both ways.
    order = "<"
    interfaces: list[_Interface] = []
    kind: int | None = _SECTION_HEADER
    while kind is not None:
        if kind == _SECTION_HEADER:
            order = _section(stream)
            interfaces = []
        else:
            body = _block_body(stream, order)
            if kind == _INTERFACE:
                interfaces.append(_interface(body, order))
            elif kind in _PACKET_READERS:
                yield _PACKET_READERS[kind](body, order, interfaces)
            # Other blocks (names, statistics, secrets) hold no frames: the draft, 3.1, says skip them.
        head = _exactly(stream, 4, "pcapng block type")
        kind = None if head is None else struct.unpack(f"{order}I", head)[0]


def _section(stream: BinaryIO) -> str:
    # The length precedes the magic that tells how to read it, so both are fetched first.
    head = _exactly(stream, 8, "pcapng section header")
    if head is None:
        raise DecodeError("pcapng section header", "4 of 12 bytes")
    for order in "<", ">":
        length, magic = struct.unpack(f"{order}II", head)
        if magic == _BYTE_ORDER_MAGIC:
            break
    else:
        raise DecodeError("pcapng byte order magic", head[4:].hex())
    body = _rest_of_block(stream, order, length, taken=12)
    if len(body) < 12:
        raise DecodeError("pcapng section header", f"{len(body)} of 12 bytes behind the magic")
    major, minor = struct.unpack_from(f"{order}HH", body)
    if major != 1:
        raise DecodeError("pcapng version", f"{major}.{minor}: want 1.x")
    return order


def _block_body(stream: BinaryIO, order: str) -> bytes:
    head = _exactly(stream, 4, "pcapng block length")
    if head is None:
        raise DecodeError("pcapng block length", "the stream ends before it")
    (length,) = struct.unpack(f"{order}I", head)
    return _rest_of_block(stream, order, length, taken=8)


def _rest_of_block(stream: BinaryIO, order: str, length: int, *, taken: int) -> bytes:
    if length % 4 or length < taken + 4:
        raise DecodeError("pcapng block length", f"{length}: want a multiple of 4, at least {taken + 4}")
    rest = _body(stream, length - taken, "pcapng block")
    (again,) = struct.unpack_from(f"{order}I", rest, len(rest) - 4)
    if again != length:
        raise DecodeError("pcapng block length", f"{length} before the block, {again} behind it")
    return rest[:-4]


def _interface(body: bytes, order: str) -> _Interface:
    if len(body) < 8:
        raise DecodeError("pcapng interface description", f"{len(body)} of 8 bytes")
    linktype, _reserved, snaplen = struct.unpack_from(f"{order}HHI", body)
    resolution, offset = 6, 0
    for code, value in _options(body, 8, order):
        if code == _OPTION_TSRESOL and value:
            resolution = value[0]
        elif code == _OPTION_TSOFFSET and len(value) == 8:
            (offset,) = struct.unpack(f"{order}q", value)
    # if_tsresol: a power of ten, or with the high bit set a power of two.
    ticks = 1 << (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    return _Interface(linktype=linktype, snaplen=snaplen, ticks_per_second=ticks, offset_seconds=offset)


def _options(body: bytes, start: int, order: str) -> Iterator[tuple[int, bytes]]:
    while start < len(body):
        if len(body) - start < 4:
            raise DecodeError("pcapng option", f"{len(body) - start} of 4 bytes")
        code, length = struct.unpack_from(f"{order}HH", body, start)
        start += 4
        if code == _OPTION_END:
            return
        if length > len(body) - start:
            raise DecodeError("pcapng option length", f"{length} bytes, {len(body) - start} are there")
        yield code, body[start : start + length]
        start += length + -length % 4


def _enhanced(body: bytes, order: str, interfaces: list[_Interface]) -> CapturedFrame:
    return _timed(body, f"{order}IIII4x", order, interfaces)


def _obsolete(body: bytes, order: str, interfaces: list[_Interface]) -> CapturedFrame:
    # The draft's appendix: a 16-bit interface and a drop count where the enhanced block has 32 bits.
    return _timed(body, f"{order}H2xIII4x", order, interfaces)


def _timed(body: bytes, layout: str, order: str, interfaces: list[_Interface]) -> CapturedFrame:
    if len(body) < 20:
        raise DecodeError("pcapng packet block", f"{len(body)} of 20 bytes")
    number, high, low, length = struct.unpack_from(layout, body)
    interface = _named_interface(interfaces, number)
    if length > len(body) - 20:
        raise DecodeError("pcapng captured length", f"{length} bytes, {len(body) - 20} are there")
    return CapturedFrame(interface.nanoseconds(high << 32 | low), interface.linktype, body[20 : 20 + length])


def _simple(body: bytes, order: str, interfaces: list[_Interface]) -> CapturedFrame:
    if len(body) < 4:
        raise DecodeError("pcapng simple packet block", f"{len(body)} of 4 bytes")
    interface = _named_interface(interfaces, 0)
    (original,) = struct.unpack_from(f"{order}I", body)
    # The captured length is not written: the smaller of the original length and the snap length is it.
    length = min(original, interface.snaplen) if interface.snaplen else original
    if length > len(body) - 4:
        raise DecodeError("pcapng original length", f"{length} bytes, {len(body) - 4} are there")
    return CapturedFrame(None, interface.linktype, body[4 : 4 + length])


_PACKET_READERS = {_ENHANCED_PACKET: _enhanced, _OBSOLETE_PACKET: _obsolete, _SIMPLE_PACKET: _simple}


def _named_interface(interfaces: list[_Interface], number: int) -> _Interface:
    if number >= len(interfaces):
        raise DecodeError("pcapng interface", f"{number}: the section describes {len(interfaces)}")
    return interfaces[number]


def _body(stream: BinaryIO, length: int, where: str) -> bytes:
    if length > MAX_RECORD:
        raise DecodeError(where, f"{length} bytes: want at most {MAX_RECORD}")
    data = _exactly(stream, length, where) if length else b""
    if data is None:
        raise DecodeError(where, f"0 of {length} bytes: the stream ends here")
    return data


def _exactly(stream: BinaryIO, count: int, where: str) -> bytes | None:
    """Return `count` bytes, or None at the end of the stream; an unbuffered pipe gives them in parts."""
    parts: list[bytes] = []
    left = count
    while left:
        part = stream.read(left)
        if not part:
            break
        parts.append(part)
        left -= len(part)
    if left and parts:
        raise DecodeError(where, f"{count - left} of {count} bytes: the stream ends here")
    return b"".join(parts) if parts else None
