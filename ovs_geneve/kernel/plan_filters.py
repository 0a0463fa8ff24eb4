# SPDX-License-Identifier: Apache-2.0
"""The order in which filters of one device and direction change. Pure.

A packet that neither the old nor the new filters let pass must not pass in between. A filter *opens* unless it drops;
it *closes* when it drops or goes to a chain, which may drop. With the order below such a packet meets a filter that
closes it first at each moment:

    1  new filters that drop, and those that become so                        (all old ones still there)
    2  new and changed others, a chain before what goes to it, first ones first   (all drops, old and new, are there)
    3  others that go, what leads to a chain before the chain, last ones first
    4  filters that closed and become opening ones, then drops that go

What this cannot do happens behind a guard, a filter in front that drops all: a filter that closes and looks at
something else in place; a chain that changes together with the ways into it; a preference of another protocol, kind
or mask, which the kernel has only one of. Filters of one preference must not overlap: which of them comes first is
the kernel's secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ovs_geneve.kernel.canonical import canonical_filter
from ovs_geneve.kernel.codec_filters import kind_of
from ovs_geneve.kernel.objects import FIRST_PREFERENCE, Filter, Flower, Fw, Goto, Match, MatchAll, Verdict
from ovs_geneve.kernel.observe import Preference
from ovs_geneve.kernel.steps import Step, put, remove

Key = tuple[str, bool, int, int, int]
Slot = tuple[int, int]
"Chain and preference: filters of one kind, protocol and mask."


def plan_filters(
    desired: Iterable[Filter], observed: Iterable[Filter], strange: Iterable[Preference] = ()
) -> list[Step]:
    """Return the steps from one set of filters to another, both of one device and direction."""
    new = {one.key: canonical_filter(one) for one in desired}
    old = {one.key: one for one in observed}
    cleared = _cleared(new, old, strange)
    kept = {key: one for key, one in old.items() if (one.chain, one.preference) not in cleared}
    guards = _guard(new, old, kept, cleared)
    steps = [put(guard) for guard in guards]
    steps += [remove(preference) for preference in cleared.values()]
    steps += _ordered(new, kept)
    return steps + [remove(guard) for guard in guards]


def drops(one: Filter) -> bool:
    """Tell whether a filter drops and does nothing else."""
    return one.actions == (Verdict(verdict="drop"),)


def closes(one: Filter) -> bool:
    """Tell whether a filter may end a packet: it drops, or goes to a chain that may."""
    return drops(one) or bool(_targets(one))


def _ordered(new: Mapping[Key, Filter], old: Mapping[Key, Filter]) -> list[Step]:
    depth = _depths([*new.values(), *old.values()])
    first: list[Filter] = []
    then: list[Filter] = []
    last: list[Filter] = []
    for key, one in new.items():
        held = old.get(key)
        if held == one:
            continue
        if drops(one):
            first.append(one)
        elif held is not None and closes(held) and held.match != one.match:
            last.append(one)
        else:
            then.append(one)
    first.sort(key=lambda one: _backwards(one, depth))
    then.sort(key=lambda one: _backwards(one, depth))
    gone = sorted(
        (one for key, one in old.items() if key not in new),
        key=lambda one: _backwards(one, depth),
        reverse=True,
    )
    steps = _Steps(old)
    for one in first:
        steps.put(one)
    for one in then:
        steps.put(one)
    for one in gone:
        if not drops(one):
            steps.remove(one)
    for one in last:
        steps.put(one)
    for one in gone:
        steps.remove(one)
    return steps.steps


def _changes_with_its_ways(new: Mapping[Key, Filter], old: Mapping[Key, Filter]) -> bool:
    """Tell whether chains let more pass while ways into them go, or let less pass while ways into them come."""
    going = [one for key, one in old.items() if new.get(key) != one and not drops(one)]
    coming = [one for key, one in new.items() if old.get(key) != one and not drops(one)]
    opened = _reaching({one.chain for one in coming}, old.values())
    entered = _reached({chain for one in coming for chain in _targets(one)}, [*old.values(), *new.values()])
    return any(opened & _targets(one) or one.chain in entered for one in going)


def _targets(one: Filter) -> set[int]:
    return {action.chain for action in one.actions if isinstance(action, Goto)}


def _reaching(chains: set[int], filters: Iterable[Filter]) -> set[int]:
    """Return the chains that lead to these, and these."""
    leads = {(one.chain, target) for one in filters for target in _targets(one)}
    while more := {chain for chain, target in leads if target in chains} - chains:
        chains = chains | more
    return chains


def _reached(chains: set[int], filters: Iterable[Filter]) -> set[int]:
    """Return the chains that these lead to, and these."""
    leads = {(one.chain, target) for one in filters for target in _targets(one)}
    while more := {target for chain, target in leads if chain in chains} - chains:
        chains = chains | more
    return chains


class _Steps:
    """Steps, and which filters there are after them: cls_flower cannot replace everything in place.

    It refuses a replacement with other masks (EINVAL, fl_check_assign_mask) and a second filter of the same match
    in one preference (EEXIST, fl_ht_insert_unique): what is in the way goes just before.
    """

    def __init__(self, old: Mapping[Key, Filter]) -> None:
        self.steps: list[Step] = []
        self._now = dict(old)
        self._matches = {(one.chain, one.preference, one.match): key for key, one in old.items()}

    def put(self, one: Filter) -> None:
        held = self._now.get(one.key)
        if held is None or not replaceable(held, one):
            twin = self._matches.get((one.chain, one.preference, one.match))
            if twin is not None and twin != one.key:
                self.remove(self._now[twin])
            if held is not None:
                self.remove(held)
        elif self._matches.get((held.chain, held.preference, held.match)) == held.key:
            del self._matches[held.chain, held.preference, held.match]
        self.steps.append(put(one))
        self._now[one.key] = one
        self._matches[one.chain, one.preference, one.match] = one.key

    def remove(self, one: Filter) -> None:
        if self._now.get(one.key) != one:
            return
        self.steps.append(remove(one))
        del self._now[one.key]
        if self._matches.get((one.chain, one.preference, one.match)) == one.key:
            del self._matches[one.chain, one.preference, one.match]


def replaceable(old: Filter, new: Filter) -> bool:
    """Tell whether one filter can take another's place at once: with the same fields and masks."""
    return old.match == new.match or _masks(old.match) == _masks(new.match)


