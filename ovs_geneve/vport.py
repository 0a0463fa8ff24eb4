# SPDX-License-Identifier: Apache-2.0
"""A GENEVE vport: the Interface options of a tunnel, as ovs-vswitchd.conf.db(5), "Tunnel Options", spells them.

One vport with `remote_ip` and `key` "flow" reaches every peer: flows set tun_dst and tun_id then. What OVS
would take and silently bend (ECN bits in tos, a TTL of 0) or refuse later in the `error` column is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal, TypeAlias

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.values import OfPort, Vni, ofport, vni

GENEVE_PORT = 6081
"UDP port of GENEVE (RFC 8926 3.3)."

FLOW: Literal["flow"] = "flow"
"The flows decide, packet by packet."

INHERIT: Literal["inherit"] = "inherit"
"Copied from the inner packet."

IpAddress: TypeAlias = IPv4Address | IPv6Address
Endpoint: TypeAlias = IpAddress | Literal["flow"]

_NAME = re.compile(r"[^\s/:]{1,15}\Z")
"An OpenFlow port name has 15 bytes; OVS refuses slashes, tools stumble over blanks and colons."

_KNOWN = frozenset(
    {"remote_ip", "local_ip", "key", "in_key", "out_key", "dst_port", "csum", "ttl", "tos", "df_default"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneveVport:
    """One tunnel interface of type geneve; EncodeError names the field that OVS could not take."""

    name: str
    ofport_request: OfPort | None = None
    "The port number to have; None leaves it to OVS."
    remote_ip: Endpoint = FLOW
    "The peer's tunnel endpoint."
    local_ip: Endpoint | None = None
    "Our tunnel endpoint; None takes packets to any address. FLOW goes with remote_ip FLOW only."
    key: Vni | Literal["flow"] = FLOW
    "The VNI of packets both ways."
    dst_port: int = GENEVE_PORT
    csum: bool | None = None
    "Send UDP checksums; None is OVS's default: off, from OVS 3.4 on for IPv6 on."
    ttl: int | Literal["inherit"] | None = None
    "1 to 255; None is OVS's default, 64."
    tos: int | Literal["inherit"] | None = None
    "The whole byte of the outer header; its low two bits, ECN, are OVS's own and must be 0."
    df_default: bool | None = None
    "Don't fragment; None is OVS's default, on."

    def __post_init__(self) -> None:
        if not _NAME.match(self.name) or len(self.name.encode()) > 15 or self.name in (".", ".."):
            raise EncodeError("name", f"{self.name!r} is no interface name of 1 to 15 bytes")
        if self.ofport_request is not None:
            ofport(self.ofport_request)
        if self.key != FLOW:
            vni(self.key)
        if not 1 <= self.dst_port <= 0xFFFF:
            raise EncodeError("dst_port", f"{self.dst_port} is not within 1 and 65535")
        self._check_endpoints()
        self._check_outer_header()

    def _check_endpoints(self) -> None:
        _check_address("remote_ip", self.remote_ip)
        if self.local_ip is None:
            return
        _check_address("local_ip", self.local_ip)
        if self.local_ip == FLOW:
            if self.remote_ip != FLOW:
                raise EncodeError("local_ip", "flow goes with remote_ip=flow only")
        elif self.remote_ip != FLOW and self.local_ip.version != self.remote_ip.version:
            raise EncodeError("local_ip", "is of another address family than remote_ip")

    def _check_outer_header(self) -> None:
        if isinstance(self.ttl, int) and not 1 <= self.ttl <= 255:
            raise EncodeError("ttl", f"{self.ttl} is not within 1 and 255")
        if isinstance(self.tos, int):
            if not 0 <= self.tos <= 0xFF:
                raise EncodeError("tos", f"{self.tos} is no byte")
            if self.tos & 0b11:
                raise EncodeError("tos", f"{self.tos:#04x} has ECN bits set, which OVS takes from the packet")

    def options(self) -> dict[str, str]:
        """Give the `options` column; what OVS does by default anyway is left out."""
        options = {"remote_ip": str(self.remote_ip), "key": str(self.key)}
        if self.local_ip is not None:
            options["local_ip"] = str(self.local_ip)
        if self.dst_port != GENEVE_PORT:
            options["dst_port"] = str(self.dst_port)
        if self.csum is not None:
            options["csum"] = _flag(self.csum)
        if self.ttl is not None:
            options["ttl"] = str(self.ttl)
        if self.tos is not None:
            options["tos"] = self.tos if isinstance(self.tos, str) else f"{self.tos:#04x}"
        if self.df_default is not None:
            options["df_default"] = _flag(self.df_default)
        return options

    @classmethod
    def from_options(
        cls, name: str, options: Mapping[str, str], ofport_request: OfPort | None = None
    ) -> GeneveVport:
        """Read an Interface's `options`, in any spelling OVS takes; DecodeError names the option.

        An option this class does not know (IPsec's `psk`, say) is an error: writing the value back would
        lose it. So are different keys for the two directions.
        """
        unknown = sorted(options.keys() - _KNOWN)
        if unknown:
            raise DecodeError(f"options:{unknown[0]}", "not an option of ours")
        try:
            return cls(
                name=name,
                ofport_request=ofport_request,
                remote_ip=_parse_endpoint("remote_ip", options.get("remote_ip", "")),
                local_ip=_parse_endpoint("local_ip", options["local_ip"]) if "local_ip" in options else None,
                key=_parse_key(options),
                dst_port=_parse_number("dst_port", options.get("dst_port", str(GENEVE_PORT)), 10),
                csum=options["csum"] == "true" if "csum" in options else None,
                ttl=_parse_byte("ttl", options, 10),
                tos=_parse_byte("tos", options, 0),
                df_default=options["df_default"] != "false" if "df_default" in options else None,
            )
        except EncodeError as error:
            raise DecodeError(f"options:{error.field}", error.reason) from error


def _check_address(field: str, address: Endpoint) -> None:
    if isinstance(address, str):
        return
    if address.is_multicast or address.is_unspecified or address == IPv4Address("255.255.255.255"):
        raise EncodeError(field, f"{address} is no unicast address")
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise EncodeError(field, f"{address}: OVS takes no scope")


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _parse_number(field: str, text: str, base: int) -> int:
    try:
        return int(text, base)
    except ValueError as error:
        raise DecodeError(f"options:{field}", f"{text!r} is no number") from error


def _parse_byte(field: str, options: Mapping[str, str], base: int) -> int | Literal["inherit"] | None:
    text = options.get(field)
    if text is None:
        return None
    return INHERIT if text == INHERIT else _parse_number(field, text, base)


def _parse_endpoint(field: str, text: str) -> Endpoint:
    if text == FLOW:
        return FLOW
    try:
        return ip_address(text)
    except ValueError as error:
        raise DecodeError(f"options:{field}", f"{text!r} is neither an address nor flow") from error


def _parse_key(options: Mapping[str, str]) -> Vni | Literal["flow"]:
    """Read `key`, or `in_key` and `out_key` when they agree; without any the key is 0."""
    shared = options.get("key", "0")
    inward, outward = (options.get(field, shared) for field in ("in_key", "out_key"))
    if inward != outward:
        raise DecodeError("options:in_key", f"{inward!r} is not what out_key is, {outward!r}")
    return FLOW if inward == FLOW else vni(_parse_number("key", inward, 0))
