# SPDX-License-Identifier: Apache-2.0
"""What a switch reports becomes keys; what is no report is refused; groups compare equal."""

from __future__ import annotations

import contextlib
import struct
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.ofproto import ofproto_v1_5 as ofp
from os_ken.ofproto import ofproto_v1_5_parser as osken
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from ovs_geneve.errors import DecodeError
from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.action_codec import canonical_actions, encode_actions
from ovs_geneve.openflow.actions import Action, Clone, Output, SetField
from ovs_geneve.openflow.fields import tun_metadata
from ovs_geneve.openflow.flow import Bucket, Flow, GroupEntry, GroupKind
from ovs_geneve.openflow.stats import (
    canonical_buckets,
    decode_flow_keys,
    decode_flow_stats,
    decode_group_desc,
    flow_stats_request,
    group_desc_request,
    is_last_part,
)
from ovs_geneve.openflow.template import encode_buckets, encode_flow_add
from tests.unit.openflow.cases import random_flow, random_group

TLV = tun_metadata(0, 4)
DATAPATH = ProtocolDesc(version=6)


def reply(kind: int, body: bytes, *, more: bool = False) -> bytes:
    return struct.pack("!BBHIHH4x", 6, 19, 16 + len(body), 1, kind, int(more)) + body


def flow_description(flow: Flow, stats: bytes) -> bytes:
    """Write a flow as a switch reports it, from the message that installs it."""
    message = encode_flow_add(flow)
    match_length = 4 + len(flow.match.raw)
    instructions = 48 + match_length + -match_length % 8
    tail = message[48:instructions] + stats + message[instructions:]
    head = (24 + len(tail), flow.table, flow.priority, 0, 0, 0, 0, flow.cookie)
    return struct.pack("!HxxBxHHHHHQ", *head) + tail


def usual_stats(packets: int, size: int) -> bytes:
    pairs = (0x80020008, 7 << 32), (0x80020208, 3 << 32), (0x80020808, packets), (0x80020A08, size)
    return struct.pack("!HH", 0, 52) + b"".join(struct.pack("!IQ", *pair) for pair in pairs) + bytes(4)


def group_description(entry: GroupEntry, buckets: bytes) -> bytes:
    head = 16 + len(buckets), entry.kind, entry.group_id, len(buckets)
    return struct.pack("!HBxIH6x", *head) + buckets


@given(st.integers(0, 2**32), st.integers(1, 5))
def test_flows_come_back_with_their_keys(seed: int, count: int) -> None:
    random = Random(seed)
    flows = [random_flow(random) for _ in range(count)]
    body = b"".join(flow_description(flow, usual_stats(number, 9)) for number, flow in enumerate(flows))
    entries = decode_flow_stats(reply(1, body))
    assert [entry.key for entry in entries] == [flow.key for flow in flows]
    assert [entry.cookie for entry in entries] == [flow.cookie for flow in flows]
    assert [(entry.packets, entry.bytes) for entry in entries] == [(number, 9) for number in range(count)]
    for flow, entry in zip(flows, entries, strict=True):
        assert encode_flow_add(flow).endswith(entry.instructions)
    assert decode_flow_keys(reply(1, body)) == [(flow.key, flow.cookie) for flow in flows]


@pytest.mark.parametrize(
    ("stats", "counters"),
    [
        (struct.pack("!HH4x", 0, 4), (-1, -1)),
        (struct.pack("!HHIQ", 0, 16, 0x80020A08, 5), (-1, 5)),
        (struct.pack("!HHIQIQ4x", 0, 28, 0x80020A08, 5, 0x80020808, 6), (6, 5)),
        (struct.pack("!HHIIIQ", 0, 24, 0x80020604, 1, 0x80020808, 6), (6, -1)),
    ],
)
def test_counters_in_any_order(stats: bytes, counters: tuple[int, int]) -> None:
    flow = random_flow(Random(1))
    (entry,) = decode_flow_stats(reply(1, flow_description(flow, stats)))
    assert (entry.packets, entry.bytes) == counters
    assert entry.key == flow.key


def test_the_requests_are_those_of_osken() -> None:
    arguments = (0, 0xFF, ofp.OFPP_ANY, ofp.OFPG_ANY, 5, 7, osken.OFPMatch())
    flows = osken.OFPFlowDescStatsRequest(DATAPATH, *arguments)
    groups = osken.OFPGroupDescStatsRequest(DATAPATH, 0, ofp.OFPG_ALL)
    for theirs in (flows, groups):
        theirs.set_xid(9)
        theirs.serialize()
    assert flow_stats_request(xid=9, cookie=5, cookie_mask=7) == bytes(flows.buf)
    assert group_desc_request(9) == bytes(groups.buf)


def test_the_last_part_of_a_reply() -> None:
    assert is_last_part(reply(1, b""))
    assert not is_last_part(reply(1, b"", more=True))


