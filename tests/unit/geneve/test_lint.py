# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from ovs_geneve.geneve.fields import FieldKind, OptionField, OptionLayout
from ovs_geneve.geneve.lint import lint
from ovs_geneve.geneve.profiles import agrees, layout_of, options_of, profiles
from ovs_geneve.values import OptionClass, OptionType


def layout(*fields: OptionField, number: int = 0xFF00, kind: int = 1, length: int = 4) -> OptionLayout:
    return OptionLayout(
        name="context",
        option_class=OptionClass(number),
        option_type=OptionType(kind),
        length=length,
        fields=fields,
    )


def field(offset: int, bits: int, kind: FieldKind = FieldKind.UINT, **names: int) -> OptionField:
    return OptionField(name="f", kind=kind, offset=offset, bits=bits, names=tuple(names.items()))


WHOLE = field(0, 32)


def codes(shape: OptionLayout) -> list[str]:
    return [finding.code for finding in lint(shape)]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (layout(WHOLE), ["class-experimental"]),
        (layout(WHOLE, number=0xFEFF), ["class-unassigned"]),
        (layout(WHOLE, number=0x0104), ["class-registered"]),
        (layout(WHOLE, number=0x00FF), ["class-ietf"]),
        (layout(WHOLE, kind=0x80), ["class-experimental", "critical"]),
        (layout(WHOLE, kind=0x7F), ["class-experimental"]),
        (layout(length=0), ["class-experimental", "length-0"]),
        (layout(field(0, 64), length=8), ["class-experimental"]),
        (layout(field(0, 24)), ["class-experimental", "unclaimed-bits"]),
        (layout(field(0, 32, FieldKind.ENUM, gold=1)), ["class-experimental", "enum-without-0"]),
        (layout(field(0, 32, FieldKind.ENUM, none=0)), ["class-experimental"]),
        (layout(WHOLE, number=0x0102, kind=0x80), ["class-registered", "profile-collision", "critical"]),
        (layout(WHOLE, number=0x0103, kind=9), ["class-registered", "profile-collision"]),
    ],
)
def test_findings(shape, expected):
    assert codes(shape) == expected


@pytest.mark.parametrize(
    ("offset", "bits", "code"),
    [
        (0, 8, None),
        (1, 7, None),
        (0, 32, None),
        (8, 16, None),
        (3, 4, None),
        (4, 8, "field-crosses-byte"),
        (1, 15, "field-crosses-byte"),
        (24, 16, "field-crosses-word"),
        (31, 2, "field-crosses-word"),
        (32, 32, None),
        (32, 64, None),
        (16, 48, "field-crosses-word"),
        (8, 64, "field-crosses-word"),
    ],
)
def test_borders(offset, bits, code):
    found = [one.code for one in lint(layout(field(offset, bits), length=12)) if one.field]
    assert found == ([code] if code else [])


def test_a_message_says_who_and_what():
    findings = {finding.code: finding.message for finding in lint(layout(number=0x0102, kind=0x80))}
    assert "registered to OVN" in findings["class-registered"]
    assert "ovn:ports" in findings["profile-collision"]
    assert "0xffffffff" in findings["unclaimed-bits"]


def test_every_profile_is_sound_and_agrees_with_itself():
    names = [profile.name for profile in profiles()]
    assert len(set(names)) == len(names)
    for profile in profiles():
        assert profile.about
        assert profile.source
        for option in profile.options:
            length = 12 if option.length is None else option.length
            shape = option.layout(option.option_type or OptionType(0), length)
            assert shape is not None
            assert shape.name == f"{profile.name}:{option.name}"
            assert agrees(shape)
            assert shape == layout_of(shape.key, length)
            assert "profile-collision" not in codes(shape)
            assert "class-registered" in codes(shape)


def test_lengths_tell_options_apart():
    key = (OptionClass(0x014B), OptionType(0x81))
    assert [option.length for option in options_of(key)] == [8, 20]
    assert layout_of(key, 12) is None
    assert layout_of(key, 20).name == "cilium:dsr6"
    google = (OptionClass(0x0132), OptionType(2))
    assert layout_of(google, 0).fields == ()
    assert layout_of(google, 12).fields[0].bits == 96
    assert options_of((OptionClass(0x0108), OptionType(4))) == ()
