# SPDX-License-Identifier: Apache-2.0
"""The steps from what a kernel holds to what it should hold. Pure; the one place that knows the order.

what hangs on a link that is to be made anew falls with it, so it counts as absent
1  links that must be made anew go; links are made, still down
2  qdiscs, then filters of our own devices; settings
3  links go up; forwarding entries, neighbours and routes that are new or changed
4  filters of other people's devices, then their attachment: nothing enters a network unfiltered
5  what is no longer wanted: routes, neighbours, entries, attachments, filters, qdiscs, links
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from itertools import chain

from msgspec.structs import replace

from ovs_geneve.kernel.canonical import canonical
from ovs_geneve.kernel.objects import (
    BridgeLink,
    Fdb,
    Filter,
    GeneveLink,
    KernelState,
    Link,
    LinkKind,
    Mirred,
    Neighbour,
    Route,
    VrfLink,
)
from ovs_geneve.kernel.observation import Observation, is_ours
from ovs_geneve.kernel.plan_filters import plan_filters
from ovs_geneve.kernel.steps import Qdisc, Step, put, raised, remove


def plan(desired: KernelState, observed: Observation) -> tuple[Step, ...]:
    """Return the steps, in order; none when the kernel holds what is desired."""
    state = canonical(_unblocked(desired, observed), observed.state)
    renewed = frozenset(_renewed(state, observed))
    held = _readdressed(state, without(observed, renewed))
    ours = {one.name for one in chain(state.links, observed.state.links)}
    filters = _filters(state, held)
    adopted = {device for device in filters if device in ours}
    steps: list[Step] = [remove(one) for one in _sorted_links(observed.state.links) if one.name in renewed]
    steps += _links(state, held)
    steps += [put(Qdisc(device=device)) for device in sorted(_filtered(state) - held.qdiscs)]
    steps += [step for device in sorted(adopted) for step in filters[device]]
    steps += [put(one) for one in sorted(state.settings - held.state.settings, key=lambda one: one.path)]
    blocked = _blocked(state, observed)
    down = (one for one in _sorted_links(state.links) if _is_down(one, held))
    steps += [raised(one) for one in down if one.name not in blocked]
    leaving = _leaving(state, held)
    arriving = sorted(state.attachments - held.state.attachments, key=lambda one: one.name)
    closed_first = {one.name for one in arriving}
    steps += [step for d in sorted(set(filters) - adopted) if d in closed_first for step in filters[d]]
    steps += [put(one) for one in arriving]
    steps += [put(one) for one in sorted(state.fdb - held.state.fdb, key=lambda one: (one.device, one.mac))]
    steps += [
        put(one)
        for one in sorted(state.neighbours - held.state.neighbours, key=lambda one: (one.device, one.address))
    ]
    steps += [
        put(one) for one in sorted(state.routes - held.state.routes, key=lambda one: (one.table, one.prefix))
    ]
    steps += leaving
    steps += [step for d in sorted(set(filters) - adopted - closed_first) for step in filters[d]]
    steps += [remove(Qdisc(device=device)) for device in _idle_qdiscs(state, held, ours)]
    wanted = {one.name for one in state.links}
    steps += [remove(one) for one in reversed(_sorted_links(held.state.links)) if one.name not in wanted]
    return tuple(steps)


def _unblocked(desired: KernelState, observed: Observation) -> KernelState:
    """Return what can be had while devices of others have names of ours; their links stay, to be refused."""
    blocked = _blocked(desired, observed)
    if not blocked:
        return desired
    return replace(
        desired,
        links=frozenset(
            replace(one, master=None, port=None) if one.master in blocked else one for one in desired.links
        ),
        attachments=frozenset(one for one in desired.attachments if one.master not in blocked),
        settings=frozenset(one for one in desired.settings if not blocked & set(one.path.split("/"))),
        fdb=frozenset(one for one in desired.fdb if one.device not in blocked),
        neighbours=frozenset(one for one in desired.neighbours if one.device not in blocked),
        routes=frozenset(one for one in desired.routes if one.device not in blocked),
        filters=frozenset(one for one in desired.filters if not blocked & _devices(one)),
    )


def _blocked(desired: KernelState, observed: Observation) -> set[str]:
    """Return the names of links of ours that devices of others have."""
    names = {one.name for one in desired.links}
    return {one.name for one in observed.interfaces if one.name in names and not is_ours(one)}


def _devices(one: Filter) -> set[str]:
    return {one.device} | {action.device for action in one.actions if isinstance(action, Mirred)}


def without(observed: Observation, devices: frozenset[str]) -> Observation:
    """Return an observation as it is once devices are gone, with all that the kernel takes along."""
    if not devices:
        return observed
    state = observed.state
    kept = KernelState(
        links=frozenset(
            replace(one, master=None, port=None) if one.master in devices else one
            for one in state.links
            if one.name not in devices
        ),
        attachments=frozenset(one for one in state.attachments if one.master not in devices),
        settings=frozenset(one for one in state.settings if not devices & set(one.path.split("/"))),
        fdb=frozenset(one for one in state.fdb if not devices & {one.device, _bridge(state, one.device)}),
        neighbours=frozenset(one for one in state.neighbours if one.device not in devices),
        routes=frozenset(one for one in state.routes if one.device not in devices),
        filters=frozenset(one for one in state.filters if one.device not in devices),
    )
    return Observation(
        state=kept,
        interfaces=tuple(one for one in observed.interfaces if one.name not in devices),
        broken=observed.broken - devices,
        qdiscs=observed.qdiscs - devices,
        foreign=observed.foreign - devices,
        strange=frozenset(one for one in observed.strange if one.device not in devices),
        geneve=observed.geneve,
    )


def _readdressed(state: KernelState, held: Observation) -> Observation:
    """Return an observation without the neighbours that the kernel forgets where a device's MAC changes."""
    macs = {one.name: one.mac for one in state.links}
    changed = {one.name for one in held.state.links if macs.get(one.name, one.mac) != one.mac}
    neighbours = frozenset(one for one in held.state.neighbours if one.device not in changed)
    return dataclasses.replace(held, state=replace(held.state, neighbours=neighbours))


