# SPDX-License-Identifier: Apache-2.0
"""What policies decide, as filters of a chain: by priority, at one priority what keeps out first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controller.linux.layout import REST, preference_of
from ovs_geneve.kernel.objects import Action, Filter, Flower, MatchAll, Protocol, Verdict

Actions = tuple[Action, ...]

PASS: Actions = (Verdict(verdict="pass"),)
DROP: Actions = (Verdict(verdict="drop"),)

_NUMBER_BITS = 10
"Of the filters of a policy in a chain; its key has the other 22 bits of a handle."


class Decision(NamedTuple):
    """Some packets of which a policy says that they come in, or do not."""

    key: int
    "Of the policy."
    priority: int
    allow: bool
    protocol: Protocol
    match: Flower


def chain_of(
    device: str, chain: int, decisions: Iterable[Decision], allowed: Actions, rest: Actions
) -> Iterator[Filter]:
    """Yield a chain at a device's egress; what two policies of one verdict both say at one priority, once."""
    said = set[tuple[int, Flower]]()
    count = dict[int, int]()
    for one in decisions:
        preference = preference_of(one.priority, one.protocol, allow=one.allow)
        number = count[one.key] = count.get(one.key, -1) + 1
        if (preference, one.match) not in said:
            said.add((preference, one.match))
            yield Filter(
                device=device,
                egress=True,
                chain=chain,
                preference=preference,
                protocol=one.protocol,
                handle=one.key << _NUMBER_BITS | number,
                match=one.match,
                actions=allowed if one.allow else DROP,
            )
    yield Filter(device=device, egress=True, chain=chain, preference=REST, match=MatchAll(), actions=rest)
