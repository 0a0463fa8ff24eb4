# SPDX-License-Identifier: Apache-2.0
"""A desired state in the kernel's own words, so that it can be compared with what is observed. Pure."""

from __future__ import annotations

from ipaddress import ip_address

from msgspec.structs import replace

from ovs_geneve.kernel.objects import (
    Attachment,
    BridgePort,
    Filter,
    Flower,
    Fw,
    GeneveLink,
    KernelState,
    Link,
    MatchAll,
    VrfLink,
)


def canonical(desired: KernelState, observed: KernelState) -> KernelState:
    """Return `desired` as the kernel would tell it; what it leaves to the kernel is as observed."""
    links = {one.name: one for one in observed.links}
    attachments = {one.name: one for one in observed.attachments}
    routed = {one.name for one in desired.links if isinstance(one.kind, VrfLink)}
    return replace(
        desired,
        links=frozenset(_link(one, links.get(one.name), routed) for one in desired.links),
        attachments=frozenset(
            _attachment(one, attachments.get(one.name), routed) for one in desired.attachments
        ),
        filters=frozenset(canonical_filter(one) for one in desired.filters),
    )


def canonical_geneve(kind: GeneveLink) -> GeneveLink:
    """Return a geneve device without what its family has no room for (geneve.c: geneve_fill_info)."""
    if kind.vni is None or kind.remote is None:
        return GeneveLink(
            dst_port=kind.dst_port,
            udp6_zero_csum_rx=True,
            inner_proto_inherit=kind.inner_proto_inherit,
        )
    if ip_address(kind.remote).version == 4:
        return replace(kind, udp6_zero_csum_tx=False, udp6_zero_csum_rx=True)
    return replace(kind, udp_csum=True)


def canonical_filter(one: Filter) -> Filter:
    """Return a filter with a match without conditions spelled MatchAll, and a mark as its handle."""
    if one.match == Flower():
        return replace(one, match=MatchAll())
    if isinstance(one.match, Fw) and one.handle != one.match.mark:
        return replace(one, handle=one.match.mark)
    return one


def _link(one: Link, held: Link | None, routed: set[str]) -> Link:
    kind = canonical_geneve(one.kind) if isinstance(one.kind, GeneveLink) else one.kind
    mac = one.mac.lower() if one.mac else held.mac if held else None
    return replace(one, kind=kind, mac=mac, port=_port(one.master, one.port, routed))


def _attachment(one: Attachment, held: Attachment | None, routed: set[str]) -> Attachment:
    mtu = one.mtu if one.mtu is not None else held.mtu if held else None
    return replace(one, mtu=mtu, port=_port(one.master, one.port, routed))


def _port(master: str | None, port: BridgePort | None, routed: set[str]) -> BridgePort | None:
    if master is None or master in routed:
        return None
    return port or BridgePort()
