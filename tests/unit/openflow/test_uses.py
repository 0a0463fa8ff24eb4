# SPDX-License-Identifier: Apache-2.0
"""Which options a flow needs is told from its bytes as from the flow itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from random import Random

import pytest

from ovs_geneve.openflow.actions import Action, Clone, Ct, FieldBits, Output, SetField
from ovs_geneve.openflow.fields import ETH_DST, REG0, Field, tun_metadata
from ovs_geneve.openflow.flow import Flow, Match
from ovs_geneve.openflow.template import encode_flow_add
from ovs_geneve.openflow.uses import slots_used
from tests.unit.openflow.cases import random_flow

OPTIONS = {tun_metadata(index, length).header[2]: index for index, length in ((i, 4) for i in range(64))}


def of_actions(actions: Iterable[Action]) -> Iterator[Field]:
    for action in actions:
        for each in fields(action):
            value = getattr(action, each.name)
            if isinstance(value, Field):
                yield value
            elif isinstance(value, FieldBits):
                yield value.field
        if isinstance(action, Ct | Clone):
            yield from of_actions(action.actions)


def slots(flow: Flow) -> frozenset[int]:
    used = [term.field for term in flow.match.terms] + list(of_actions(flow.actions))
    return frozenset(
        OPTIONS[each.header[2]] for each in used if each.header[:2] == b"\0\1" and each.header[2] in OPTIONS
    )


def test_random_flows() -> None:
    random = Random(6081)
    flows = [random_flow(random) for _ in range(2000)]
    assert [slots_used(encode_flow_add(flow)) for flow in flows] == [slots(flow) for flow in flows]
    assert len({slots(flow) for flow in flows}) > 5


@pytest.mark.parametrize("mac", [0x000150040000, 0x000151080000])
def test_an_address_that_looks_like_an_option_is_none(mac: int) -> None:
    flow = Flow(
        table=1, priority=1, match=Match.of((REG0, 1)), actions=(SetField(ETH_DST, mac), Output(1)), goto=2
    )
    assert slots_used(encode_flow_add(flow)) == frozenset()
