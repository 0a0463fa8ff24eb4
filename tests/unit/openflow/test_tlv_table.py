# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.openflow.tlv_table import (
    TlvCommand,
    TlvMap,
    decode_tlv_mod,
    decode_tlv_reply,
    encode_tlv_mod,
    encode_tlv_request,
)

# What `ovs-ofctl -O OpenFlow15` 3.1 and its vswitchd say to each other for
# add-tlv-map {class=0x104,type=0x10,len=4}->tun_metadata0, then dump-tlv-map.
MOD = bytes.fromhex("0604002000000002000023200000001800000000000000000104100400000000")
REQUEST = bytes.fromhex("06040010000000020000232000000019")
REPLY = bytes.fromhex("0604002800000002000023200000001a000001000040000000000000000000000104100400000000")

MAP = TlvMap(0x104, 0x10, 4, 0)

tlv_maps = st.builds(
    TlvMap,
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFF),
    st.integers(0, 31).map(lambda words: 4 * words),
    st.integers(0, 63),
)


def test_mod_is_what_ofctl_sends():
    assert encode_tlv_mod(TlvCommand.ADD, [MAP], xid=2) == MOD


def test_mod_is_decoded_as_a_switch_does():
    assert decode_tlv_mod(MOD) == (TlvCommand.ADD, (MAP,))
    with pytest.raises(DecodeError, match="command"):
        decode_tlv_mod(MOD[:17] + b"\x03" + MOD[18:])


def test_clear_carries_no_map():
    assert encode_tlv_mod(TlvCommand.CLEAR)[16:] == bytes.fromhex("0002000000000000")


def test_request_is_what_ofctl_sends():
    assert encode_tlv_request(xid=2) == REQUEST


def test_reply_of_ovs():
    table = decode_tlv_reply(REPLY)
    assert (table.max_space, table.max_fields, table.maps) == (256, 64, (MAP,))


@given(st.lists(tlv_maps, max_size=64))
def test_maps_survive_the_wire(maps):
    body = encode_tlv_mod(TlvCommand.ADD, maps)[24:]
    reply = REPLY[:2] + (32 + len(body)).to_bytes(2, "big") + REPLY[4:32] + body
    assert list(decode_tlv_reply(reply).maps) == maps


@given(st.binary(max_size=80))
def test_arbitrary_replies_are_decoded_or_refused(tail):
    try:
        decode_tlv_reply(REPLY[:16] + tail)
    except DecodeError as error:
        assert error.where  # noqa: PT017  refused on purpose, with the culprit named


@pytest.mark.parametrize("cut", [0, 7, 15, 31, 39])
def test_cut_replies_are_refused(cut):
    with pytest.raises(DecodeError):
        decode_tlv_reply(REPLY[:cut])


def test_another_subtype_is_refused():
    with pytest.raises(DecodeError, match="subtype 25"):
        decode_tlv_reply(REPLY[:15] + b"\x19" + REPLY[16:])


@pytest.mark.parametrize("length", [0, 4, 124])
def test_lengths_that_ovs_maps(length):
    assert TlvMap(1, 1, length, 0).length == length


@pytest.mark.parametrize(
    "fields", [(1, 1, 6, 0), (1, 1, 128, 0), (1, 1, -4, 0), (1, 1, 4, 64), (1, 1, 4, -1)]
)
def test_limits(fields):
    with pytest.raises(EncodeError):
        TlvMap(*fields)


@pytest.mark.parametrize("fields", [(0x10000, 1, 4, 0), (1, 0x100, 4, 0)])
def test_class_and_type_are_checked(fields):
    with pytest.raises(EncodeError):
        TlvMap(*fields)
