# SPDX-License-Identifier: Apache-2.0
"""Which lists of options packets of a network may carry, and how flower matches a value in them. Pure.

A list is matched from its beginning with class and type of each option; the data of those that nobody asks for has a
mask of 0. Options on their way into the network, or out of it, are there or not, as those are that only others stamp.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from controller.compiler.views import NetworkView
from controller.intent.identity import GROUP_FIELD, IDENTITY, MAX_IDENTITY
from controller.intent.model import Object, OptionSchemaSpec
from ovs_geneve.kernel.objects import GeneveOptionMatch

Schema = Object[OptionSchemaSpec]

Wanted = Mapping[str, tuple[int, int]]
"Value and mask of the data of options, by schema."

MAX_OPEN = 4
"Of options that may be there or not, whose every combination is looked for; of more: none, all, each alone."


def lists_of(network: NetworkView) -> Iterator[tuple[Schema, ...]]:
    """Yield the lists of options that packets of a network may carry, the longest first."""
    coming = {one.name for one in network.arriving}
    certain = {one.name for one in network.stamped if one.name not in coming}
    open_ones = [one.name for one in network.options if one.name not in certain]
    sizes: Sequence[int] = range(len(open_ones), -1, -1)
    if len(open_ones) > MAX_OPEN:
        sizes = (len(open_ones), 1, 0)
    for size in sizes:
        for chosen in combinations(open_ones, size):
            there = {*certain, *chosen}
            yield tuple(one for one in network.options if one.name in there)


def matches_of(network: NetworkView, wanted: Wanted) -> Iterator[tuple[GeneveOptionMatch, ...]]:
    """Yield what matches packets that carry all that is wanted, a list of options each."""
    for schemas in lists_of(network):
        if wanted.keys() <= {one.name for one in schemas}:
            yield tuple(_match(one, *wanted.get(one.name, (0, 0))) for one in schemas)


def wanted_group(network: NetworkView, identity: int) -> Wanted:
    """Return what packets of a group carry."""
    schema = next((one for one in network.options if one.name == IDENTITY), None)
    if schema is None:
        return {}
    return {IDENTITY: schema.spec.layout.match_bits(GROUP_FIELD, identity, MAX_IDENTITY)}


def _match(schema: Schema, value: int, mask: int) -> GeneveOptionMatch:
    layout = schema.spec.layout
    return GeneveOptionMatch(
        option_class=layout.option_class,
        option_type=layout.option_type,
        data=value.to_bytes(layout.length).hex(),
        data_mask=mask.to_bytes(layout.length).hex(),
    )
