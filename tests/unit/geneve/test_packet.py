# SPDX-License-Identifier: Apache-2.0
"""Header, options and whole packets: vectors, both sides of every limit, round trips."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.geneve.header import Header, encode_header
from ovs_geneve.geneve.oddity import OddityKind
from ovs_geneve.geneve.option import Option
from ovs_geneve.geneve.packet import Packet, decode, encode
from ovs_geneve.values import OptionClass, OptionType, Vni
from tests.unit.geneve.builders import CRITICAL_VECTOR, packets


def option(number: int = 0xFF00, kind: int = 1, words: int = 1) -> Option:
    return Option(option_class=OptionClass(number), option_type=OptionType(kind), data=bytes(words * 4))


def kinds(packet: Packet) -> list[OddityKind]:
    return [oddity.kind for oddity in packet.oddities]


def test_a_critical_option_sets_the_c_bit():
    tlv = Option(option_class=OptionClass(0xFFFF), option_type=OptionType(0x80), data=b"\x00\x00\x12\x34")
    packet = Packet(header=Header(vni=Vni(0x4D)), options=(tlv,))
    assert encode(packet) == CRITICAL_VECTOR
    assert decode(CRITICAL_VECTOR) == packet


def test_a_plain_packet_is_the_header_and_its_payload():
    packet = Packet(header=Header(vni=Vni(100), oam=True, protocol_type=0x0800), payload=b"abc")
    assert encode(packet) == bytes.fromhex("0080080000006400") + b"abc"
    assert decode(encode(packet)) == packet


def test_an_option_without_data_is_four_bytes():
    packet = Packet(header=Header(vni=Vni(1)), options=(option(0x0129, 0, words=0),))
    assert encode(packet) == bytes.fromhex("010065580000010001290000")


@given(packets)
def test_what_is_encoded_decodes_to_itself(packet):
    assert decode(encode(packet)) == packet


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_but_decode_error(data):
    try:
        packet = decode(data)
    except DecodeError:
        return
    if not packet.oddities and packet.header.protocol_type >= 0x600:
        assert encode(packet) == data


@given(packets, st.data())
def test_damaged_packets_raise_nothing_but_decode_error(packet, data):
    damaged = bytearray(encode(packet))
    at = data.draw(st.integers(0, len(damaged) - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    try:
        again = decode(bytes(damaged))
    except DecodeError:
        return
    # A damage that is accepted is visible: as another value, or as an oddity.
    assert again != packet


@pytest.mark.parametrize("vni", [-1, 1 << 24])
def test_a_vni_has_24_bits(vni):
    with pytest.raises(EncodeError, match="vni"):
        Header(vni=Vni(vni))
    assert decode(encode(Packet(header=Header(vni=Vni(0xFFFFFF))))).header.vni == 0xFFFFFF


@pytest.mark.parametrize("protocol", [-1, 0x10000])
def test_a_protocol_type_has_16_bits(protocol):
    with pytest.raises(EncodeError, match="protocol type"):
        Header(vni=Vni(1), protocol_type=protocol)


def test_lengths_are_not_ethertypes():
    with pytest.raises(EncodeError, match="protocol type"):
        encode(Packet(header=Header(vni=Vni(1), protocol_type=0x05FF)))
    assert encode(Packet(header=Header(vni=Vni(1), protocol_type=0x0600)))[2:4] == b"\x06\x00"
    assert kinds(decode(bytes.fromhex("000005ff00000100"))) == [OddityKind.NOT_AN_ETHERTYPE]


@pytest.mark.parametrize(("words", "good"), [(31, True), (32, False)])
def test_option_data_end_at_124_bytes(words, good):
    if good:
        assert len(option(words=words).data) == 124
    else:
        with pytest.raises(EncodeError, match="at most 124"):
            option(words=words)


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_option_data_are_whole_words(length):
    with pytest.raises(EncodeError, match="multiple of 4"):
        Option(option_class=OptionClass(1), option_type=OptionType(1), data=bytes(length))


@pytest.mark.parametrize(("number", "kind"), [(-1, 0), (0x10000, 0), (0, -1), (0, 0x100)])
def test_class_and_type_have_their_bits(number, kind):
    with pytest.raises(EncodeError, match="option"):
        option(number, kind)


def test_options_end_at_252_bytes():
    most = (option(kind=1, words=31), option(kind=2, words=30))
    assert len(encode(Packet(header=Header(vni=Vni(1)), options=most))) == 260
    with pytest.raises(EncodeError, match="256 bytes"):
        Packet(header=Header(vni=Vni(1)), options=(*most, option(kind=3, words=0)))


@pytest.mark.parametrize("length", [-4, 2, 256])
def test_a_header_takes_no_other_options_length(length):
    with pytest.raises(EncodeError, match="options"):
        encode_header(Header(vni=Vni(1)), options_length=length, critical=False)


def test_an_option_is_sent_once():
    with pytest.raises(EncodeError, match="same class and type"):
        encode(Packet(header=Header(vni=Vni(1)), options=(option(), option(words=2))))


def test_a_repeated_option_is_decoded_and_reported():
    packet = decode(bytes.fromhex("0300655800000100ff000100ff000200ff000100"))
    assert [each.option_type for each in packet.options] == [1, 2, 1]
    (oddity,) = packet.oddities
    assert (oddity.kind, oddity.where, oddity.value) == (OddityKind.DUPLICATE_OPTION, "option 2", 0xFF0001)


@pytest.mark.parametrize(
    ("data", "kind", "value"),
    [
        ("003f655800000100", OddityKind.RESERVED_FLAGS, 0x3F),
        ("00006558000001ff", OddityKind.RESERVED_BYTE, 0xFF),
        ("0100655800000100ff0001e0", OddityKind.RESERVED_OPTION_BITS, 7),
        ("0100655800000100ff008100", OddityKind.C_BIT_MISSING, 0),
        ("0140655800000100ff000100", OddityKind.C_BIT_ALONE, 1),
        ("0040655800000100", OddityKind.C_BIT_ALONE, 1),
    ],
)
def test_what_a_receiver_ignores_stays_visible(data, kind, value):
    packet = decode(bytes.fromhex(data))
    (oddity,) = packet.oddities
    assert (oddity.kind, oddity.value) == (kind, value)
    assert oddity.where in str(oddity)
    with pytest.raises(EncodeError):
        encode(packet)
    assert decode(encode(replace(packet, oddities=()))).oddities == ()


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ("", "header"),
        ("00006558000001", "header"),
        ("4000655800000100", "version"),
        ("c000655800000100", "version"),
        ("0100655800000100ff0001", "opt len"),
        ("0100655800000100ff000101", "option 0 length"),
        ("0200655800000100ff000100ff00021f", "option 1 length"),
    ],
)
def test_what_an_endpoint_drops_is_refused(data, where):
    with pytest.raises(DecodeError) as caught:
        decode(bytes.fromhex(data))
    assert caught.value.where == where
