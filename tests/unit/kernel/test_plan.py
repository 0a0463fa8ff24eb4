# SPDX-License-Identifier: Apache-2.0
"""Plans reach what is desired from anything, and on the way nothing passes that neither side lets pass."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ovs_geneve.kernel import codec_links
from ovs_geneve.kernel.canonical import canonical
from ovs_geneve.kernel.codec_links import Interface
from ovs_geneve.kernel.objects import (
    FIRST_PREFERENCE,
    Attachment,
    Filter,
    Flower,
    Fw,
    GeneveLink,
    Goto,
    KernelState,
    Link,
    Match,
    MatchAll,
    SetMark,
    Verdict,
    joined,
)
from ovs_geneve.kernel.observation import Observation, is_ours
from ovs_geneve.kernel.plan import plan
from ovs_geneve.kernel.plan_filters import plan_filters
from ovs_geneve.kernel.steps import Step, Verb
from tests import kernel_states
from tests.unit.kernel.simulated import carried_out, held

WHOLE = (
    kernel_states.ethernet(),
    kernel_states.ethernet(ports=(1, 3)),
    kernel_states.ethernet(ports=(3,), local="fd09::1", remote="fd09::2"),
    kernel_states.fixed(),
    kernel_states.fixed(vni=99),
    kernel_states.fixed(ttl=9, remote="fd09::2"),
    kernel_states.routed(),
)
MARKS = (1, 2)
ADDRESSES = ("10.0.0.1/32", "10.0.0.2/32", "10.0.0.0/24")
CHAINS = (0, 7)


@st.composite
def states(draw: st.DrawFn) -> KernelState:
    """Draw parts of networks: some objects of each are missing, as after a kill or somebody's hand."""
    whole = joined(draw(st.lists(st.sampled_from(WHOLE), max_size=2, unique=True)))
    links = {one.name: one for one in whole.links if draw(st.integers(0, 9))}
    attachments = {one.name: one for one in whole.attachments if one.master in links}
    return KernelState(
        links=frozenset(
            one if one.master in links or not one.master else replace(one, master=None, port=None)
            for one in links.values()
        ),
        attachments=frozenset(attachments.values()),
        fdb=frozenset(
            {(one.device, one.mac): one for one in whole.fdb if one.device in {*links, *attachments}}.values()
        ),
        neighbours=frozenset(one for one in whole.neighbours if one.device in {*links, *attachments}),
        filters=frozenset(
            {
                one.key: one for one in whole.filters if one.device in links or one.device not in _names()
            }.values()
        ),
    )


def _names() -> frozenset[str]:
    return frozenset(one.name for state in WHOLE for one in state.links)


@settings(max_examples=200, deadline=None)
@given(states(), states())
def test_plan_reaches_what_is_desired_from_anything(old: KernelState, new: KernelState) -> None:
    start = held(old)
    reached = carried_out(start, plan(new, start))
    assert reached.state == canonical(new, reached.state)
    assert [str(step) for step in plan(new, reached) if step.verb is not Verb.RAISE] == []


def test_a_device_of_others_that_has_a_name_of_ours_is_not_raised() -> None:
    desired = kernel_states.ethernet()
    theirs = Observation(interfaces=(Interface(index=1, name=kernel_states.GENEVE, kind="geneve"),))
    concerned = [step for step in plan(desired, theirs) if kernel_states.GENEVE in str(step)]
    # Its making is refused, which says who is in the way.
    assert [(step.verb, type(step.object)) for step in concerned] == [(Verb.PUT, Link)]


def test_a_device_that_was_made_before_a_kill_is_finished_or_goes() -> None:
    link = kernel_states.link(kernel_states.GENEVE, GeneveLink(), mtu=65000)
    there = codec_links.decode_interface(codec_links.add_link(link))
    assert is_ours(there)
    assert there.alias == ""
    unfinished = Observation(
        state=canonical(KernelState(links=frozenset([replace(link, alias="")])), KernelState()),
        interfaces=(there,),
        broken=frozenset([link.name]),
    )
    finishing = plan(KernelState(links=frozenset([link])), unfinished)
    assert [(step.verb, step.new) for step in finishing] == [(Verb.PUT, False), (Verb.RAISE, True)]
    assert [step.verb for step in plan(KernelState(), unfinished)] == [Verb.REMOVE]


def test_planning_twice_is_nothing() -> None:
    for state in WHOLE:
        assert plan(state, held(state)) == ()


def test_a_workload_is_attached_after_its_filters_and_detached_before_they_go() -> None:
    new = kernel_states.ethernet()
    steps = plan(new, held(KernelState()))
    attached = _place(steps, lambda one: isinstance(one, Attachment))
    assert all(
        n < attached for n, s in enumerate(steps) if isinstance(s.object, Filter) and s.object.device == "p1"
    )
    steps = plan(KernelState(), held(new))
    attached = _place(steps, lambda one: isinstance(one, Attachment))
    assert all(
        n > attached for n, s in enumerate(steps) if isinstance(s.object, Filter) and s.object.device == "p1"
    )


def test_a_device_of_ours_is_up_after_its_filters() -> None:
    steps = plan(kernel_states.ethernet(), held(KernelState()))
    for name in ("og-geneve", "og-b00004d", "og-t00004d"):
        up = next(
            n
            for n, s in enumerate(steps)
            if s.verb is Verb.RAISE and isinstance(s.object, Link) and s.object.name == name
        )
        assert all(
            n < up for n, s in enumerate(steps) if isinstance(s.object, Filter) and s.object.device == name
        )


