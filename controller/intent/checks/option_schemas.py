# SPDX-License-Identifier: Apache-2.0
"""The rules for option schemas."""

from __future__ import annotations

from dataclasses import replace

from controller.errors import Conflict, Invalid
from controller.intent.allocate import free_slot
from controller.intent.checks.capabilities import check_room
from controller.intent.checks.documents import check_free, check_none, pointer
from controller.intent.checks.profiles import check_no_profile, settle_profile
from controller.intent.identity import IDENTITY
from controller.intent.identity import LAYOUT as IDENTITY_LAYOUT
from controller.intent.intent import Intent
from controller.intent.model import Kind, Object, OptionSchemaSpec, object_id
from ovs_geneve.geneve.classes import is_experimental
from ovs_geneve.geneve.fields import OptionField, OptionLayout


def settle(intent: Intent, name: str, spec: OptionSchemaSpec) -> OptionSchemaSpec:
    """Check a schema and give it a slot; class, type and length stay what they were at first."""
    layout = replace(spec.layout, name=name)
    held = intent.option_schemas.get(name)
    _check_reserved(name, layout, held)
    _check_replaced(intent, name, spec, layout, held)
    if held is not None:
        _check_shape_stays(held, layout)
    if spec.profile is not None:
        layout = settle_profile(layout, spec.profile)
    elif held is None or held.spec.profile is not None:
        check_no_profile(layout)
    if spec.profile is None and not is_experimental(layout.option_class) and not spec.allow_registered:
        raise Invalid(
            "class-not-experimental",
            f"{layout.option_class:#06x} is not within 0xff00 and 0xffff: "
            "set allow_registered to use a class of the IANA registry",
            pointer="/class",
        )
    _check_type(intent, name, layout)
    if held is None:
        return replace(spec, layout=layout, slot=_slot(intent, layout))
    _check_fields_stay(intent, held, layout)
    if spec.direction is not held.spec.direction:
        check_unused(intent, name, "/direction")
    return replace(spec, layout=layout, slot=held.spec.slot)


def check_unused(intent: Intent, name: str, at: str = "") -> None:
    """Refuse to let go a schema that a network carries, or that is still on its way out of one."""
    networks = [object_id(Kind.NETWORK, network) for network in intent.networks_using(name)]
    rollouts = [object_id(Kind.ROLLOUT, rollout) for rollout in intent.rollouts_for(name)]
    groups = [object_id(Kind.GROUP, group) for group in intent.groups] if name == IDENTITY else []
    check_none(networks or rollouts or groups, f"option schema {name}", at)


def _slot(intent: Intent, layout: OptionLayout) -> int:
    """Return the slot of a new schema: a free one, or the very one that the same option had before."""
    rests = intent.retired_by_type(*layout.key)
    if rests is None:
        check_room(intent, layout)
        return free_slot(intent, layout.length)
    before = intent.retired_slots[rests]
    if before.spec.tlv_map.length == layout.length:
        return before.spec.tlv_map.index
    raise Conflict(
        "option-type-resting",
        f"this class and type was mapped with {before.spec.tlv_map.length} bytes a moment ago: not every host has "
        "let go of it; wait, or declare another type",
        pointer="/type",
        holder=before.id,
    )


def _check_reserved(name: str, layout: OptionLayout, held: Object[OptionSchemaSpec] | None) -> None:
    if held is not None and held.spec.layout == layout:
        return  # of a store older than groups
    if (name == IDENTITY or layout.key == IDENTITY_LAYOUT.key) and layout != IDENTITY_LAYOUT:
        raise Conflict(
            "option-reserved",
            f"{IDENTITY} is the option that carries a sender's group: class "
            f"{IDENTITY_LAYOUT.option_class:#06x}, type {IDENTITY_LAYOUT.option_type:#04x}",
            pointer="" if name == IDENTITY else "/type",
        )


def _check_replaced(
    intent: Intent,
    name: str,
    spec: OptionSchemaSpec,
    layout: OptionLayout,
    held: Object[OptionSchemaSpec] | None,
) -> None:
    if spec.replaces is None or (held is not None and held.spec.replaces == spec.replaces):
        return  # the version before may be gone by now
    before = intent.option_schemas.get(spec.replaces)
    if before is None or spec.replaces == name:
        reason = f"there is no option schema {spec.replaces} before this"
        raise Invalid("option-schema-unknown", reason, pointer="/replaces")
    if before.spec.layout.option_class != layout.option_class:
        reason = f"{before.id} is of class {before.spec.layout.option_class:#06x}: versions share their class"
        raise Invalid("class-differs", reason, pointer="/class", holder=before.id)


def _check_type(intent: Intent, name: str, layout: OptionLayout) -> None:
    holder = intent.schema_by_type(layout.option_class, layout.option_type)
    what = f"type {layout.option_type:#04x} of class {layout.option_class:#06x}"
    check_free(holder, Kind.OPTION_SCHEMA, name, code="option-type-taken", what=what, at="/type")


def _check_shape_stays(held: Object[OptionSchemaSpec], layout: OptionLayout) -> None:
    before = held.spec.layout
    for key, was, wanted in (
        ("class", f"{before.option_class:#06x}", f"{layout.option_class:#06x}"),
        ("type", f"{before.option_type:#04x}", f"{layout.option_type:#04x}"),
        ("length", f"{before.length} bytes", f"{layout.length} bytes"),
    ):
        if was != wanted:
            raise Conflict(
                "immutable",
                f"{key} is {was} and stays so: hosts that know the old shape would misread the new one; "
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
