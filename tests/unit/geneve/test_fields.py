# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.geneve.field_names import Names
from ovs_geneve.geneve.fields import (
    FieldKind,
    OptionField,
    OptionLayout,
    parse_match,
    parse_value,
    render_mask,
    render_value,
)
from ovs_geneve.values import OptionClass, OptionType

SOME_VALUE = (("some", 0),)


def field(
    name: str, offset: int, bits: int, kind: FieldKind = FieldKind.UINT, names: Names = ()
) -> OptionField:
    if kind is FieldKind.ENUM and not names:
        names = SOME_VALUE
    return OptionField(name=name, kind=kind, offset=offset, bits=bits, names=names)


def plain(kind: FieldKind, bits: int) -> OptionField:
    return field("f", 0, bits, kind)


def layout(*fields: OptionField, length: int = 4) -> OptionLayout:
    return OptionLayout(
        name="context",
        option_class=OptionClass(0xFF00),
        option_type=OptionType(1),
        length=length,
        fields=fields,
    )


CONTEXT = layout(field("tier", 0, 8), field("zone", 8, 16))
OVN = layout(field("in", 1, 15), field("out", 16, 16))


def test_offsets_count_from_the_most_significant_bit():
    assert CONTEXT.encode_values({"tier": 2, "zone": 7}) == bytes.fromhex("02000700")
    assert CONTEXT.decode_values(bytes.fromhex("02000700")) == {"tier": 2, "zone": 7}
    assert OVN.encode_values({"in": "0x7fff", "out": "1"}) == bytes.fromhex("7fff0001")


def test_what_is_not_set_is_zero():
    assert CONTEXT.encode_values({}) == bytes(4)
    assert CONTEXT.encode_option({"zone": 1}).data == bytes.fromhex("00000100")
    assert CONTEXT.encode_option({}).key == CONTEXT.key == (0xFF00, 1)


def test_every_kind_has_its_place():
    everything = layout(
        field("v4", 0, 32, FieldKind.IPV4),
        field("mac", 32, 48, FieldKind.MAC),
        field("bits", 80, 8, FieldKind.FLAGS),
        field("raw", 88, 24, FieldKind.BYTES),
        field("odd", 112, 13),
        field("v6", 128, 128, FieldKind.IPV6),
        length=32,
    )
    values = {"v4": "10.0.0.1", "mac": "02:00:00:00:00:01", "bits": "0b101", "raw": "0a0b0c", "odd": 8191}
    data = everything.encode_values({**values, "v6": "2001:db8::1"})
    assert data.hex() == "0a000001020000000001050a0b0cfff820010db8000000000000000000000001"
    read = everything.decode_values(data)
    assert [render_value(each, read[each.name]) for each in everything.fields] == [
        "10.0.0.1",
        "02:00:00:00:00:01",
        "0x5",
        "0x0a0b0c",
        "8191",
        "2001:db8::1",
    ]
    assert everything.unclaimed(data) == 0


def test_bits_no_field_claims_are_reported():
    assert CONTEXT.unclaimed(bytes.fromhex("ffffff81")) == 0x81
    assert layout(field("b", 1, 30)).unclaimed(b"\xff\xff\xff\xff") == 0x80000001


@pytest.mark.parametrize(
    ("length", "good"), [(0, True), (4, True), (124, True), (128, False), (-4, False), (6, False)]
)
def test_lengths(length, good):
    if good:
        assert len(layout(length=length).encode_values({})) == length
    else:
        with pytest.raises(EncodeError) as caught:
            layout(length=length)
        assert caught.value.field == "length"


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (FieldKind.UINT, (1, 64), (0, 65, -1)),
        (FieldKind.ENUM, (1, 64), (0, 65)),
        (FieldKind.FLAGS, (1, 64), (0, 65)),
        (FieldKind.IPV4, (32,), (31, 33, 0)),
        (FieldKind.IPV6, (128,), (127, 64)),
        (FieldKind.MAC, (48,), (47, 64)),
        (FieldKind.BYTES, (8, 992), (0, 7, 12, 1000)),
    ],
)
def test_bits_of_each_kind(kind, good, bad):
    for bits in good:
        assert field("f", 0, bits, kind).end == bits
    for bits in bad:
        with pytest.raises(EncodeError, match=f"field f: {bits} bits"):
            field("f", 0, bits, kind)


def test_overlaps_name_both_fields():
    assert layout(field("b", 16, 16), field("a", 0, 16)).fields[0].name == "b"
    with pytest.raises(EncodeError, match=r"field b: overlaps field a at bit 15"):
        layout(field("b", 15, 17), field("a", 0, 16))
    with pytest.raises(EncodeError, match=r"overlaps field"):
        layout(field("a", 0, 8), field("b", 0, 8))


