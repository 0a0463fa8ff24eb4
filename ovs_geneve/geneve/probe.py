# SPDX-License-Identifier: Apache-2.0
"""The frame that proves a tunnel: sent from one host to another as OAM, read there, and sent back.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------------------------------------------------------+
    |      destination 06:76:67:70:72:… 01: a request, 02: an echo  |
    |                               +-------------------------------+
    |      03, 04: without options  |                               |
    +-------------------------------+                               |
    |      source 06:76:67:70:72:00                                 |
    +-------------------------------+---------------+---------------+
    |   EtherType 0x88b5            |   magic "gp"                  |
    +---------------+---------------+-------------------------------+
    |   version 1   |   pattern     |   size: of the whole frame    |
    +---------------+---------------+-------------------------------+
    |   run: drawn at random, so that nobody else's probe and none  |
    |   of yesterday's is taken for one of ours                     |
    +---------------------------------------------------------------+
    |   sequence: unique within the run                             |
    +---------------------------------------------------------------+
    |   filling: 0 1 2 … 255 0 1 …, up to `size`                    |
    +---------------------------------------------------------------+

EtherType: IEEE Std 802 Local Experimental EtherType 1, so that it collides with no protocol. The addresses are unicast
and locally administered. A flow turns a request into its echo: it can write the destination, not what is behind it.
The frame is carried in GENEVE with the O bit (RFC 8926 3.4), and no flow leads it to a port. Frames that go without
options have addresses of their own: what a datapath remembers of a packet without options may fit one that has some.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from ovs_geneve.errors import DecodeError, EncodeError

ETHERTYPE = 0x88B5
"IEEE Std 802 Local Experimental EtherType 1."

REQUEST_MAC = 0x067667707201
ECHO_MAC = 0x067667707202
BARE_REQUEST_MAC = 0x067667707203
BARE_ECHO_MAC = 0x067667707204
SENDER_MAC = 0x067667707200

VERSION = 1
MAGIC = b"gp"

ETHERNET_HEADER = 14
MIN_SIZE = 64
"Bytes of the smallest frame we send."
MAX_SIZE = 0xFFFF

_HEADER = Struct("!6s6sH2sBBHQI")
_SENDER = SENDER_MAC.to_bytes(6)
_FILLING = bytes(range(256)) * (MAX_SIZE // 256 + 1)


class Pattern(IntEnum):
    """What the options of the packet are set to: not in the frame but around it."""

    BARE = 0
    "No options."
    VALUE = 1
    COMPLEMENT = 2
    "Every bit that VALUE has set is clear, and the other way round."


_DESTINATIONS = {
    (False, False): REQUEST_MAC.to_bytes(6),
    (True, False): ECHO_MAC.to_bytes(6),
    (False, True): BARE_REQUEST_MAC.to_bytes(6),
    (True, True): BARE_ECHO_MAC.to_bytes(6),
}
"By whether it is an echo, and whether it has no options."


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a frame says."""

    run: int
    sequence: int
    pattern: Pattern
    size: int
    "Bytes of the frame, its Ethernet header included."
    echo: bool = False

    def __post_init__(self) -> None:
        if not MIN_SIZE <= self.size <= MAX_SIZE:
            raise EncodeError("probe size", f"{self.size} bytes: want {MIN_SIZE} to {MAX_SIZE}")
        if not 0 <= self.run < 1 << 64:
            raise EncodeError("probe run", f"{self.run:#x}: has more than 64 bits")
        if not 0 <= self.sequence < 1 << 32:
            raise EncodeError("probe sequence", f"{self.sequence:#x}: has more than 32 bits")


def encode(probe: Probe) -> bytes:
    """Return the frame."""
    header = _HEADER.pack(
        _DESTINATIONS[probe.echo, probe.pattern is Pattern.BARE],
        _SENDER,
        ETHERTYPE,
        MAGIC,
        VERSION,
        probe.pattern,
        probe.size,
        probe.run,
        probe.sequence,
    )
    return header + _FILLING[: probe.size - len(header)]


def decode(frame: bytes) -> Probe:
    """Read a frame; raise DecodeError naming what is wrong, a byte changed or cut off on the way included."""
    if len(frame) < _HEADER.size:
        raise DecodeError("probe", f"{len(frame)} bytes: want at least {_HEADER.size}")
    destination, source, ethertype, magic, version, pattern, size, run, sequence = _HEADER.unpack_from(frame)
    if (ethertype, magic, source) != (ETHERTYPE, MAGIC, _SENDER):
        raise DecodeError("probe", "neither EtherType, magic nor source address of a probe")
    if version != VERSION:
        raise DecodeError("probe version", f"{version}: want {VERSION}")
    if size != len(frame) or size < MIN_SIZE:
        raise DecodeError("probe size", f"it says {size} bytes, {len(frame)} came")
    if frame[_HEADER.size :] != _FILLING[: size - _HEADER.size]:
        raise DecodeError("probe filling", "bytes were changed on the way")
    try:
        known = Pattern(pattern)
    except ValueError as error:
        raise DecodeError("probe pattern", f"{pattern} is none") from error
    bare = known is Pattern.BARE
    echo = destination == _DESTINATIONS[True, bare]
    if destination != _DESTINATIONS[echo, bare]:
        raise DecodeError(
            "probe destination", f"{destination.hex(':')}: want that of a request or of an echo"
        )
    return Probe(run=run, sequence=sequence, pattern=known, size=size, echo=echo)
