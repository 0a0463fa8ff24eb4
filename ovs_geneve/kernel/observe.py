# SPDX-License-Identifier: Apache-2.0
"""What the kernel holds: what is ours as a KernelState, and what stands in the way of it.

Ours are devices with our mark, all that hangs on them, and on other people's devices filters of our preferences
and chains, and neighbours while they are slaves of ours.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ovs_geneve.errors import DecodeError
from ovs_geneve.kernel import codec_filters, codec_links, codec_neighbours
from ovs_geneve.kernel.codec_links import Interface
from ovs_geneve.kernel.netlink import Netlink
from ovs_geneve.kernel.objects import (
    FIRST_CHAIN,
    FIRST_PREFERENCE,
    LAST_CHAIN,
    LAST_PREFERENCE,
    Attachment,
    BridgeLink,
    Fdb,
    Filter,
    FilterKey,
    GeneveLink,
    KernelState,
    Link,
    LinkKind,
    Neighbour,
    Route,
    Setting,
)
from ovs_geneve.kernel.observation import Observation, Preference, is_ours
from ovs_geneve.kernel.wire import Message

_SYSCTL = Path("/proc/sys")


def observe(netlink: Netlink, *, settings: Iterable[str] = ()) -> Observation:
    """Look at the kernel; of /proc/sys only at `settings`. Raises OSError when a dump is refused."""
    interfaces = tuple(codec_links.decode_interface(one) for one in netlink.dump(codec_links.all_links()))
    names = {one.index: one.name for one in interfaces}
    ours = {one.name for one in interfaces if is_ours(one)}
    links, broken = _links(interfaces, names)
    attachments = _attachments(interfaces, names, ours)
    bridges = {one.index for one in interfaces if one.name in ours and one.kind == "bridge"}
    held = ours | {one.name for one in attachments}
    qdiscs = _qdiscs(netlink, names)
    filters = _filters(netlink, qdiscs, names, ours)
    return Observation(
        state=KernelState(
            links=links,
            attachments=attachments,
            settings=frozenset(_settings(settings)),
            fdb=_fdb(netlink, names, bridges),
            neighbours=_neighbours(netlink, names, held),
            routes=_routes(netlink, names),
            filters=frozenset(filters.ours),
        ),
        interfaces=interfaces,
        broken=broken,
        qdiscs=frozenset(qdiscs.values()),
        foreign=frozenset(filters.foreign),
        strange=frozenset(filters.strange),
        geneve=tuple(_foreign_geneve(interfaces)),
        in_hardware=frozenset(filters.in_hardware),
    )


def _links(
    interfaces: tuple[Interface, ...], names: Mapping[int, str]
) -> tuple[frozenset[Link], frozenset[str]]:
    links: set[Link] = set()
    broken: set[str] = set()
    for one in filter(is_ours, interfaces):
        kind: LinkKind
        try:
            kind = codec_links.decode_kind(one)
        except DecodeError:
            kind = BridgeLink()
            broken.add(one.name)
        if not one.up:
            broken.add(one.name)
        master = names.get(one.master) if one.master else None
        links.add(
            Link(
                name=one.name,
                kind=kind,
                alias=one.alias,
                mtu=one.mtu,
                mac=one.mac or None,
                master=master,
                port=one.port,
            )
        )
    return frozenset(links), frozenset(broken)


def _attachments(
    interfaces: tuple[Interface, ...], names: Mapping[int, str], ours: set[str]
) -> frozenset[Attachment]:
    return frozenset(
        Attachment(name=one.name, master=names[one.master], port=one.port, mtu=one.mtu)
        for one in interfaces
        if one.name not in ours and names.get(one.master) in ours
    )


def _qdiscs(netlink: Netlink, names: Mapping[int, str]) -> dict[int, str]:
    answers = _dump(netlink, codec_filters.all_qdiscs())
    indexes = (codec_filters.clsact_index(one) for one in answers)
    return {index: names[index] for index in indexes if index is not None and index in names}


@dataclass(frozen=True, slots=True)
class _Filters:
    ours: set[Filter] = field(default_factory=set)
    foreign: set[str] = field(default_factory=set)
    strange: set[Preference] = field(default_factory=set)
    in_hardware: set[FilterKey] = field(default_factory=set)


def _filters(
    netlink: Netlink, qdiscs: Mapping[int, str], names: Mapping[int, str], ours: set[str]
) -> _Filters:
    found = _Filters()
    for index, device in qdiscs.items():
        for egress in (False, True):
            for answer in _dump(netlink, codec_filters.all_filters(index, egress=egress)):
                chain, preference, _ = codec_filters.place(answer)
                if device not in ours and not in_our_range(chain, preference):
                    found.foreign.add(device)
                    continue
                if codec_filters.is_head(answer):
                    continue
                try:
                    one = codec_filters.decode_filter(answer, names)
                except DecodeError:
                    place = Preference(device=device, egress=egress, chain=chain, preference=preference)
                    found.strange.add(place)
                    continue
                found.ours.add(one)
                if codec_filters.is_in_hardware(answer):
                    found.in_hardware.add(one.key)
    return found


def in_our_range(chain: int, preference: int) -> bool:
    """Tell whether a filter of somebody else's device is ours by its place."""
    if chain == 0:
        return FIRST_PREFERENCE <= preference <= LAST_PREFERENCE
    return FIRST_CHAIN <= chain <= LAST_CHAIN


def _fdb(netlink: Netlink, names: Mapping[int, str], bridges: set[int]) -> frozenset[Fdb]:
    found = (codec_neighbours.decode_fdb(one, names) for one in _dump(netlink, codec_neighbours.all_fdb()))
    return frozenset(pair[0] for pair in found if pair and pair[1] in bridges)


def _neighbours(netlink: Netlink, names: Mapping[int, str], held: set[str]) -> frozenset[Neighbour]:
    found = (
        codec_neighbours.decode_neighbour(answer, names)
        for version in (4, 6)
        for proxies in (False, True)
        for answer in _dump(netlink, codec_neighbours.all_neighbours(version=version, proxies=proxies))
    )
    return frozenset(one for one in found if one and one.device in held)


def _routes(netlink: Netlink, names: Mapping[int, str]) -> frozenset[Route]:
    found = (
        codec_neighbours.decode_route(answer, names)
        for version in (4, 6)
        for answer in _dump(netlink, codec_neighbours.all_routes(version=version))
    )
    return frozenset(one for one in found if one)


def _settings(paths: Iterable[str]) -> Iterable[Setting]:
    for path in paths:
        try:
            yield Setting(path=path, value=_SYSCTL.joinpath(path).read_text(encoding="ascii").strip())
        except OSError:
            continue  # its device is not there (yet)


def _foreign_geneve(interfaces: tuple[Interface, ...]) -> Iterable[tuple[str, GeneveLink]]:
    for one in interfaces:
        if one.kind == "geneve" and not is_ours(one):
            kind = codec_links.decode_kind(one)
            if isinstance(kind, GeneveLink):
                yield one.name, kind


def _dump(netlink: Netlink, request: Message) -> list[Message]:
    try:
        return netlink.dump(request)
    except OSError as error:
        # A device that went meanwhile; a family or a subsystem that this kernel lacks.
        if error.errno in (errno.ENODEV, errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EINVAL):
            return []
        raise
