# SPDX-License-Identifier: Apache-2.0
"""Options that others define: coexistence profiles, each with its source.

They are data, `profiles.toml`. What users declared comes before them everywhere; a profile only names what
nobody declared, and keeps a new schema from meaning something else by an option of another system.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from ovs_geneve.geneve.fields import FieldKind, OptionField, OptionLayout
from ovs_geneve.geneve.option import OptionKey
from ovs_geneve.values import OptionClass, OptionType, option_class, option_type


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOption:
    """An option of a profile, in one of the lengths it may have."""

    profile: str
    name: str
    option_class: OptionClass
    option_type: OptionType | None
    "None stands for every type of the class."
    length: int | None
    "Bytes of data; None for any."
    fields: tuple[OptionField, ...] = ()
    rest: str = ""
    "Of any length: the name of the bytes behind the fields."

    @property
    def title(self) -> str:
        """Return how messages speak of it; no declared option has a colon in its name."""
        return f"{self.profile}:{self.name}"

    def layout(self, kind: OptionType, length: int) -> OptionLayout | None:
        """Return the shape of an option of this type and length; None when it has another."""
        if self.option_type not in (None, kind) or self.length not in (None, length):
            return None
        start = max((field.end for field in self.fields), default=0)
        fields, left = self.fields, length * 8 - start
        if left < 0:
            return None
        if self.rest and left:
            fields += (OptionField(name=self.rest, kind=FieldKind.BYTES, offset=start, bits=left),)
        return OptionLayout(
            name=self.title, option_class=self.option_class, option_type=kind, length=length, fields=fields
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What another system puts into GENEVE packets."""

    name: str
    about: str
    source: str
    "Where its layout was read."
    options: tuple[ProfileOption, ...]


@cache
def profiles() -> tuple[Profile, ...]:
    """Return all profiles, in the order of their classes."""
    text = files(__package__).joinpath("profiles.toml").read_text(encoding="utf-8")
    return tuple(_profile(entry) for entry in tomllib.loads(text)["profile"])


def options_of(key: OptionKey) -> tuple[ProfileOption, ...]:
    """Return what profiles say about a class and type: nothing, or an option in each of its lengths."""
    number, kind = key
    return tuple(option for option in _by_class().get(number, ()) if option.option_type in (None, kind))


def layout_of(key: OptionKey, length: int) -> OptionLayout | None:
    """Return the shape that a profile gives an option, if one knows it in this length."""
    found = (option.layout(key[1], length) for option in options_of(key))
    return next((layout for layout in found if layout is not None), None)


def agrees(layout: OptionLayout) -> bool:
    """Tell whether a layout is exactly what a profile says, its name aside."""
    theirs = layout_of(layout.key, layout.length)
    return theirs is not None and replace(theirs, name=layout.name) == layout


def lengths_of(key: OptionKey) -> str:
    """Return the lengths that an option of a profile may have, in words."""
    return " or ".join(str(option.length) for option in options_of(key) if option.length is not None)


@cache
def _by_class() -> Mapping[int, tuple[ProfileOption, ...]]:
    found = dict[int, tuple[ProfileOption, ...]]()
    for profile in profiles():
        for option in profile.options:
            found[option.option_class] = (*found.get(option.option_class, ()), option)
    return found


def _profile(entry: Mapping[str, Any]) -> Profile:
    return Profile(
        name=entry["name"],
        about=entry["about"],
        source=entry["source"],
        options=tuple(_option(entry["name"], option) for option in entry["options"]),
    )


def _option(profile: str, entry: Mapping[str, Any]) -> ProfileOption:
    return ProfileOption(
        profile=profile,
        name=entry["name"],
        option_class=option_class(entry["class"]),
        option_type=option_type(entry["type"]) if "type" in entry else None,
        length=entry.get("length"),
        fields=tuple(_field(field) for field in entry.get("fields", ())),
        rest=entry.get("rest", ""),
    )


def _field(entry: Mapping[str, Any]) -> OptionField:
    flags = tuple((name, bit) for bit, name in enumerate(entry.get("flags", ())))
    return OptionField(
        name=entry["name"],
        kind=FieldKind(entry["type"]),
        offset=entry["offset"],
        bits=entry["bits"],
        names=tuple(entry.get("values", {}).items()) or flags,
    )
