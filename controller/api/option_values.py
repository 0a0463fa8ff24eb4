# SPDX-License-Identifier: Apache-2.0
"""Values of option fields, numbers and MACs, as documents spell them, and back. Pure; wrong text is an `Invalid`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import ParamSpec, TypeVar

import netaddr

from controller.errors import Invalid
from controller.intent.checks.documents import pointer
from controller.intent.intent import Intent
from controller.intent.model import OptionMatch, OptionValue
from ovs_geneve.errors import EncodeError
from ovs_geneve.geneve.fields import (
    FieldKind,
    OptionField,
    Written,
    parse_match,
    parse_value,
    render_mask,
    render_value,
)

_PLAIN_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")

P = ParamSpec("P")
T = TypeVar("T")


def parse_values(
    said: Mapping[str, Mapping[str, Written]], key: str, intent: Intent
) -> Iterator[OptionValue]:
    """Read values by schema, then field."""
    for schema, fields in said.items():
        for name, value in fields.items():
            number = parse_option_value(intent, schema, name, value, pointer(key, schema, name))
            yield OptionValue(schema=schema, field=name, value=number)


def render_values(
    values: Iterable[OptionValue], intent: Intent
) -> dict[str, dict[str, int | str | list[str]]]:
    """Show values by schema, then field."""
    said: dict[str, dict[str, int | str | list[str]]] = {}
    for value in values:
        field = intent.option_schemas[value.schema].spec.layout.field(value.field)
        said.setdefault(value.schema, {})[value.field] = render_option_value(field, value.value)
    return said


def parse_option_value(intent: Intent, schema: str, name: str, value: Written, at: str) -> int:
    """Read the value of a declared field."""
    field = declared_field(intent, schema, name, at)
    return checked("value-invalid", at, parse_value, field, value)


def render_option_value(field: OptionField, value: int) -> int | str:
    """Show the value of a field: numbers as numbers, the rest as people read it."""
    return value if field.kind is FieldKind.UINT else render_value(field, value)


def parse_matches(said: Mapping[str, int | str], intent: Intent) -> Iterator[OptionMatch]:
    """Read conditions, SCHEMA.FIELD to VALUE or VALUE/MASK."""
    for selector, text in said.items():
        at = pointer("match", "option", selector)
        schema, _, name = selector.rpartition(".")
        if not schema:
            raise Invalid("match-invalid", f"{selector!r}: want SCHEMA.FIELD", pointer=at)
        field = declared_field(intent, schema, name, at)
        value, mask = checked("match-invalid", at, parse_match, field, text)
        ones = (1 << field.bits) - 1
        yield OptionMatch(schema=schema, field=name, value=value, mask=ones if mask is None else mask)


def render_matches(matches: Iterable[OptionMatch], intent: Intent) -> Iterator[tuple[str, str]]:
    """Show conditions."""
    for match in matches:
        yield f"{match.schema}.{match.field}", _render_match(match, intent)


def declared_field(intent: Intent, schema: str, name: str, at: str) -> OptionField:
    """Find a field that somebody speaks of."""
    held = intent.option_schemas.get(schema)
    if held is None:
        raise Invalid("option-unknown", f"there is no option schema {schema}", pointer=at)
    try:
        return held.spec.layout.field(name)
    except EncodeError as error:
        raise Invalid("field-unknown", str(error), pointer=at, holder=held.id) from error


def checked(code: str, at: str, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Make something out of what a document says; what cannot be is an Invalid with this code."""
    try:
        return make(*args, **kwargs)
    except EncodeError as error:
        raise Invalid(code, str(error), pointer=at) from error


def parse_number(value: int | str, at: str) -> int:
    """Read a number, or one as text."""
    try:
        return value if isinstance(value, int) else int(value, 0)
    except ValueError as error:
        raise Invalid(
            "number-invalid", f'{value!r}: want a number, or one as "0xff00"', pointer=at
        ) from error


def parse_mac(text: str, at: str) -> int:
    """Read a MAC address."""
    if _PLAIN_MAC.fullmatch(text):
        return int(text.replace(":", ""), 16)  # netaddr, which knows all spellings, takes eight times as long
    try:
        return int(netaddr.EUI(text, version=48))
    except (netaddr.AddrFormatError, ValueError) as error:
        raise Invalid("mac-invalid", f"{text!r} is no MAC address", pointer=at) from error


def render_mac(mac: int) -> str:
    """Show a MAC address."""
    return mac.to_bytes(6, "big").hex(":")


def _render_match(match: OptionMatch, intent: Intent) -> str:
    field = intent.option_schemas[match.schema].spec.layout.field(match.field)
    value = render_value(field, match.value)
    if match.mask == (1 << field.bits) - 1:
        return value
    return f"{value}/{render_mask(field, match.mask)}"
