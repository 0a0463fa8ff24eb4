# SPDX-License-Identifier: Apache-2.0
"""The rules for option schemas."""

from __future__ import annotations

from dataclasses import replace

from controller.errors import Conflict, Invalid
from controller.intent.allocate import free_slot
from controller.intent.checks.documents import check_free, check_none, pointer
from controller.intent.intent import Intent
from controller.intent.model import Kind, Object, OptionSchemaSpec, object_id
from ovs_geneve.geneve.classes import is_experimental
from ovs_geneve.geneve.fields import OptionField, OptionLayout
from ovs_geneve.geneve.profiles import layout_of, lengths_of, options_of, profiles


def settle(intent: Intent, name: str, spec: OptionSchemaSpec) -> OptionSchemaSpec:
    """Check a schema and give it a slot; class, type and length stay what they were at first."""
    layout = replace(spec.layout, name=name)
    held = intent.option_schemas.get(name)
    if held is not None:
        _check_shape_stays(held, layout)
    if spec.profile is not None:
        layout = _of_profile(layout, spec.profile)
    elif held is None or held.spec.profile is not None:
        _check_no_profile(layout)
    if spec.profile is None and not is_experimental(layout.option_class) and not spec.allow_registered:
        raise Invalid(
            "class-not-experimental",
            f"{layout.option_class:#06x} is not within 0xff00 and 0xffff: "
            "set allow_registered to use a class of the IANA registry",
            pointer="/class",
        )
    _check_type(intent, name, layout)
    if held is None:
        return replace(spec, layout=layout, slot=free_slot(intent, layout.length))
    _check_fields_stay(intent, held, layout)
    return replace(spec, layout=layout, slot=held.spec.slot)


def _of_profile(layout: OptionLayout, profile: str) -> OptionLayout:
    """Return the layout with the fields of a profile, which it must have if it has any."""
    names = [one.name for one in profiles()]
    if profile not in names:
        raise Invalid(
            "profile-unknown",
            f"there is no profile {profile}: want one of {', '.join(names)}",
            pointer="/profile",
        )
    known = [option for option in options_of(layout.key) if option.profile == profile]
    theirs = layout_of(layout.key, layout.length) if known else None
    key = f"type {layout.option_type:#04x} of class {layout.option_class:#06x}"
    if theirs is None:
        want = f": want {lengths_of(layout.key)} bytes" if known else ""
        reason = f"profile {profile} has no {key} with {layout.length} bytes{want}"
        raise Invalid("profile-mismatch", reason, pointer="/length" if known else "/type")
    if layout.fields and layout.fields != theirs.fields:
        reason = f"profile {profile} lays out {theirs.name} otherwise: leave fields out to take its own"
        raise Invalid("profile-mismatch", reason, pointer="/fields")
    return replace(theirs, name=layout.name)


def _check_no_profile(layout: OptionLayout) -> None:
    """Refuse an option that another system has given a meaning, whatever the document allows."""
    for theirs in options_of(layout.key):
        raise Conflict(
            "option-type-of-profile",
            f"type {layout.option_type:#04x} of class {layout.option_class:#06x} is {theirs.title}, "
            f'which hosts of that system would take it for: declare it with "profile": "{theirs.profile}" '
            "if that is what it is, or take another type",
            pointer="/type",
            holder=f"option-profile/{theirs.profile}",
        )


def check_unused(intent: Intent, name: str) -> None:
    """Refuse to let go a schema that a network carries."""
    networks = [object_id(Kind.NETWORK, network) for network in intent.networks_using(name)]
    check_none(networks, f"option schema {name}")


def _check_type(intent: Intent, name: str, layout: OptionLayout) -> None:
    holder = intent.schema_by_type(layout.option_class, layout.option_type)
    what = f"type {layout.option_type:#04x} of class {layout.option_class:#06x}"
    check_free(holder, Kind.OPTION_SCHEMA, name, code="option-type-taken", what=what, at="/type")


def _check_shape_stays(held: Object[OptionSchemaSpec], layout: OptionLayout) -> None:
    before = held.spec.layout
    for key, was, wanted in (
        ("class", before.option_class, layout.option_class),
        ("type", before.option_type, layout.option_type),
        ("length", before.length, layout.length),
    ):
        if was != wanted:
            raise Conflict(
                "immutable",
                f"{key} is {was:#x} and stays so: hosts that know the old shape would misread the new one; "
                "declare another option type and move over",
                pointer=pointer(key),
                holder=held.id,
            )


def _check_fields_stay(intent: Intent, held: Object[OptionSchemaSpec], layout: OptionLayout) -> None:
    """Refuse to remove, rename, retype or move a field that anything in any network speaks of."""
    after = {field.name: (position, field) for position, field in enumerate(layout.fields)}
    for field in held.spec.layout.fields:
        position, now = after.get(field.name, (None, None))
        if now is not None and _stays(field, now):
            continue
        at = pointer("fields") if position is None else pointer("fields", position)
        for network in intent.networks_using(held.name):
            users = intent.users_of_field(network, held.name, field.name)
            check_none(users, f"field {held.name}.{field.name}", at)


def _stays(before: OptionField, after: OptionField) -> bool:
    """Tell whether a field reads the same bits, and no name that it had stands for something else now."""
    numbers = dict(after.names)
    return (before.kind, before.offset, before.bits) == (after.kind, after.offset, after.bits) and all(
        numbers.get(name, number) == number for name, number in before.names
    )