def test_fields_end_within_the_option():
    assert layout(field("f", 24, 8)).encode_values({"f": 255}) == b"\0\0\0\xff"
    with pytest.raises(EncodeError, match="field f: ends at bit 33, the option has 32"):
        layout(field("f", 25, 8))
    with pytest.raises(EncodeError, match="offset -1"):
        field("f", -1, 8)


def test_names_are_there_once_and_usable():
    with pytest.raises(EncodeError, match="field f: is there twice"):
        layout(field("f", 0, 8), field("f", 8, 8))
    for name in ("", "a.b", "a/b", "1a", "a b", "x" * 64, "ä"):
        with pytest.raises(EncodeError, match="want letters"):
            field(name, 0, 8)
    assert field("x" * 63, 0, 8)
    with pytest.raises(EncodeError, match="option name"):
        OptionLayout(name="", option_class=OptionClass(1), option_type=OptionType(1), length=4)


@pytest.mark.parametrize(
    ("values", "where"),
    [({"tier": 256}, "context.tier"), ({"zone": -1}, "context.zone"), ({"colour": 1}, "context.colour")],
)
def test_bad_values_name_their_field(values, where):
    with pytest.raises(EncodeError) as caught:
        CONTEXT.encode_values(values)
    assert caught.value.field == where


@pytest.mark.parametrize("length", [0, 3, 5, 8])
def test_other_lengths_are_not_read(length):
    with pytest.raises(DecodeError, match=f"{length} bytes of data: want 4"):
        CONTEXT.decode_values(bytes(length))


def test_matches_are_numbers_over_the_whole_option():
    assert CONTEXT.match_bits("tier", 2) == (0x02000000, 0xFF000000)
    assert CONTEXT.match_bits("zone", 0x0700, 0xFF00) == (0x00070000, 0x00FF0000)
    assert CONTEXT.match_bits("zone", 0, 0) == (0, 0)


@pytest.mark.parametrize(
    ("value", "mask", "reason"),
    [
        (3, 2, "value 0x3 has bits outside of mask 0x2"),
        (256, None, "does not fit 8 bits"),
        (1, 0x1FF, "does not fit 8 bits"),
        (1, -1, "does not fit 8 bits"),
    ],
)
def test_matches_that_cannot_be_meant_are_refused(value, mask, reason):
    with pytest.raises(EncodeError, match=reason):
        CONTEXT.match_bits("tier", value, mask)


@pytest.mark.parametrize(
    ("kind", "bits", "text", "number"),
    [
        (FieldKind.UINT, 8, "255", 255),
        (FieldKind.UINT, 8, "0XfF", 255),
        (FieldKind.UINT, 1, True, 1),
        (FieldKind.FLAGS, 8, "0b11", 3),
        (FieldKind.FLAGS, 8, "12", 12),
        (FieldKind.IPV4, 32, "255.255.255.255", 0xFFFFFFFF),
        (FieldKind.IPV4, 32, "0x0a000001", 0x0A000001),
        (FieldKind.IPV4, 32, 1, 1),
        (FieldKind.IPV6, 128, "::1", 1),
        (FieldKind.MAC, 48, "02-00-00-00-00-0a", 0x02000000000A),
        (FieldKind.MAC, 48, "0x01", 1),
        (FieldKind.BYTES, 16, "00:0a", 10),
        (FieldKind.BYTES, 16, "0x000a", 10),
        (FieldKind.BYTES, 16, "000A", 10),
    ],
)
def test_texts_that_are_taken(kind, bits, text, number):
    assert parse_value(plain(kind, bits), text) == number


@pytest.mark.parametrize(
    ("kind", "bits", "text", "wanted"),
    [
        (FieldKind.UINT, 8, "256", "does not fit 8 bits"),
        (FieldKind.UINT, 8, "-1", "want a number"),
        (FieldKind.UINT, 8, " 1", "want a number"),
        (FieldKind.UINT, 8, "1_0", "want a number"),
        (FieldKind.UINT, 8, "ff", "want a number"),
        (FieldKind.UINT, 8, "٣", "want a number"),
        (FieldKind.UINT, 8, "", "want a number"),
        (FieldKind.UINT, 8, "0x", "want a number"),
        (FieldKind.UINT, 8, "9" * 5000, "want a number"),
        (FieldKind.UINT, 8, True, "one bit"),
        (FieldKind.FLAGS, 8, "0b2", "want a number"),
        (FieldKind.FLAGS, 2, "0b111", "does not fit 2 bits"),
        (FieldKind.IPV4, 32, "10.1", "want an IPv4 address"),
        (FieldKind.IPV4, 32, "010.0.0.1", "want an IPv4 address"),
        (FieldKind.IPV4, 32, "::1", "want an IPv4 address"),
        (FieldKind.IPV4, 32, 1 << 32, "does not fit 32 bits"),
        (FieldKind.IPV6, 128, "10.0.0.1", "want an IPv6 address"),
        (FieldKind.IPV6, 128, "fe80::1%eth0", "want an IPv6 address"),
        (FieldKind.MAC, 48, "02:00:00:00:00", "want a MAC address"),
        (FieldKind.MAC, 48, "02:00:00:00:00:01:02:03", "want a MAC address"),
        (FieldKind.BYTES, 16, "0a", "want hexadecimal digits"),
        (FieldKind.BYTES, 16, "0:a0b", "want hexadecimal digits"),
        (FieldKind.BYTES, 16, "0a0b0c", "want hexadecimal digits"),
    ],
)
def test_texts_that_are_refused_say_what_is_wanted(kind, bits, text, wanted):
    with pytest.raises(EncodeError, match=wanted):
        parse_value(plain(kind, bits), text)


