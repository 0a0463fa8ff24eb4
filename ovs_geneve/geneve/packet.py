# SPDX-License-Identifier: Apache-2.0
"""Whole Geneve packets, from the first header byte to the end of the UDP payload (RFC 8926 3).

Encoding is strict: C bit and Opt Len follow from the options, reserved bits are zero, options do
not repeat. Decoding raises DecodeError where RFC 8926 makes an endpoint drop the packet (version,
lengths) and leaves an `Oddity` where it makes it carry on. A wrong C bit is of the second sort:
RFC 8926 3.4 lets it decide only for endpoints that parse no options, and senders that leave it
clear exist (Linux's lwtunnel routes).
"""

from __future__ import annotations

from dataclasses import dataclass

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.geneve.header import (
    HEADER_LENGTH,
    MAX_OPTIONS_LENGTH,
    Header,
    decode_header,
    encode_header,
)
from ovs_geneve.geneve.oddity import Oddity, OddityKind
from ovs_geneve.geneve.option import Option, decode_options, duplicates, encode_option


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A Geneve packet. Two are equal when they say the same, oddities included."""

    header: Header
    options: tuple[Option, ...] = ()
    payload: bytes = b""
    oddities: tuple[Oddity, ...] = ()
    "What `decode` met and `encode` would not send; empty in a packet of ours."

    def __post_init__(self) -> None:
        if self.options_length > MAX_OPTIONS_LENGTH:
            raise EncodeError("options", f"{self.options_length} bytes: want at most {MAX_OPTIONS_LENGTH}")

    @property
    def options_length(self) -> int:
        """Return the bytes of all options with their headers."""
        return sum(option.wire_length for option in self.options)

    @property
    def critical(self) -> bool:
        """Tell whether an option is critical, and so whether the C bit is to be set."""
        return any(option.critical for option in self.options)


def encode(packet: Packet) -> bytes:
    """Return the bytes of `packet`; raise EncodeError when it repeats an option or carries oddities.

    A decoded packet with oddities must be cleaned first, knowingly: `replace(packet, oddities=())`.
    """
    refused = packet.oddities or duplicates(packet.options)
    if refused:
        raise EncodeError(refused[0].where, refused[0].kind.value)
    header = encode_header(packet.header, options_length=packet.options_length, critical=packet.critical)
    return header + b"".join(map(encode_option, packet.options)) + packet.payload


def decode(data: bytes) -> Packet:
    """Read a UDP payload; everything behind the options is the packet's payload. Raise DecodeError."""
    seen = decode_header(data)
    end = HEADER_LENGTH + seen.options_length
    if len(data) < end:
        raise DecodeError(
            "opt len", f"{seen.options_length} bytes of options, {len(data) - HEADER_LENGTH} are there"
        )
    options, oddities = decode_options(data[HEADER_LENGTH:end])
    return Packet(
        header=seen.header,
        options=options,
        payload=data[end:],
        oddities=seen.oddities + _c_bit(seen.critical, options) + oddities,
    )


def _c_bit(seen: bool, options: tuple[Option, ...]) -> tuple[Oddity, ...]:
    if seen == any(option.critical for option in options):
        return ()
    kind = OddityKind.C_BIT_ALONE if seen else OddityKind.C_BIT_MISSING
    return (Oddity(kind=kind, where="C bit", value=int(seen)),)
