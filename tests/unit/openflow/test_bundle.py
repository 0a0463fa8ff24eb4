# SPDX-License-Identifier: Apache-2.0
import pytest

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.openflow.bundle import (
    ATOMIC_ORDERED,
    BundleControl,
    BundleFlags,
    decode_bundle_control,
    encode_bundle_adds,
    encode_bundle_commit,
    encode_bundle_discard,
    encode_bundle_open,
)
from ovs_geneve.openflow.messages import decode_header

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
    pieces, count = encode_bundle_adds(0, ATOMIC_ORDERED, [flow_mod], xid=6)
    assert (b"".join(pieces), count) == (ADD, 1)


def test_adds_fill_the_room_and_the_next_ones_go_on_from_there():
    flow_mod = ADD[16:]
    waiting = iter([flow_mod] * 5)
    first, taken = encode_bundle_adds(0, ATOMIC_ORDERED, waiting, xid=6, room=len(ADD) + 1)
    second, left = encode_bundle_adds(0, ATOMIC_ORDERED, waiting, xid=6 + taken)
    assert (taken, left) == (2, 3)
    stream = b"".join(first + second)
    for number in range(5):
        message = stream[number * len(ADD) : (number + 1) * len(ADD)]
        assert decode_header(message).xid == decode_header(message[16:]).xid == 6 + number
    assert stream[: len(ADD)] == ADD


def test_flags_are_the_callers():
    assert encode_bundle_open(1, BundleFlags.ORDERED)[-2:] == b"\0\2"


def test_reply_of_ovs():
    assert decode_bundle_control(OPEN_REPLY) == (0, BundleControl.OPEN_REPLY, 0)


def test_the_longest_message_that_fits():
    longest = b"".join(encode_bundle_adds(1, ATOMIC_ORDERED, [bytes(0xFFFF - 16)], xid=1)[0])
    assert decode_header(longest).length == len(longest) == 0xFFFF
    with pytest.raises(EncodeError):
        encode_bundle_adds(1, ATOMIC_ORDERED, [bytes(0xFFFF - 15)], xid=1)


@pytest.mark.parametrize("message", [b"", OPEN_REPLY[:15], ADD])
def test_what_is_no_control_message_is_refused(message):
    with pytest.raises(DecodeError):
        decode_bundle_control(message)
