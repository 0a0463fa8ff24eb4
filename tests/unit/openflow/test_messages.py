# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.openflow import messages
from ovs_geneve.openflow.errors_table import NICIRA_ERRORS, STANDARD_ERRORS, error_name
from ovs_geneve.openflow.messages import MessageType, decode_error, decode_header, decode_hello

HELLO_OF_OVS = bytes.fromhex("06000010000000010001000800000040")
UNMAPPED = bytes.fromhex(
    "0601005000000006ffff002500002320060e004000000006000000000000000000000000000000000000000000008000"
    "ffffffffffffffffffffffff000000000001000900015e010100000000000000"
)


def test_header():
    assert decode_header(UNMAPPED) == (6, MessageType.ERROR, 80, 6)


def test_short_header_is_refused():
    with pytest.raises(DecodeError):
        decode_header(UNMAPPED[:7])


def test_longest_message():
    assert len(messages.encode_message(2, bytes(65527))) == 65535
    with pytest.raises(EncodeError):
        messages.encode_message(2, bytes(65528))


def test_error_of_ovs_is_named_and_quotes_the_request():
    error = decode_error(UNMAPPED)
    assert (error.error_type, error.code, error.name) == (0xFFFF, 37, "NXFMFC_INVALID_TLV_FIELD")
    assert error.request == UNMAPPED[16:]


def test_standard_error():
    message = messages.encode_message(MessageType.ERROR, bytes.fromhex("00040005") + b"what it was about")
    assert decode_error(message) == (4, 5, "OFPBMC_BAD_WILDCARDS", b"what it was about")


def test_unknown_errors_keep_their_numbers():
    assert error_name(4, 99) == "type 4, code 99"
    assert error_name(0xFFFF, 37, 0x4F4E4600) == "experimenter 0x4f4e4600, code 37"
    assert error_name(0xFFFF, 999, 0x2320) == "experimenter 0x00002320, code 999"


@pytest.mark.parametrize("body", [b"", b"\0\4\0", b"\xff\xff\0\x25", b"\xff\xff\0\x25\0\0\x23"])
def test_short_errors_are_refused(body):
    with pytest.raises(DecodeError):
        decode_error(messages.encode_message(MessageType.ERROR, body))


def test_names_are_unique():
    names = [*STANDARD_ERRORS.values(), *NICIRA_ERRORS.values()]
    assert len(names) == len(set(names)) == 196


def test_hello_is_what_ovs_sends():
    assert messages.encode_hello(xid=1) == HELLO_OF_OVS


def test_hello_with_a_bitmap_means_only_those_versions():
    assert decode_hello(HELLO_OF_OVS) == {6}
    assert decode_hello(messages.encode_hello(versions=(1, 4))) == {1, 4}


def test_hello_without_a_bitmap_means_all_up_to_the_headers():
    assert decode_hello(bytes.fromhex("0400000800000001")) == {1, 2, 3, 4}


def test_unknown_hello_elements_are_skipped():
    # Element 9 with 5 bytes is padded to 8 (OpenFlow 1.5.1 section 7.5.1).
    hello = messages.encode_message(0, bytes.fromhex("0009000501000000") + HELLO_OF_OVS[8:])
    assert decode_hello(hello) == {6}


@pytest.mark.parametrize("element", ["00010003", "00010010", "00000000"])
def test_broken_hello_elements_are_refused(element):
    with pytest.raises(DecodeError):
        decode_hello(messages.encode_message(0, bytes.fromhex(element)))


@given(st.binary(max_size=64))
def test_arbitrary_hellos_are_decoded_or_refused(body):
    try:
        assert all(version >= 0 for version in decode_hello(messages.encode_message(0, body)))
    except DecodeError as error:
        assert error.where == "hello element"  # noqa: PT017  the only thing that can be wrong


def test_hello_failed_is_readable_by_the_peer():
    hello = bytes.fromhex("04000008000000ab")
    failed = messages.encode_hello_failed(hello, "speak 1.5")
    assert decode_header(failed) == (4, MessageType.ERROR, 21, 0xAB)
    assert decode_error(failed) == (0, 0, "OFPHFC_INCOMPATIBLE", b"speak 1.5")
    assert messages.encode_hello_failed(b"\x07" + hello[1:], "")[0] == 6


def test_echo_reply_repeats_the_request():
    request = bytes.fromhex("0602000c00000011deadbeef")
    assert messages.encode_echo_reply(request) == bytes.fromhex("0603000c00000011deadbeef")


def test_stamp_changes_the_xid_alone():
    assert messages.stamp(HELLO_OF_OVS, 0xAABBCCDD) == bytes.fromhex("06000010aabbccdd0001000800000040")
