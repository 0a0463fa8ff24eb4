# SPDX-License-Identifier: Apache-2.0
"""What a port contributes, as blocks: its features behind stencils, one for each shape of port. Pure.

Ports are what there are a hundred thousand of; everything else is encoded as it comes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from controller.compiler.cookies import Feature
from controller.compiler.features import local_port, neighbours, tunnel
from controller.compiler.stencil import Stencil
from controller.compiler.views import PortView
from controller.intent.model import Address
from ovs_geneve.openflow.bundle import Block
from ovs_geneve.openflow.fields import Field
from ovs_geneve.openflow.flow import Flow
from ovs_geneve.openflow.pieces import Numbers

# Bytes that a number takes on the wire.
_KEY = 4
_VNI = 8
_MAC = 6
_ADDRESS = {4: 4, 6: 16}
_OFPORT = 4
_GROUP = 4

_SHAPES = 1_024
"Stencils kept; how many there are is how differently ports are declared."


def answers(port: PortView) -> Block:
    """Return the flows that answer ARP and ND for a port: the same on every host of its network."""
    stencil = _answers(len(port.ipv4), len(port.ipv6))
    numbers = (port.vni, port.mac, *port.ipv4, *port.ipv6)
    return stencil.pack(Feature.NEIGHBOURS, port.key, numbers)


def way(port: PortView, endpoint: Address) -> Block:
    """Return the way to a port that is plugged into the host at `endpoint`: the same on every other host."""
    return _way(endpoint.version).pack(Feature.REMOTE, port.key, (port.vni, port.mac, int(endpoint)))


def local(port: PortView, ofport: int) -> Block:
    """Return every flow that only the host of a port has."""
    fields = tuple([field for field, _ in port.stamps])
    stencil = _local(len(port.ipv4), len(port.ipv6), fields, port.strips_vlan)
    values = [value for _, value in port.stamps]
    numbers = (port.key, port.vni, port.mac, ofport, port.group, *port.ipv4, *port.ipv6, *values)
    return stencil.pack(Feature.LOCAL, port.key, numbers, port.salt)


@lru_cache(maxsize=_SHAPES)
def _answers(ipv4: int, ipv6: int) -> Stencil:
    def make(numbers: Numbers) -> Iterable[Flow]:
        vni, mac, *rest = numbers
        return neighbours.flows(_view(0, vni, mac, rest, ipv4, ipv6))

    return Stencil.of(make, (_VNI, _MAC, *_address_widths(ipv4, ipv6)))


@lru_cache(maxsize=2)
def _way(version: int) -> Stencil:
    address = IPv4Address if version == 4 else IPv6Address

    def make(numbers: Numbers) -> Iterable[Flow]:
        vni, mac, endpoint = numbers
        return (tunnel.remote_port_flow(_view(0, vni, mac, (), 0, 0), address(endpoint)),)

    return Stencil.of(make, (_VNI, _MAC, _ADDRESS[version]))


@lru_cache(maxsize=_SHAPES)
def _local(ipv4: int, ipv6: int, fields: tuple[Field, ...], strips_vlan: bool) -> Stencil:
    def make(numbers: Numbers) -> Iterable[Flow]:
        key, vni, mac, ofport, group, *rest = numbers
        port = replace(_view(key, vni, mac, rest, ipv4, ipv6, fields, group), strips_vlan=strips_vlan)
        return local_port.flows(port, ofport)

    option_widths = (field.width for field in fields)
    widths = (_KEY, _VNI, _MAC, _OFPORT, _GROUP, *_address_widths(ipv4, ipv6), *option_widths)
    return Stencil.of(make, widths)


def _view(
    key: int,
    vni: int,
    mac: int,
    rest: Numbers,
    ipv4: int,
    ipv6: int,
    fields: tuple[Field, ...] = (),
    group: int = 0,
) -> PortView:
    """Make the port of a shape that has these numbers; `rest` are its addresses and then its options' values."""
    return PortView(
        key=key,
        vni=vni,
        mac=mac,
        ipv4=tuple(rest[:ipv4]),
        ipv6=tuple(rest[ipv4 : ipv4 + ipv6]),
        stamps=tuple(zip(fields, rest[ipv4 + ipv6 :], strict=True)),
        salt=b"",
        group=group,
    )


def _address_widths(ipv4: int, ipv6: int) -> tuple[int, ...]:
    return (_ADDRESS[4],) * ipv4 + (_ADDRESS[6],) * ipv6