@pytest.mark.parametrize(
    ("kind", "bits", "text", "match"),
    [
        (FieldKind.UINT, 8, "2/0xff", (2, 0xFF)),
        (FieldKind.UINT, 8, "2", (2, None)),
        (FieldKind.UINT, 8, 2, (2, None)),
        (FieldKind.IPV4, 32, "10.0.0.0/8", (0x0A000000, 0xFF000000)),
        (FieldKind.IPV4, 32, "0.0.0.0/0", (0, 0)),
        (FieldKind.IPV4, 32, "10.0.0.0/255.0.255.0", (0x0A000000, 0xFF00FF00)),
        (FieldKind.IPV6, 128, "2001:db8::/32", (0x20010DB8 << 96, 0xFFFFFFFF << 96)),
        (FieldKind.MAC, 48, "01:00:00:00:00:00/01:00:00:00:00:00", (1 << 40, 1 << 40)),
    ],
)
def test_matches_with_a_mask(kind, bits, text, match):
    assert parse_match(plain(kind, bits), text) == match


@pytest.mark.parametrize(
    ("kind", "bits", "text"),
    [
        (FieldKind.UINT, 8, "2/"),
        (FieldKind.UINT, 8, "/2"),
        (FieldKind.UINT, 8, "2/2/2"),
        (FieldKind.UINT, 8, "2/256"),
        (FieldKind.IPV4, 32, "10.0.0.0/33"),
        (FieldKind.IPV6, 128, "::/129"),
    ],
)
def test_masks_that_are_refused(kind, bits, text):
    with pytest.raises(EncodeError):
        parse_match(plain(kind, bits), text)


GRADE = field("grade", 0, 4, FieldKind.ENUM, (("none", 0), ("gold", 1), ("silver", 2)))
MARKS = field("marks", 0, 8, FieldKind.FLAGS, (("urgent", 0), ("test", 1), ("last", 7)))


@pytest.mark.parametrize(
    ("value", "number", "text"),
    [("gold", 1, "gold"), (2, 2, "silver"), ("0x1", 1, "gold"), ("7", 7, "7"), ("none", 0, "none")],
)
def test_an_enum_takes_and_shows_names_and_numbers(value, number, text):
    assert parse_value(GRADE, value) == number
    assert render_value(GRADE, number) == text


@pytest.mark.parametrize(
    ("value", "number", "text"),
    [
        ("urgent", 1, "urgent"),
        ("test|urgent", 3, "urgent|test"),
        (["last", "urgent"], 0x81, "urgent|last"),
        ([], 0, "0x0"),
        ("urgent|0x30", 0x31, "urgent|0x30"),
        ("0b10", 2, "test"),
        (0xFF, 0xFF, "urgent|test|last|0x7c"),
        ("urgent|urgent", 1, "urgent"),
    ],
)
def test_flags_take_and_show_names_of_bits(value, number, text):
    assert parse_value(MARKS, value) == number
    assert render_value(MARKS, number) == text
    assert parse_value(MARKS, text) == number


@pytest.mark.parametrize(
    ("shape", "value", "reason"),
    [
        (GRADE, "Gold", "'Gold': want a number.*or one of its names: none, gold, silver, 4 bits"),
        (GRADE, "gold|silver", "want a number"),
        (GRADE, ["gold"], r"\['gold'\]: want a number"),
        (GRADE, 16, "field grade: 16 does not fit 4 bits"),
        (MARKS, "urgent|", "names of its flags: urgent, test, last, 8 bits"),
        (MARKS, "slow", "want a number"),
        (MARKS, ["urgent", "slow"], r"\['urgent', 'slow'\]: want a number"),
        (MARKS, "urgent|0x100", "does not fit 8 bits"),
        (plain(FieldKind.UINT, 8), ["1"], "want a number"),
    ],
)
def test_names_that_are_not_there_are_refused(shape, value, reason):
    with pytest.raises(EncodeError, match=reason):
        parse_value(shape, value)


