# SPDX-License-Identifier: Apache-2.0
"""The packet fields of OpenFlow 1.5 as Open vSwitch speaks them, in the order in which it dumps them.

One header is 4 bytes (OpenFlow 1.5.1, 7.2.3.2):

     0               16      23  24       32
    +---------------+-------+---+--------+
    | class         | field | M | length |      M: a mask follows the value; length counts both
    +---------------+-------+---+--------+

Class 0 and 1 are Nicira's (`nicira-ext.h`), 0x8000 is OpenFlow's, 0x8001 its packet registers and
0x1000 Ericsson's two ND fields (OVS `extract_ofp_fields.py`). No field here has an experimenter header.

The rank of a field is its place in `nx_put_raw` (OVS `lib/nx-match.c`): terms in that order also
satisfy every prerequisite, because OVS writes eth_type before ip_proto before udp_dst.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from types import MappingProxyType

from ovs_geneve.errors import DecodeError, EncodeError

MAX_TUN_METADATA = 64
"How many tun_metadata fields a bridge has."

MAX_TUN_METADATA_LENGTH = 124
"Bytes of one option's data (RFC 8926 3.5: a 5-bit length in units of 4 bytes)."

HEADER_SIZE = 4

_NXM_0 = 0x0000
_NXM_1 = 0x0001
_ERICSSON = 0x1000
_BASIC = 0x8000
_PACKET_REGISTERS = 0x8001


class Form(Enum):
    """How `ovs-ofctl` writes a value."""

    DECIMAL = "decimal"
    HEX = "hexadecimal"
    PORT = "port"
    MAC = "mac"
    IPV4 = "ipv4"
    IPV6 = "ipv6"
    FRAGMENT = "fragment"
    TUNNEL_FLAGS = "tunnel flags"
    CT_STATE = "ct state"
    TCP_FLAGS = "tcp flags"
    PACKET_TYPE = "packet type"
    OPTION = "tunnel option"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """One field. There is one object a field, so identity is equality."""

    name: str
    "As OVS prints it in a match."
    width: int
    "Bytes of a value on the wire."
    bits: int
    "How many low bits of those bytes carry anything."
    ones: int
    "A mask of all those bits."
    maskable: bool
    writable: bool
    header: bytes
    masked_header: bytes
    rank: int
    "Where OVS puts the field when it dumps a match."
    form: Form
    kept_mask: bool
    "OVS keeps only the bits it knows and so dumps an exact match as a masked one."

    def __repr__(self) -> str:
        return f"<Field {self.name}>"

    def __reduce__(self) -> tuple[Callable[[str, int], Field], tuple[str, int]]:
        """Keep one object a field through copy and pickle."""
        return field_named, (self.name, self.width)


def _field(
    rank: int,
    name: str,
    oxm: tuple[int, int],
    width: int,
    form: Form = Form.DECIMAL,
    *,
    bits: int | None = None,
    maskable: bool = True,
    writable: bool = True,
    kept_mask: bool = False,
) -> Field:
    bits = 8 * width if bits is None else bits
    oxm_class, number = oxm
    prefix = (oxm_class << 16) | (number << 9)
    return Field(
        name=name,
        width=width,
        bits=bits,
        ones=(1 << bits) - 1,
        maskable=maskable,
        writable=writable,
        header=(prefix | width).to_bytes(HEADER_SIZE),
        masked_header=(prefix | 0x100 | 2 * width).to_bytes(HEADER_SIZE),
        rank=rank,
        form=form,
        kept_mask=kept_mask,
    )


# What the packet is and where it came from.
PACKET_TYPE = _field(0, "packet_type", (_BASIC, 44), 4, Form.PACKET_TYPE, maskable=False, writable=False)
RECIRC_ID = _field(1, "recirc_id", (_NXM_1, 36), 4, maskable=False, writable=False)
CONJ_ID = _field(2, "conj_id", (_NXM_1, 37), 4, maskable=False, writable=False)
IN_PORT = _field(3, "in_port", (_BASIC, 0), 4, Form.PORT, maskable=False)
ACTSET_OUTPUT = _field(4, "actset_output", (_BASIC, 43), 4, Form.PORT, maskable=False, writable=False)

# Ethernet. vlan_tci cannot be dumped in OpenFlow 1.5: Match writes it as vlan_vid and vlan_pcp.
ETH_SRC = _field(10, "dl_src", (_BASIC, 4), 6, Form.MAC)
ETH_DST = _field(11, "dl_dst", (_BASIC, 3), 6, Form.MAC)
ETH_TYPE = _field(12, "dl_type", (_BASIC, 5), 2, Form.HEX, maskable=False, writable=False)
VLAN_TCI = _field(13, "vlan_tci", (_NXM_0, 4), 2, Form.HEX)
VLAN_VID = _field(14, "vlan_vid", (_BASIC, 6), 2, Form.HEX, bits=13)
VLAN_PCP = _field(15, "vlan_pcp", (_BASIC, 7), 1, bits=3, maskable=False)

# IPv4 and IPv6, then what they carry.
IPV4_SRC = _field(20, "nw_src", (_BASIC, 11), 4, Form.IPV4)
IPV4_DST = _field(21, "nw_dst", (_BASIC, 12), 4, Form.IPV4)
IPV6_SRC = _field(22, "ipv6_src", (_BASIC, 26), 16, Form.IPV6)
IPV6_DST = _field(23, "ipv6_dst", (_BASIC, 27), 16, Form.IPV6)
IP_FRAG = _field(24, "ip_frag", (_NXM_1, 26), 1, Form.FRAGMENT, bits=2, writable=False)
IP_DSCP = _field(25, "ip_dscp", (_BASIC, 8), 1, bits=6, maskable=False)
IP_ECN = _field(26, "nw_ecn", (_BASIC, 9), 1, bits=2, maskable=False)
IP_TTL = _field(27, "nw_ttl", (_NXM_1, 29), 1, maskable=False)
IPV6_FLABEL = _field(28, "ipv6_label", (_BASIC, 28), 4, Form.HEX, bits=20)
IP_PROTO = _field(29, "nw_proto", (_BASIC, 10), 1, maskable=False, writable=False)
TCP_SRC = _field(30, "tcp_src", (_BASIC, 13), 2)
TCP_DST = _field(31, "tcp_dst", (_BASIC, 14), 2)
TCP_FLAGS = _field(32, "tcp_flags", (_BASIC, 42), 2, Form.TCP_FLAGS, bits=12, writable=False)
UDP_SRC = _field(33, "udp_src", (_BASIC, 15), 2)
UDP_DST = _field(34, "udp_dst", (_BASIC, 16), 2)
SCTP_SRC = _field(35, "sctp_src", (_BASIC, 17), 2)
SCTP_DST = _field(36, "sctp_dst", (_BASIC, 18), 2)
ICMPV4_TYPE = _field(37, "icmp_type", (_BASIC, 19), 1, maskable=False)
ICMPV4_CODE = _field(38, "icmp_code", (_BASIC, 20), 1, maskable=False)
ICMPV6_TYPE = _field(39, "icmpv6_type", (_BASIC, 29), 1, maskable=False)
ICMPV6_CODE = _field(40, "icmpv6_code", (_BASIC, 30), 1, maskable=False)
ND_RESERVED = _field(41, "nd_reserved", (_ERICSSON, 1), 4, maskable=False)
ND_TARGET = _field(42, "nd_target", (_BASIC, 31), 16, Form.IPV6)
ND_OPTIONS_TYPE = _field(43, "nd_options_type", (_ERICSSON, 2), 1, maskable=False)
ND_SLL = _field(44, "nd_sll", (_BASIC, 32), 6, Form.MAC)
ND_TLL = _field(45, "nd_tll", (_BASIC, 33), 6, Form.MAC)

ARP_OP = _field(50, "arp_op", (_BASIC, 21), 2, bits=8, maskable=False)
ARP_SPA = _field(51, "arp_spa", (_BASIC, 22), 4, Form.IPV4)
ARP_TPA = _field(52, "arp_tpa", (_BASIC, 23), 4, Form.IPV4)
ARP_SHA = _field(53, "arp_sha", (_BASIC, 24), 6, Form.MAC)
ARP_THA = _field(54, "arp_tha", (_BASIC, 25), 6, Form.MAC)

# The tunnel that the packet came from or goes to. tun_metadata0..63 rank 100..163.
TUN_ID = _field(60, "tun_id", (_BASIC, 38), 8, Form.HEX)
TUN_FLAGS = _field(61, "tun_flags", (_NXM_1, 104), 2, Form.TUNNEL_FLAGS, bits=1, kept_mask=True)
TUN_SRC = _field(62, "tun_src", (_NXM_1, 31), 4, Form.IPV4)
TUN_DST = _field(63, "tun_dst", (_NXM_1, 32), 4, Form.IPV4)
TUN_IPV6_SRC = _field(64, "tun_ipv6_src", (_NXM_1, 109), 16, Form.IPV6)
TUN_IPV6_DST = _field(65, "tun_ipv6_dst", (_NXM_1, 110), 16, Form.IPV6)
_TUN_METADATA_RANK = 100
_TUN_METADATA_NUMBER = 40

# Registers: reg2n is the high half of xreg n, xreg2n the high half of xxreg n. Dumps have xregs only.
REGS = tuple(_field(200 + n, f"reg{n}", (_NXM_1, n), 4, Form.HEX) for n in range(16))
XREGS = tuple(_field(220 + n, f"xreg{n}", (_PACKET_REGISTERS, n), 8, Form.HEX) for n in range(8))
XXREGS = tuple(_field(230 + n, f"xxreg{n}", (_NXM_1, 111 + n), 16, Form.HEX) for n in range(4))
(REG0, REG1, REG2, REG3, REG4, REG5, REG6, REG7) = REGS[:8]
(REG8, REG9, REG10, REG11, REG12, REG13, REG14, REG15) = REGS[8:]
(XREG0, XREG1, XREG2, XREG3, XREG4, XREG5, XREG6, XREG7) = XREGS
(XXREG0, XXREG1, XXREG2, XXREG3) = XXREGS

PKT_MARK = _field(240, "pkt_mark", (_NXM_1, 33), 4, Form.HEX)
CT_STATE = _field(241, "ct_state", (_NXM_1, 105), 4, Form.CT_STATE, bits=8, writable=False, kept_mask=True)
CT_ZONE = _field(242, "ct_zone", (_NXM_1, 106), 2, Form.HEX, maskable=False, writable=False)
CT_MARK = _field(243, "ct_mark", (_NXM_1, 107), 4, Form.HEX)
CT_LABEL = _field(244, "ct_label", (_NXM_1, 108), 16, Form.HEX)
METADATA = _field(250, "metadata", (_BASIC, 2), 8, Form.HEX)


def _all_fields() -> tuple[Field, ...]:
    single = [value for value in globals().values() if isinstance(value, Field)]
    return tuple(sorted(single, key=lambda field: field.rank))


FIELDS: tuple[Field, ...] = _all_fields()
"Every field of fixed width, in dump order."

BY_NAME: Mapping[str, Field] = MappingProxyType({field.name: field for field in FIELDS})

BY_HEADER: Mapping[bytes, Field] = MappingProxyType({field.header: field for field in FIELDS})
"By unmasked header; `parse_header` also knows masked ones and tun_metadata."

_BY_MASKED_HEADER = MappingProxyType({field.masked_header: field for field in FIELDS})


@cache
def tun_metadata(index: int, length: int) -> Field:
    """Return tun_metadata`index` for the option data length in bytes that the bridge's TLV map gives it.

    The length is part of the header, and OVS takes a longer one silently but keeps the wrong end.
    Raise EncodeError for an index above 63 and for a length that no option can have.
    """
    if not 0 <= index < MAX_TUN_METADATA:
        raise EncodeError("tun_metadata", f"index {index}: want 0 to {MAX_TUN_METADATA - 1}")
    if length % 4 or not 0 <= length <= MAX_TUN_METADATA_LENGTH:
        raise EncodeError("tun_metadata", f"length {length}: want a multiple of 4, at most 124")
    return _field(
        _TUN_METADATA_RANK + index,
        f"tun_metadata{index}",
        (_NXM_1, _TUN_METADATA_NUMBER + index),
        length,
        Form.OPTION,
        kept_mask=length == 0,  # nothing but its presence can be matched, which is a mask of zero
    )


def field_named(name: str, width: int = 0) -> Field:
    """Return the field that OVS calls `name`; `width` matters for tun_metadata only."""
    if name.startswith("tun_metadata"):
        return tun_metadata(int(name.removeprefix("tun_metadata")), width)
    return BY_NAME[name]


def is_tun_metadata(field: Field) -> bool:
    """Tell whether a field is one of tun_metadata0..63."""
    return field.form is Form.OPTION


def parse_header(header: bytes) -> tuple[Field, bool]:
    """Return the field that a 4-byte header names and whether a mask follows, or raise DecodeError."""
    field = BY_HEADER.get(header)
    if field is not None:
        return field, False
    field = _BY_MASKED_HEADER.get(header)
    if field is not None:
        return field, True
    return _parse_tun_metadata(header)


def _parse_tun_metadata(header: bytes) -> tuple[Field, bool]:
    number, length = header[2] >> 1, header[3]
    index = number - _TUN_METADATA_NUMBER
    masked = bool(header[2] & 1)
    if int.from_bytes(header[:2]) != _NXM_1 or not 0 <= index < MAX_TUN_METADATA:
        raise DecodeError("OXM header", f"{header.hex()} is no field known here")
    try:
        return tun_metadata(index, length // 2 if masked else length), masked
    except EncodeError as error:
        raise DecodeError("OXM header", f"{header.hex()}: {error.reason}") from error
