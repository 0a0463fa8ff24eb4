# SPDX-License-Identifier: Apache-2.0
"""A kernel that does what steps say, with the kernel's own refusals: for properties of plans."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from ovs_geneve.kernel.canonical import canonical
from ovs_geneve.kernel.codec_filters import kind_of
from ovs_geneve.kernel.codec_links import Interface
from ovs_geneve.kernel.objects import (
    MARK,
    Attachment,
    Fdb,
    Filter,
    Fw,
    KernelState,
    Link,
    Neighbour,
    Route,
    Setting,
)
from ovs_geneve.kernel.observe import Observation, Preference
from ovs_geneve.kernel.plan import without
from ovs_geneve.kernel.plan_filters import replaceable
from ovs_geneve.kernel.steps import Qdisc, Step, Verb


class Refused(AssertionError):
    """The kernel would refuse this."""


def held(state: KernelState) -> Observation:
    """Return a kernel that holds a state."""
    state = canonical(state, KernelState())
    names = {one.name for one in state.links} | {one.name for one in state.attachments}
    filtered = {one.device for one in state.filters}
    interfaces = tuple(
        Interface(index=place, name=name, alias=MARK if name in {one.name for one in state.links} else "")
        for place, name in enumerate(sorted(names | filtered), start=1)
    )
    return Observation(state=state, interfaces=interfaces, qdiscs=frozenset(filtered))


def carried_out(observed: Observation, steps: Iterable[Step]) -> Observation:
    """Return the kernel after the steps. Raises Refused when it would not take one."""
    for step in steps:
        observed = after(observed, step)
    return observed


def after(observed: Observation, step: Step) -> Observation:
    """Return the kernel after one step."""
    state, one = observed.state, step.object
    if step.verb is Verb.RAISE:
        return observed
    if step.verb is Verb.REMOVE:
        return _removed(observed, one)
    match one:
        case Link():
            links = {link.name: link for link in state.links}
            if step.new == (one.name in links):
                raise Refused(f"{step}: new {step.new}")
            return _with(observed, replace(state, links=frozenset((links | {one.name: one}).values())))
        case Attachment():
            _present(observed, one.master)
            kept = frozenset(a for a in state.attachments if a.name != one.name)
            return _with(observed, replace(state, attachments=kept | {one}))
        case Setting():
            others = frozenset(s for s in state.settings if s.path != one.path)
            return _with(observed, replace(state, settings=others | {one}))
        case Fdb():
            bridge = _bridge(state, one.device)
            elsewhere = frozenset(
                f for f in state.fdb if f.mac != one.mac or _bridge(state, f.device) != bridge
            )
            return _with(observed, replace(state, fdb=elsewhere | {one}))
        case Neighbour():
            key = one.device, one.address, one.mac is None
            rest = frozenset(n for n in state.neighbours if (n.device, n.address, n.mac is None) != key)
            return _with(observed, replace(state, neighbours=rest | {one}))
        case Route():
            route_key = one.table, one.prefix
            routes = frozenset(r for r in state.routes if (r.table, r.prefix) != route_key)
            return _with(observed, replace(state, routes=routes | {one}))
        case Qdisc():
            return _with(observed, state, qdiscs=observed.qdiscs | {one.device})
        case Filter():
            return _with(observed, replace(state, filters=_filtered(observed, one)))
    raise Refused(str(step))


def _filtered(observed: Observation, one: Filter) -> frozenset[Filter]:
    if one.device not in observed.qdiscs:
        raise Refused(f"no qdisc on {one.device}")
    filters = {f.key: f for f in observed.state.filters}
    place = [f for f in filters.values() if f.key[:4] == one.key[:4]]
    old = filters.get(one.key)
    for other in place:
        if (kind_of(other.match), other.protocol) != (kind_of(one.match), one.protocol):
            raise Refused(f"{one.key}: another kind or protocol at this preference")
        if isinstance(other.match, Fw) and isinstance(one.match, Fw) and other.match.mask != one.match.mask:
            raise Refused(f"{one.key}: another mask at this preference")
        if old is None and other.match == one.match:
            raise Refused(f"{one.key}: the same match has handle {other.handle}")
    if old is not None and not replaceable(old, one):
        raise Refused(f"{one.key}: other masks")
    return frozenset((filters | {one.key: one}).values())


def _removed(observed: Observation, one: object) -> Observation:
    state = observed.state
    match one:
        case Link():
            return without(observed, frozenset({one.name}))
        case Attachment():
            fdb = frozenset(f for f in state.fdb if f.device != one.name)
            kept = frozenset(a for a in state.attachments if a.name != one.name)
            return _with(observed, replace(state, attachments=kept, fdb=fdb))
        case Fdb():
            return _with(observed, replace(state, fdb=state.fdb - {one}))
        case Neighbour():
            return _with(observed, replace(state, neighbours=state.neighbours - {one}))
        case Route():
            return _with(observed, replace(state, routes=state.routes - {one}))
        case Filter():
            return _with(
                observed, replace(state, filters=frozenset(f for f in state.filters if f.key != one.key))
            )
        case Preference():
            key = one.device, one.egress, one.chain, one.preference
            return _with(
                observed, replace(state, filters=frozenset(f for f in state.filters if f.key[:4] != key))
            )
        case Qdisc():
            return _with(observed, state, qdiscs=observed.qdiscs - {one.device})
    raise Refused(f"remove {one}")


def _with(observed: Observation, state: KernelState, *, qdiscs: frozenset[str] | None = None) -> Observation:
    return Observation(
        state=state,
        interfaces=observed.interfaces,
        qdiscs=observed.qdiscs if qdiscs is None else qdiscs,
    )


def _present(observed: Observation, name: str) -> None:
    if name not in {one.name for one in observed.state.links}:
        raise Refused(f"{name} is not there")


def _bridge(state: KernelState, device: str) -> str | None:
    for one in (*state.links, *state.attachments):
        if isinstance(one, Link | Attachment) and one.name == device:
            return one.master
    return None