def test_a_link_that_cannot_become_another_is_made_anew_with_all_that_hangs_on_it() -> None:
    old = kernel_states.ethernet()
    geneve = next(one for one in old.links if one.name == "og-geneve")
    new = replace(
        old, links=old.links - {geneve} | {replace(geneve, kind=replace(geneve.kind, dst_port=6082))}
    )
    steps = plan(new, held(old))
    assert str(steps[0]) == "remove geneve device og-geneve"
    assert carried_out(held(old), steps).state.filters == canonical(new, old).filters


def _place(steps: tuple[Step, ...], wanted: object) -> int:
    return next(n for n, step in enumerate(steps) if wanted(step.object))  # type: ignore[operator]


@st.composite
def rules(draw: st.DrawFn) -> tuple[Filter, ...]:
    """Draw filters of one device that end in a drop in each chain."""
    filters: dict[object, Filter] = {}
    shapes: dict[tuple[int, int], bool] = {}
    for _ in range(draw(st.integers(0, 6))):
        chain, preference = draw(st.sampled_from(CHAINS)), draw(st.integers(2, 5))
        marked = shapes.setdefault((chain, preference), draw(st.booleans()))
        match: Match = Fw(mark=draw(st.sampled_from(MARKS))) if marked else draw(flowers())
        handle = match.mark if isinstance(match, Fw) else draw(st.integers(1, 3))
        actions = draw(st.sampled_from([("pass",), ("drop",), ("goto",), ("mark", "pass")]))
        one = _rule(chain, preference, handle, match, actions)
        beside = [other for other in filters.values() if other.key[:4] == one.key[:4]]
        # Which of two filters of one preference comes first is the kernel's secret: they must not overlap.
        if not any(
            _matches(one, packet) and _matches(other, packet) for packet in PACKETS for other in beside
        ):
            filters.setdefault(one.key, one)
    for chain in CHAINS:
        last = _rule(chain, 9, 1, MatchAll(), ("drop",))
        filters[last.key] = last
    return tuple(filters.values())


def flowers() -> st.SearchStrategy[Flower]:
    return st.builds(Flower, src_ip=st.sampled_from(ADDRESSES), ip_proto=st.sampled_from((None, 6)))


def _rule(chain: int, preference: int, handle: int, match: Match, actions: tuple[str, ...]) -> Filter:
    made = {
        "pass": Verdict(verdict="pass"),
        "drop": Verdict(verdict="drop"),
        "goto": Goto(chain=7) if chain == 0 else Verdict(verdict="pass"),
        "mark": SetMark(mark=5),
    }
    if chain == 0:
        preference += FIRST_PREFERENCE
    return Filter(
        device="p1",
        chain=chain,
        preference=preference,
        protocol="ip" if isinstance(match, Flower) else "all",
        handle=handle,
        match=match,
        actions=tuple(made[one] for one in actions),
    )


PACKETS = [
    (mark, address, proto)
    for mark in (0, 1, 2)
    for address in ("10.0.0.1", "10.0.0.2", "10.0.0.3")
    for proto in (6, 17)
]


@settings(max_examples=500, deadline=None)
@given(rules(), rules())
def test_filters_never_let_pass_what_neither_old_nor_new_ones_do(
    old: tuple[Filter, ...], new: tuple[Filter, ...]
) -> None:
    start = held(KernelState(filters=frozenset(old)))
    steps = plan_filters(new, start.state.filters)
    closed = [packet for packet in PACKETS if not passes(old, packet) and not passes(new, packet)]
    now = start
    for step in steps:
        now = carried_out(now, [step])
        for packet in closed:
            assert not passes(tuple(now.state.filters), packet), f"{packet} passes after {step}"
    assert now.state.filters == canonical(KernelState(filters=frozenset(new)), KernelState()).filters


@settings(max_examples=200, deadline=None)
@given(rules(), st.data())
def test_one_more_allowed_rule_costs_the_others_nothing(old: tuple[Filter, ...], data: st.DataObject) -> None:
    allowed = [one for one in old if one.actions != (Verdict(verdict="drop"),)]
    if not allowed:
        return
    gone = data.draw(st.sampled_from(allowed))
    rest = tuple(one for one in old if one is not gone)
    for before, after in ((old, rest), (rest, old)):
        now = held(KernelState(filters=frozenset(before)))
        both = [packet for packet in PACKETS if passes(before, packet) and passes(after, packet)]
        for step in plan_filters(after, now.state.filters):
            now = carried_out(now, [step])
            assert all(passes(tuple(now.state.filters), packet) for packet in both)


def passes(filters: tuple[Filter, ...], packet: tuple[int, str, int], chain: int = 0) -> bool:
    """Classify as the kernel does; a chain that ends without a verdict lets pass."""
    for one in sorted((f for f in filters if f.chain == chain), key=lambda f: f.preference):
        if not _matches(one, packet):
            continue
        last = one.actions[-1]
        if isinstance(last, Goto):
            return passes(filters, packet, last.chain)
        if isinstance(last, Verdict) and last.verdict != "continue":
            return last.verdict == "pass"
    return True


def _matches(one: Filter, packet: tuple[int, str, int]) -> bool:
    mark, address, proto = packet
    match one.match:
        case Fw():
            return mark == one.match.mark
        case Flower(src_ip=src, ip_proto=wanted):
            prefix = src or ""
            within = prefix.endswith("/24") or prefix == f"{address}/32"
            return within and wanted in (None, proto)
    return True
