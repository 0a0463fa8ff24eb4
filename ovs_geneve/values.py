# SPDX-License-Identifier: Apache-2.0
"""Small numbers with a meaning, each with the one function that checks it."""

from __future__ import annotations

from typing import NewType

from ovs_geneve.errors import EncodeError

Vni = NewType("Vni", int)
"A virtual network identifier, 24 bits (RFC 8926 3.4)."

OptionClass = NewType("OptionClass", int)
"The namespace of an option type, 16 bits (RFC 8926 3.5)."

OptionType = NewType("OptionType", int)
"The type of an option within its class, 8 bits; bit 7 set means critical (RFC 8926 3.5)."

OfPort = NewType("OfPort", int)
"An OpenFlow port number that OVS gives to an interface: 1 to 0xfeff."

Dpid = NewType("Dpid", int)
"A bridge's 64-bit datapath identifier."

CRITICAL = 0x80
"The bit of an option type that makes the option critical."

OFPORT_LOCAL = 0xFFFFFFFE
"The bridge's own port, OFPP_LOCAL of OpenFlow 1.1 and later."


def vni(value: int) -> Vni:
    """Check a VNI: 0 to 2**24 - 1."""
    return Vni(_within("vni", value, 0xFFFFFF))


def option_class(value: int) -> OptionClass:
    """Check an option class: 0 to 0xffff."""
    return OptionClass(_within("option class", value, 0xFFFF))


def option_type(value: int) -> OptionType:
    """Check an option type: 0 to 0xff."""
    return OptionType(_within("option type", value, 0xFF))


def ofport(value: int) -> OfPort:
    """Check a port number that may be given to an interface: 1 to 0xfeff."""
    if value == 0:
        raise EncodeError("ofport", "0 is no port")
    return OfPort(_within("ofport", value, 0xFEFF))


def dpid(value: int) -> Dpid:
    """Check a datapath identifier: 1 to 2**64 - 1."""
    if value == 0:
        raise EncodeError("dpid", "0 is no datapath")
    return Dpid(_within("dpid", value, 0xFFFFFFFFFFFFFFFF))


def is_critical(value: int) -> bool:
    """Tell whether an endpoint that does not know this option type must drop the packet."""
    return bool(value & CRITICAL)


def _within(field: str, value: int, most: int) -> int:
    if not 0 <= value <= most:
        raise EncodeError(field, f"{value} is not within 0 and {most} ({most:#x})")
    return value


def mac_text(mac: int) -> str:
    """Return a MAC as people and ip-link(8) write it, 02:00:00:00:00:01."""
    return mac.to_bytes(6).hex(":")
