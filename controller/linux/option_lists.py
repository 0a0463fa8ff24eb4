# SPDX-License-Identifier: Apache-2.0
"""Which lists of options packets of a network may carry, and how flower matches a value in them. Pure.

A list is matched from its beginning with class and type of each option; the data of those that nobody asks for has a
mask of 0. Options on their way into the network, or out of it, are there or not, as those are that only others stamp.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from controller.compiler.views import NetworkView, identity_of
from controller.intent.identity import GROUP_FIELD, LAYOUT, MAX_IDENTITY
from controller.intent.intent import Intent
from controller.intent.model import Object, OptionSchemaSpec
from ovs_geneve.geneve.option import OPTION_HEADER_LENGTH
from ovs_geneve.kernel.objects import GeneveOptionMatch

Schema = Object[OptionSchemaSpec]

Wanted = Mapping[str, tuple[int, int]]
"Value and mask of the data of options, by schema."

MAX_OPEN = 4
"Of options that may be there or not, whose every combination is looked for; of more: none, all, each alone."


def lists_of(network: NetworkView) -> Iterator[tuple[Schema, ...]]:
    """Yield the lists of options that packets of a network may carry, the longest first.

    flower compares the length of a list under the bits of the wanted one's (net/sched/cls_flower.c, fl_set_enc_opt):
    a list may be taken for a shorter one that it begins with, so those that are longer have to be looked for before.
    """
    coming = {one.name for one in network.arriving}
    certain = {one.name for one in network.stamped if one.name not in coming}
    open_ones = [one.name for one in network.options if one.name not in certain]
    sizes: Sequence[int] = range(len(open_ones) + 1)
    if len(open_ones) > MAX_OPEN:
        sizes = (0, 1, len(open_ones))
    chosen = [set(some) for size in sizes for some in combinations(open_ones, size)]
    lists = [tuple(one for one in network.options if one.name in certain | some) for some in chosen]
    yield from sorted(lists, key=_length, reverse=True)


def matches_of(network: NetworkView, wanted: Wanted) -> Iterator[tuple[GeneveOptionMatch, ...]]:
    """Yield what matches packets that carry all that is wanted, for each list of options."""
    for schemas in lists_of(network):
        if wanted.keys() <= {one.name for one in schemas}:
            yield match_of(schemas, wanted)


def match_of(schemas: Iterable[Schema], wanted: Wanted) -> tuple[GeneveOptionMatch, ...]:
    """Return what matches a list of options with some values."""
    return tuple(_match(one, *wanted.get(one.name, (0, 0))) for one in schemas)


def wanted_group(intent: Intent, group: str) -> tuple[int, int]:
    """Return value and mask of the identity option of a group's packets."""
    return wanted_identity(identity_of(intent, group))


def wanted_identity(identity: int) -> tuple[int, int]:
    """Likewise, for the number that stands for a group."""
    return LAYOUT.match_bits(GROUP_FIELD, identity, MAX_IDENTITY)


def _length(schemas: tuple[Schema, ...]) -> int:
    return sum(OPTION_HEADER_LENGTH + one.spec.layout.length for one in schemas)


def _match(schema: Schema, value: int, mask: int) -> GeneveOptionMatch:
    layout = schema.spec.layout
    return GeneveOptionMatch(
        option_class=layout.option_class,
        option_type=layout.option_type,
        data=value.to_bytes(layout.length).hex(),
        data_mask=mask.to_bytes(layout.length).hex(),
    )
