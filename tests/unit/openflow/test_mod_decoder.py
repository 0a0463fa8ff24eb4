# SPDX-License-Identifier: Apache-2.0
"""What is sent to switches, read back: the same values, and nothing that is skipped."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest

from ovs_geneve.errors import DecodeError
from ovs_geneve.openflow.actions import Controller, Output, Resubmit
from ovs_geneve.openflow.flow import Flow, Match
from ovs_geneve.openflow.mod_decoder import decode_flow, decode_group
from ovs_geneve.openflow.template import GroupCommand, encode_flow_add, encode_group
from ovs_geneve.openflow.text import render_flow
from tests.unit.openflow.cases import random_flow, random_group

GOTO = encode_flow_add(Flow(table=3, priority=9, match=Match.of(), actions=(Output(1),), goto=4))


@pytest.mark.parametrize("seed", range(400))
def test_flows_come_back(seed: int) -> None:
    flow = random_flow(Random(seed))
    decoded = decode_flow(encode_flow_add(flow))
    assert encode_flow_add(decoded) == encode_flow_add(flow)
    assert render_flow(decoded) == render_flow(flow)


@pytest.mark.parametrize("seed", range(100))
def test_groups_come_back(seed: int) -> None:
    group = random_group(Random(seed), 7)
    message = encode_group(GroupCommand.ADD_OR_MODIFY, group)
    assert encode_group(GroupCommand.ADD_OR_MODIFY, decode_group(message)) == message


def test_all_of_a_packet_to_the_controller_comes_back() -> None:
    actions = (Controller(userdata=b"\x02abc", meter_id=0x6E0), Controller(max_len=9), Resubmit(4, in_port=7))
    flow = Flow(table=3, priority=9, match=Match.of(), actions=actions)
    assert decode_flow(encode_flow_add(flow)).actions == actions


@pytest.mark.parametrize("at", [1, 25, 49, 57, 65, 81])
def test_what_is_not_known_is_refused(at: int) -> None:
    """Type and command of the message; type of the match, of an instruction, of an action, of another instruction."""
    message = bytearray(GOTO)
    message[at] ^= 0x1F
    with pytest.raises(DecodeError):
        decode_flow(bytes(message))


@pytest.mark.parametrize("seed", range(300))
def test_any_bytes_are_decoded_or_refused(seed: int) -> None:
    random = Random(seed)
    flow = bytearray(encode_flow_add(random_flow(random)))
    for _ in range(3):
        flow[random.randrange(len(flow))] = random.randrange(256)
    with suppress(DecodeError):
        decode_flow(bytes(flow))
