# SPDX-License-Identifier: Apache-2.0
import pytest

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.openflow.bundle import (
    ATOMIC_ORDERED,
    SHARED_XID,
    Block,
    BundleControl,
    BundleFlags,
    Wrapped,
    decode_bundle_control,
    encode_bundle_add,
    encode_bundle_commit,
    encode_bundle_discard,
    encode_bundle_open,
    joined,
)
from ovs_geneve.openflow.messages import MessageType, decode_header, encode_message

# `ovs-ofctl -O OpenFlow15 --bundle add-flows` 3.1 with one flow, and vswitchd's answer to the opening.
OPEN = bytes.fromhex("06210010000000070000000000000003")
OPEN_REPLY = bytes.fromhex("06210010000000070000000000010000")
ADD = bytes.fromhex(
    "06220048000000060000000000000003"
    "060e003800000006000000000000000000000000000000000000000000000001ffffffffffffffffffffffff000000000001000400000000"
)
COMMIT = bytes.fromhex("06210010000000090000000000040003")


def test_control_messages_are_what_ofctl_sends():
    assert encode_bundle_open(0, xid=7) == OPEN
    assert encode_bundle_commit(0, xid=9) == COMMIT
    assert encode_bundle_discard(0, xid=9)[12:14] == b"\0\6"


def test_add_is_what_ofctl_sends_whatever_xid_the_message_had():
    flow_mod = ADD[16:20] + bytes(4) + ADD[24:]
    assert encode_bundle_add(0, ATOMIC_ORDERED, flow_mod, xid=6) == ADD


def test_flags_are_the_callers():
    assert encode_bundle_open(1, BundleFlags.ORDERED)[-2:] == b"\0\2"


def test_reply_of_ovs():
    assert decode_bundle_control(OPEN_REPLY) == (0, BundleControl.OPEN_REPLY, 0)


def test_the_longest_message_that_fits():
    longest = encode_bundle_add(1, ATOMIC_ORDERED, bytes(0xFFFF - 16))
    assert decode_header(longest).length == len(longest) == 0xFFFF
    with pytest.raises(EncodeError):
        encode_bundle_add(1, ATOMIC_ORDERED, bytes(0xFFFF - 15))


@pytest.mark.parametrize("message", [b"", OPEN_REPLY[:15], ADD])
def test_what_is_no_control_message_is_refused(message):
    with pytest.raises(DecodeError):
        decode_bundle_control(message)


def test_blocks_hold_the_messages_they_were_made_of():
    messages = [encode_message(MessageType.FLOW_MOD, bytes(length)) for length in (40, 0, 200)]
    block = Block.of(*messages)
    assert list(block.messages()) == messages
    assert block.data.count(SHARED_XID.to_bytes(4)) == 2 * len(messages)
    assert block.ends[-1] == len(block.data)


def test_wrapped_messages_are_a_sequence_of_the_messages():
    messages = [encode_message(MessageType.FLOW_MOD, b"%d" % number) for number in range(7)]
    wrapped = Wrapped([Block.of(*messages[:3]), Block.of(), Block.of(*messages[3:])])
    assert len(wrapped) == 7
    assert list(wrapped) == messages
    assert wrapped[4] == messages[4]
    assert Wrapped.of(wrapped) is wrapped
    assert list(Wrapped.of(messages)) == messages


def test_splitting_keeps_blocks_whole_and_their_order():
    blocks = [Block.of(*[encode_message(MessageType.FLOW_MOD, b"%d" % n)] * n) for n in (3, 1, 5, 2, 2)]
    runs = list(Wrapped(blocks).split(4))
    assert [len(run) for run in runs] == [4, 5, 4]
    assert [block for run in runs for block in run.blocks] == blocks
    assert list(Wrapped(()).split(4)) == []


def test_joined_blocks_hold_the_same_messages():
    blocks = [Block.of(*[encode_message(MessageType.FLOW_MOD, b"%d" % n)] * n) for n in (3, 0, 1, 9, 2, 2)]
    runs = list(joined(blocks, 4))
    assert [len(run.ends) for run in runs] == [4, 9, 4]
    assert [m for run in runs for m in run.messages()] == [m for block in blocks for m in block.messages()]
    assert list(joined([], 4)) == list(joined([Block.of()], 4)) == []