def _bridge(state: KernelState, port: str) -> str | None:
    masters: dict[str, str | None] = {one.name: one.master for one in state.links}
    masters |= {one.name: one.master for one in state.attachments}
    return masters.get(port)


def _renewed(state: KernelState, observed: Observation) -> Iterator[str]:
    """Yield the links that are there and cannot become what is desired."""
    held = {one.name: one for one in observed.state.links}
    for one in state.links:
        if one.name in held and _fixed(one.kind) != _fixed(held[one.name].kind):
            yield one.name


def _fixed(kind: LinkKind) -> LinkKind:
    """Return what of a link cannot be changed; of a geneve device see geneve.c: geneve_nl2info."""
    if isinstance(kind, GeneveLink):
        family = None if kind.remote is None else "::" if ":" in kind.remote else "0.0.0.0"
        if family == "::" and (kind.udp6_zero_csum_tx or kind.udp6_zero_csum_rx):
            family = kind.remote  # a new remote would reset the checksums
        return replace(kind, remote=family, ttl="auto", tos=0, df="unset")
    return kind


def _links(state: KernelState, held: Observation) -> Iterator[Step]:
    there = {one.name: one for one in held.state.links}
    for one in _sorted_links(state.links):
        if one.name not in there:
            yield put(one)
        elif there[one.name] != one or one.name in held.broken:
            yield put(one, new=False)


def _sorted_links(links: Iterable[Link]) -> list[Link]:
    """Masters before their slaves."""
    return sorted(links, key=lambda one: (not isinstance(one.kind, BridgeLink | VrfLink), one.name))


def _is_down(one: Link, held: Observation) -> bool:
    return one.name in held.broken or one.name not in {link.name for link in held.state.links}


def _filtered(state: KernelState) -> frozenset[str]:
    return frozenset(one.device for one in state.filters)


def _filters(state: KernelState, held: Observation) -> dict[str, list[Step]]:
    desired, there = _by_place(state.filters), _by_place(held.state.filters)
    strange = {(one.device, one.egress) for one in held.strange}
    by_device: dict[str, list[Step]] = {}
    for place in sorted({*desired, *there, *strange}):
        steps = plan_filters(
            desired.get(place, ()),
            there.get(place, ()),
            [one for one in held.strange if (one.device, one.egress) == place],
        )
        by_device.setdefault(place[0], []).extend(steps)
    return by_device


def _by_place(filters: Iterable[Filter]) -> dict[tuple[str, bool], list[Filter]]:
    places: dict[tuple[str, bool], list[Filter]] = {}
    for one in filters:
        places.setdefault((one.device, one.egress), []).append(one)
    return places


def _leaving(state: KernelState, held: Observation) -> list[Step]:
    """Return the ends of entries and attachments whose key is no longer wanted, devices that go not counted."""
    going = {one.name for one in held.state.links} - {one.name for one in state.links}
    routes = {_route_key(one) for one in state.routes}
    neighbours = {_neighbour_key(one) for one in state.neighbours}
    attached = {one.name for one in state.attachments}
    steps: list[Step] = [
        remove(one)
        for one in sorted(held.state.routes, key=_route_key)
        if _route_key(one) not in routes and one.device not in going
    ]
    steps += [
        remove(one)
        for one in sorted(held.state.neighbours, key=_neighbour_key)
        if _neighbour_key(one) not in neighbours and one.device not in going
    ]
    steps += [
        remove(one)
        for one in sorted(held.state.fdb - state.fdb, key=_fdb_key)
        if one.device not in going and _bridge(held.state, one.device) not in going
    ]
    steps += [
        remove(one)
        for one in sorted(held.state.attachments, key=lambda one: one.name)
        if one.name not in attached
    ]
    return steps


def _route_key(one: Route) -> tuple[int, str]:
    return one.table, one.prefix


def _neighbour_key(one: Neighbour) -> tuple[str, str, bool]:
    return one.device, one.address, one.mac is None


def _fdb_key(one: Fdb) -> tuple[str, str]:
    return one.device, one.mac


def _idle_qdiscs(state: KernelState, held: Observation, ours: set[str]) -> list[str]:
    """Return the devices of others whose qdisc held filters of ours and no others."""
    had = {one.device for one in held.state.filters}
    return sorted((had & held.qdiscs) - held.foreign - _filtered(state) - ours)


def mentioned(state: KernelState) -> frozenset[str]:
    """Return the devices that a state speaks of and does not make: interfaces of workloads."""
    made = {one.name for one in state.links}
    named = {one.name for one in state.attachments} | {one.device for one in state.filters}
    named |= {one.device for one in state.fdb} | {one.device for one in state.neighbours}
    named |= {one.device for one in state.routes}
    named |= {device for one in state.filters for device in _devices(one)}
    return frozenset(named - made)
