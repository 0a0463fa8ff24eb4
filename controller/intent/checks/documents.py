# SPDX-License-Identifier: Apache-2.0
"""What several kinds have in common: names, labels, addresses, option values, and pointers to them.

Pointers are into the REST document, whose keys differ from the attributes of a spec here and there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv6Address

from controller.errors import Conflict, Invalid
from controller.intent.identity import IDENTITY
from controller.intent.intent import Intent
from controller.intent.model import Address, Kind, OptionDirection, OptionMatch, OptionValue, object_id
from ovs_geneve.errors import EncodeError
from ovs_geneve.geneve.fields import OptionField

Labels = tuple[tuple[str, str], ...]

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_LABEL_KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,126}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_EXTERNAL_ID = re.compile(r"[!-~]{1,255}")
_RESERVED = IPv4Address("240.0.0.0")


def pointer(*steps: str | int) -> str:
    """Return the RFC 6901 pointer that takes these steps."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)


def check_name(name: str) -> None:
    """Refuse what is not a name: much like a DNS label, with dots and underscores inside."""
    if not _NAME.fullmatch(name):
        raise Invalid(
            "name-invalid",
            f"{name!r}: want 1 to 63 of a-z, 0-9, '.', '-' and '_', with a letter or digit at both ends",
            pointer="/name",
        )


def settle_labels(labels: Labels) -> Labels:
    """Return the labels sorted; refuse a key twice and what is not a label."""
    seen = dict[str, str]()
    for key, value in labels:
        at = pointer("labels", key)
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise Invalid("label-invalid", f"{key!r}: {value!r} is no label", pointer=at)
        if key in seen:
            raise Invalid("label-duplicate", f"{key!r} is there twice", pointer=at)
        seen[key] = value
    return tuple(sorted(labels))


def check_external_id(value: str, at: str) -> None:
    """Refuse what cannot be told apart in an external_ids column: blanks, control characters, nothing."""
    if not _EXTERNAL_ID.fullmatch(value):
        raise Invalid("id-invalid", f"{value!r}: want 1 to 255 printable characters, no blank", pointer=at)


def check_unicast(address: Address, at: str) -> None:
    """Refuse an address that no single interface has, and forms that OVS would take for another address."""
    reserved = isinstance(address, IPv4Address) and address >= _RESERVED
    if address.is_multicast or address.is_unspecified or reserved:
        raise Invalid("address-not-unicast", f"{address} is not a unicast address", pointer=at)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        raise Invalid("address-mapped", f"{address}: write {address.ipv4_mapped} instead", pointer=at)
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise Invalid("address-scoped", f"{address}: an address with a zone is known to one host", pointer=at)


def check_distinct(items: Iterable[object], code: str, at: str, leaf: str = "") -> None:
    """Refuse a list that has an item twice; points at its second place, at/INDEX/leaf."""
    seen = set[object]()
    for position, item in enumerate(items):
        if item in seen:
            where = pointer(position, *([leaf] if leaf else []))
            raise Invalid(code, f"{item} is there twice", pointer=at + where)
        seen.add(item)


def field_of(
    intent: Intent, network: str, options: Collection[str], said: OptionValue | OptionMatch, *, at: str
) -> OptionField:
    """Find the field that is spoken of, in an option that the network carries; raise Invalid if there is none."""
    if said.schema not in options:
        raise Invalid(
            "option-not-on-network",
            f"network {network} does not carry option {said.schema}",
            pointer=at,
            holder=object_id(Kind.NETWORK, network),
        )
    held = intent.option_schemas[said.schema]
    try:
        return held.spec.layout.field(said.field)
    except EncodeError as error:
        raise Invalid("field-unknown", str(error), pointer=at, holder=held.id) from error


def settle_values(
    intent: Intent, network: str, options: Collection[str], values: Iterable[OptionValue], at: str
) -> tuple[OptionValue, ...]:
    """Return option values sorted; refuse a field twice, unknown, or with a value that does not fit."""
    settled = dict[tuple[str, str], OptionValue]()
    for value in values:
        where = at + pointer(value.schema, value.field)
        bits = field_of(intent, network, options, value, at=where).bits
        if value.schema == IDENTITY:
            reason = "it says the group of the sender, which a port's `group` decides"
            raise Invalid("option-reserved", f"{IDENTITY}: {reason}", pointer=where)
        if intent.option_schemas[value.schema].spec.direction is OptionDirection.RECEIVE:
            reason = "it comes from others: no port of ours stamps it"
            raise Invalid("option-receive-only", f"{value.schema}: {reason}", pointer=where)
        if not 0 <= value.value < 1 << bits:
            most = (1 << bits) - 1
            raise Invalid("value-out-of-range", f"{value.value}: want 0 to {most:#x}", pointer=where)
        if (value.schema, value.field) in settled:
            raise Invalid("value-duplicate", f"{value.schema}.{value.field} is there twice", pointer=where)
        settled[value.schema, value.field] = value
    return tuple(sorted(settled.values()))


def check_free(holder: str | None, kind: Kind, name: str, *, code: str, what: str, at: str) -> None:
    """Raise Conflict when an object other than `name` holds what `name` asks for."""
    if holder is not None and holder != name:
        by = object_id(kind, holder)
        raise Conflict(code, f"{what} is taken by {by}", pointer=at, holder=by)


def check_none(holders: Collection[str], reason: str, at: str = "") -> None:
    """Raise Conflict when anybody (kind/name) still depends on what is to go."""
    if holders:
        first = min(holders)
        others = f" and {len(holders) - 1} more" if len(holders) > 1 else ""
        raise Conflict("in-use", f"{reason} is used by {first}{others}", pointer=at, holder=first)
