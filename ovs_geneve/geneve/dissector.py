# SPDX-License-Identifier: Apache-2.0
"""A Wireshark plugin from option layouts: `dissector.lua` with the layouts written before it as a Lua table.

    context.tier        ovsgeneve.context.tier == 2
    marks.urgent        ovsgeneve.context.marks.urgent == 1
    a profile's field   ovsgeneve.profile.ovn.ports.egress == 7

Names come from users: whatever is written into Lua goes through `_quoted` or `_Names`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files

from ovs_geneve.geneve.classes import owner
from ovs_geneve.geneve.fields import FieldKind, OptionField, OptionLayout
from ovs_geneve.geneve.profiles import ProfileOption, lengths_of, profiles

_LUA_NUMBER_BITS = 32
"Wireshark hands wider bit fields to Lua as objects, which are compared by their text."

_RESERVED = ("ovsgeneve.expert.length", "ovsgeneve.expert.bits", "ovsgeneve.expert.twice")

_NOT_IN_FILTERS = re.compile(r"[^A-Za-z0-9_.-]")

LuaValue = int | str | bool | Mapping["str | int", "LuaValue"] | list["LuaValue"]


def lua_plugin(declared: Iterable[OptionLayout]) -> str:
    """Return the plugin for these layouts and all profiles; a profile says nothing about what is declared."""
    names = _Names()
    options = [_declared(layout, names) for layout in declared]
    options += [_profiled(option, names) for profile in profiles() for option in profile.options]
    engine = files(__package__).joinpath("dissector.lua").read_text(encoding="utf-8")
    table = ",\n".join(f"  {_lua(option)}" for option in options)
    return (
        "-- SPDX-License-Identifier: Apache-2.0\n"
        "-- Made by ovs-geneve dissector: make it anew when option schemas change.\n"
        f"local options = {{\n{table}\n}}\n\n{engine}"
    )


class _Names:
    """Filter names, each given once: Wireshark refuses a plugin that has one twice."""

    def __init__(self) -> None:
        self._given = set(_RESERVED)

    def give(self, *parts: str) -> str:
        """Return a filter name of these parts, with a number behind it if it is taken."""
        name = _NOT_IN_FILTERS.sub("_", ".".join(("ovsgeneve", *parts)))
        name = re.sub(r"\.{2,}", ".", name).rstrip(".")
        free, number = name, 2
        while free in self._given:
            free, number = f"{name}_{number}", number + 1
        self._given.add(free)
        return free


def _declared(layout: OptionLayout, names: _Names) -> LuaValue:
    return {
        "title": layout.name,
        "owner": owner(layout.option_class),
        "abbrev": names.give(layout.name),
        "class": layout.option_class,
        "type": layout.option_type,
        "length": layout.length,
        "wanted": str(layout.length),
        "declared": True,
        "fields": [_field(field, names, layout.name) for field in layout.fields],
        "gaps": list(_gaps(layout.fields, layout.length)),
    }


def _profiled(option: ProfileOption, names: _Names) -> LuaValue:
    where = ("profile", option.profile, option.name)
    table: dict[str | int, LuaValue] = {
        "title": option.title,
        "owner": owner(option.option_class),
        "abbrev": names.give(*where),
        "class": option.option_class,
        "fields": [_field(field, names, *where) for field in option.fields],
        "gaps": [] if option.length is None else list(_gaps(option.fields, option.length)),
    }
    if option.option_type is not None:
        table["type"] = option.option_type
        table["wanted"] = lengths_of((option.option_class, option.option_type))
    if option.length is not None:
        table["length"] = option.length
    if option.rest:
        table["rest"] = {"name": option.rest, "kind": "bytes", "abbrev": names.give(*where, option.rest)}
    return table


def _field(field: OptionField, names: _Names, *where: str) -> LuaValue:
    abbrev = names.give(*where, field.name)
    table: dict[str | int, LuaValue] = {
        "name": field.name,
        "abbrev": abbrev,
        "kind": field.kind.value,
        "offset": field.offset,
        "bits": field.bits,
    }
    if field.kind is FieldKind.ENUM:
        wide = field.bits > _LUA_NUMBER_BITS
        table["values"] = {str(value) if wide else value: name for name, value in field.names}
    if field.kind is FieldKind.FLAGS:
        table["flags"] = [
            {"name": name, "bit": bit, "abbrev": names.give(*where, field.name, name)}
            for name, bit in field.names
        ]
    return table


def _gaps(fields: Iterable[OptionField], length: int) -> Iterator[LuaValue]:
    """Yield the runs of bits that no field has."""
    offset = 0
    for field in sorted(fields, key=lambda field: field.offset):
        if field.offset > offset:
            yield {"offset": offset, "bits": field.offset - offset}
        offset = field.end
    if offset < length * 8:
        yield {"offset": offset, "bits": length * 8 - offset}


def _lua(value: LuaValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list):
        return "{" + ", ".join(map(_lua, value)) + "}"
    return "{" + ", ".join(f"[{_lua(key)}] = {_lua(inner)}" for key, inner in value.items()) + "}"


def _quoted(text: str) -> str:
    """Return a Lua string literal: everything but plain characters as \\ddd, byte by byte."""
    return '"' + "".join(_byte(byte) for byte in text.encode()) + '"'


def _byte(byte: int) -> str:
    character = chr(byte)
    plain = character.isascii() and (character.isalnum() or character in " ._:-,()/")
    return character if plain else f"\\{byte:03d}"