@pytest.mark.parametrize("cut", [1, 8, 20, 30, 60])
def test_a_reply_cut_off_is_refused(cut: int) -> None:
    body = flow_description(random_flow(Random(2)), usual_stats(1, 2))
    for decode in (decode_flow_stats, decode_flow_keys):
        with pytest.raises(DecodeError):
            decode(reply(1, body[:-cut]))
        with pytest.raises(DecodeError):
            decode(reply(1, body)[:-cut])


def test_another_message_is_refused() -> None:
    for message in (b"", bytes.fromhex("0614000800000001"), reply(7, b""), reply(1, b"")[:1] + bytes(15)):
        for decode in (decode_flow_stats, decode_flow_keys):
            with pytest.raises(DecodeError):
                decode(message)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_decoded_or_refused(body: bytes) -> None:
    for decode, kind in ((decode_flow_stats, 1), (decode_flow_keys, 1), (decode_group_desc, 7)):
        with contextlib.suppress(DecodeError):
            decode(reply(kind, body))


@given(st.integers(0, 2**32), st.data())
def test_changed_bytes_are_decoded_or_refused(seed: int, data: st.DataObject) -> None:
    random = Random(seed)
    entry = random_group(random, 5, range(3))
    bodies = {1: flow_description(random_flow(random), usual_stats(1, 2))}
    bodies[7] = group_description(entry, encode_buckets(entry))
    for decode, kind in ((decode_flow_stats, 1), (decode_flow_keys, 1), (decode_group_desc, 7)):
        body = bytearray(bodies[kind])
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(DecodeError):
            decode(reply(kind, bytes(body)))


@given(st.integers(0, 2**32))
def test_a_group_reported_as_it_was_sent_is_equal(seed: int) -> None:
    entry = random_group(Random(seed), 5, range(3))
    (reported,) = decode_group_desc(reply(7, group_description(entry, encode_buckets(entry))))
    assert reported == (5, entry.kind, canonical_buckets(entry))


def canonical(*actions: Action) -> bytes:
    return canonical_actions(encode_actions(actions))


@pytest.mark.parametrize(
    ("sent", "reported"),
    [
        (SetField(TLV, 5), "0019001000015001 05 00000000000000"),
        (SetField(TLV, 0), "0019001000015001 00 00000000000000"),
        (SetField(TLV, 0x1234), "0019001000015002 1234 000000000000"),
        (SetField(TLV, 5, 0xFF), "0019001000015102 05 ff 000000000000"),
        (SetField(TLV, 5, 0xFFF), "0019001000015104 0005 0fff 00000000"),
    ],
)
def test_leading_zeros_that_ovs_strips_make_no_difference(sent: Action, reported: str) -> None:
    wire = bytes.fromhex(reported)
    assert encode_actions([sent]) != wire
    assert canonical(sent) == canonical_actions(wire)
    nested = struct.pack("!HHIH6x", 0xFFFF, 16 + len(wire), 0x2320, 42) + wire
    assert canonical(Clone((sent,))) == canonical_actions(nested)


@pytest.mark.parametrize(
    "wire",
    [
        "0019000800015001",  # the value is cut off
        "00190008000151ff",
        "00190108000151ff" + "00" * 256,  # half of 255 bytes are no mask
        "00190004",
        "0019000c000150040000000500",
        "0019",
    ],
)
def test_actions_that_are_none(wire: str) -> None:
    with pytest.raises(DecodeError):
        canonical_actions(bytes.fromhex(wire))


def test_what_differs_stays_different() -> None:
    actions: list[tuple[Action, ...]] = [
        (),
        (SetField(TLV, 5),),
        (SetField(TLV, 6),),
        (SetField(TLV, 5, 5),),
        (SetField(TLV, 5, 7),),
        (SetField(tun_metadata(1, 4), 5),),
        (SetField(f.TUN_DST, 5),),
        (SetField(f.TUN_SRC, 5),),
        (SetField(TLV, 5), Output(1)),
        (Output(1), SetField(TLV, 5)),
        (Clone((SetField(TLV, 5),)),),
    ]
    assert len({canonical(*each) for each in actions}) == len(actions)
    groups = [
        GroupEntry(group_id=1, kind=GroupKind.SELECT, buckets=(Bucket(actions=each),)) for each in actions
    ]
    assert len({canonical_buckets(entry) for entry in groups}) == len(actions)


def test_weight_counts_in_select_groups_only() -> None:
    def group(kind: GroupKind, weight: int | None) -> bytes:
        bucket = Bucket(actions=(Output(1),), weight=weight)
        return canonical_buckets(GroupEntry(group_id=1, kind=kind, buckets=(bucket,)))

    assert group(GroupKind.SELECT, None) == group(GroupKind.SELECT, 1) != group(GroupKind.SELECT, 2)
    assert group(GroupKind.ALL, None) == group(GroupKind.ALL, 2)


def test_a_watched_port_counts() -> None:
    def group(port: int) -> bytes:
        bucket = Bucket(actions=(Output(1),), watch_port=port)
        return canonical_buckets(GroupEntry(group_id=1, kind=GroupKind.FAST_FAILOVER, buckets=(bucket,)))

    assert group(1) != group(2)