def test_names_in_matches():
    assert parse_match(GRADE, "gold/0x3") == (1, 3)
    assert parse_match(MARKS, "urgent/urgent|test") == (1, 3)
    assert parse_match(MARKS, "0/test") == (0, 2)
    assert render_mask(MARKS, 3) == "0x3"
    assert render_mask(plain(FieldKind.IPV4, 32), 0xFFFF0000) == "255.255.0.0"


@pytest.mark.parametrize(
    ("kind", "names", "reason"),
    [
        (FieldKind.ENUM, (("a", 1), ("a", 2)), "field f: name a is there twice"),
        (FieldKind.ENUM, (("a", 1), ("b", 1)), "field f: value 1 is both a and b"),
        (FieldKind.ENUM, (("a", 16),), "field f: a = 16 does not fit 4 bits"),
        (FieldKind.ENUM, (("a", -1),), "does not fit"),
        (FieldKind.ENUM, (("1a", 1),), "field f: value name '1a': want letters"),
        (FieldKind.ENUM, (("a|b", 1),), "want letters"),
        (FieldKind.FLAGS, (("a", 4),), "field f: flag a is bit 4, the field has 4 bits"),
        (FieldKind.FLAGS, (("a", 0), ("a", 1)), "name a is there twice"),
        (FieldKind.FLAGS, (("a", 0), ("b", 0)), "bit 0 is both a and b"),
        (FieldKind.UINT, (("a", 1),), "field f: uint has no names"),
    ],
)
def test_names_that_cannot_be_meant_are_refused(kind, names, reason):
    with pytest.raises(EncodeError, match=reason):
        field("f", 0, 4, kind, names)


def test_an_enum_has_values():
    with pytest.raises(EncodeError, match="field f: an enum wants at least one named value"):
        OptionField(name="f", kind=FieldKind.ENUM, offset=0, bits=4)


WIDTHS = {
    FieldKind.UINT: st.integers(1, 64),
    FieldKind.ENUM: st.integers(1, 64),
    FieldKind.FLAGS: st.integers(1, 64),
    FieldKind.IPV4: st.just(32),
    FieldKind.IPV6: st.just(128),
    FieldKind.MAC: st.just(48),
    FieldKind.BYTES: st.integers(1, 16).map(lambda count: count * 8),
}


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True)


def names(kind, bits):
    if kind not in (FieldKind.ENUM, FieldKind.FLAGS):
        return st.just(())
    numbers = st.integers(0, (1 << bits) - 1 if kind is FieldKind.ENUM else bits - 1)
    least = 1 if kind is FieldKind.ENUM else 0
    pairs = st.lists(
        st.tuples(NAMES, numbers),
        min_size=least,
        max_size=6,
        unique_by=(lambda pair: pair[0], lambda pair: pair[1]),
    )
    return pairs.map(tuple)


@st.composite
def layouts(draw):
    length = draw(st.integers(0, 31)) * 4
    fields, offset = [], draw(st.integers(0, 8))
    while offset < length * 8:
        kind = draw(st.sampled_from(FieldKind))
        left = length * 8 - offset
        bits = draw(WIDTHS[kind])
        if bits > left:
            break
        fields.append(field(f"f{len(fields)}", offset, bits, kind, draw(names(kind, bits))))
        offset += bits + draw(st.integers(0, 40))
    return layout(*draw(st.permutations(fields)), length=length)


@given(layouts(), st.data())
def test_values_come_back(shape, data):
    values = {each.name: data.draw(st.integers(0, (1 << each.bits) - 1)) for each in shape.fields}
    encoded = shape.encode_values(values)
    assert shape.decode_values(encoded) == values
    assert shape.unclaimed(encoded) == 0
    texts = {each.name: render_value(each, values[each.name]) for each in shape.fields}
    assert shape.encode_values(texts) == encoded
    for each in shape.fields:
        value, mask = shape.match_bits(each.name, values[each.name])
        assert int.from_bytes(encoded, "big") & mask == value


@given(layouts(), st.data())
def test_any_data_of_the_length_is_fields_and_the_rest(shape, data):
    raw = data.draw(st.binary(min_size=shape.length, max_size=shape.length))
    again = int.from_bytes(shape.encode_values(shape.decode_values(raw)), "big")
    assert again | shape.unclaimed(raw) == int.from_bytes(raw, "big")
    assert again & shape.unclaimed(raw) == 0


@given(st.sampled_from(FieldKind), st.text(max_size=50))
def test_arbitrary_text_raises_nothing_but_encode_error(kind, text):
    bits = {FieldKind.IPV4: 32, FieldKind.IPV6: 128, FieldKind.MAC: 48}.get(kind, 16)
    try:
        value, mask = parse_match(plain(kind, bits), text)
    except EncodeError:
        return
    assert 0 <= value < 1 << bits
    assert mask is None or 0 <= mask < 1 << bits