def _masks(match: Match) -> tuple[object, ...]:
    if not isinstance(match, Flower):
        return ("mark",) if isinstance(match, Fw) else ()
    masks: list[object] = []
    for name in match.__struct_fields__:
        value = getattr(match, name)
        if name == "enc_options":
            masks += [(o.class_mask, o.type_mask, o.data_mask) for o in value]
        elif name in ("src_ports", "dst_ports") and value is not None:
            masks.append((name, value[0] == value[1], match.ip_proto))
        elif isinstance(value, str):
            masks.append((name, ":" in value and "." not in value, value.partition("/")[2]))
        elif value is not None:
            masks.append((name, match.ip_proto if name.startswith("icmp") else None))
    return tuple(masks)


def _backwards(one: Filter, depth: Mapping[int, int]) -> tuple[int, int, int, int]:
    return -depth.get(one.chain, 0), one.chain, one.preference, one.handle


def _depths(filters: Iterable[Filter]) -> dict[int, int]:
    """Return how many gotos a chain is away from chain 0, the longest way."""
    leads: dict[int, set[int]] = {}
    for one in filters:
        for action in one.actions:
            if isinstance(action, Goto):
                leads.setdefault(one.chain, set()).add(action.chain)
    depth = {0: 0}
    pending = [(0, 0)]
    while pending:
        chain, length = pending.pop()
        for following in leads.get(chain, ()):
            # A circle of gotos ends where it is longer than there are chains.
            if depth.get(following, -1) < length + 1 <= len(leads) + 1:
                depth[following] = length + 1
                pending.append((following, length + 1))
    return depth


def _shape(one: Filter) -> tuple[str, str, int | None]:
    return kind_of(one.match), one.protocol, one.match.mask if isinstance(one.match, Fw) else None


def _cleared(
    new: Mapping[Key, Filter], old: Mapping[Key, Filter], strange: Iterable[Preference]
) -> dict[Slot, Preference]:
    """Return the preferences that have to be emptied first."""
    shapes: dict[Slot, tuple[str, str, int | None]] = {}
    for one in old.values():
        shapes[one.chain, one.preference] = _shape(one)
    cleared = {(one.chain, one.preference): one for one in strange}
    for one in new.values():
        slot = one.chain, one.preference
        if slot in shapes and shapes[slot] != _shape(one):
            cleared[slot] = Preference(
                device=one.device, egress=one.egress, chain=one.chain, preference=one.preference
            )
    return cleared


def _guard(
    new: Mapping[Key, Filter],
    old: Mapping[Key, Filter],
    kept: Mapping[Key, Filter],
    cleared: Mapping[Slot, Preference],
) -> list[Filter]:
    """Return the guard when one is needed and there is room in front."""
    one = next(iter([*new.values(), *old.values()]), None)
    if one is None or not old or not (cleared or _unsafe(new, kept) or _changes_with_its_ways(new, kept)):
        return []
    guard = Filter(
        device=one.device,
        egress=one.egress,
        preference=FIRST_PREFERENCE,
        match=MatchAll(),
        actions=(Verdict(verdict="drop"),),
    )
    return [] if guard.key in new else [guard]


def _unsafe(new: Mapping[Key, Filter], old: Mapping[Key, Filter]) -> bool:
    """Tell whether a filter that closes would be missed while it looks at something else or moves."""
    closed = {(one.chain, one.preference, one.match): one.key for one in old.values() if closes(one)}
    for key, one in new.items():
        held = old.get(key)
        if held is not None and closes(held) and closes(one) and held.match != one.match:
            return True
        if closed.get((one.chain, one.preference, one.match), key) != key:
            return True
    return False
