# SPDX-License-Identifier: Apache-2.0
"""What is unwise about an option, though nothing forbids it. Pure; refusals are made elsewhere, and what NICs make of
options is told by `ovs_geneve.offload.profile`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ovs_geneve.geneve.classes import FIRST_ASSIGNABLE, is_assigned, is_experimental, owner
from ovs_geneve.geneve.fields import FieldKind, OptionField, OptionLayout
from ovs_geneve.geneve.profiles import agrees, options_of
from ovs_geneve.values import is_critical

_WORD = 32


class Severity(StrEnum):
    """How much a finding matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    "Two systems will misread each other."


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One remark about an option."""

    code: str
    severity: Severity
    message: str
    field: str = ""
    "The field it is about; empty for the option."


def lint(layout: OptionLayout) -> tuple[Finding, ...]:
    """Return what is to be said about an option by itself."""
    return (*_class(layout), *_profile(layout), *_size(layout), *_bits(layout))


def _class(layout: OptionLayout) -> Iterator[Finding]:
    number = layout.option_class
    word = f"class {number:#06x}"
    if is_experimental(number):
        yield Finding(
            code="class-experimental",
            severity=Severity.INFO,
            message=f"{word} is for experiments: others may use the same one on this underlay",
        )
    elif is_assigned(number):
        yield Finding(
            code="class-registered",
            severity=Severity.WARNING,
            message=f"{word} is registered to {owner(number)}: its types are for {owner(number)} to give",
        )
    elif number < FIRST_ASSIGNABLE:
        yield Finding(
            code="class-ietf",
            severity=Severity.WARNING,
            message=f"{word} is for the IETF to assign (RFC 8926 7.2)",
        )
    else:
        yield Finding(
            code="class-unassigned",
            severity=Severity.WARNING,
            message=f"{word} is unassigned: IANA gives it to the first who asks, register it",
        )


def _profile(layout: OptionLayout) -> Iterator[Finding]:
    found = options_of(layout.key)
    if not found:
        return
    title = found[0].title
    if agrees(layout):
        yield Finding(
            code="profile", severity=Severity.INFO, message=f"the option is {title}, as laid out there"
        )
    else:
        yield Finding(
            code="profile-collision",
            severity=Severity.ERROR,
            message=f"class and type are those of {title}, which has another layout",
        )


def _size(layout: OptionLayout) -> Iterator[Finding]:
    if is_critical(layout.option_type):
        yield Finding(
            code="critical",
            severity=Severity.WARNING,
            message="peers that do not know the option drop the packet; plain Linux geneve devices know none",
        )
    if not layout.length:
        yield Finding(
            code="length-0",
            severity=Severity.WARNING,
            message="the option has no data: only its presence says something, and OVS reads an absent one as 0",
        )


def _bits(layout: OptionLayout) -> Iterator[Finding]:
    unclaimed = layout.unclaimed(b"\xff" * layout.length)
    if unclaimed:
        digits = layout.length * 2
        yield Finding(
            code="unclaimed-bits",
            severity=Severity.INFO,
            message=f"no field has the {unclaimed.bit_count()} bits {unclaimed:#0{digits + 2}x}: sent as zero",
        )
    for field in layout.fields:
        yield from _field(field)


def _field(field: OptionField) -> Iterator[Finding]:
    if field.kind is FieldKind.ENUM and all(value for _, value in field.names):
        yield Finding(
            code="enum-without-0",
            severity=Severity.WARNING,
            message=f"{field.name} has no name for 0, which is what senders that set nothing send",
            field=field.name,
        )
    span = f"{field.name} has bits {field.offset} to {field.end - 1}"
    if _crosses_word(field):
        yield Finding(
            code="field-crosses-word",
            severity=Severity.WARNING,
            message=f"{span}: across a border of 32 bits, two matches for a NIC",
            field=field.name,
        )
    elif _crosses_byte(field):
        yield Finding(
            code="field-crosses-byte",
            severity=Severity.INFO,
            message=f"{span}: across a border of bytes, hard to read in a dump",
            field=field.name,
        )


def _crosses_word(field: OptionField) -> bool:
    if field.bits > _WORD:
        return bool(field.offset % _WORD)
    return field.offset // _WORD != (field.end - 1) // _WORD


def _crosses_byte(field: OptionField) -> bool:
    return field.offset // 8 != (field.end - 1) // 8 and bool(field.offset % 8 or field.end % 8)
