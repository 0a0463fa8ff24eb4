# SPDX-License-Identifier: Apache-2.0
"""Options that other systems gave a meaning: declared as they are theirs, or not at all."""

from __future__ import annotations

from dataclasses import replace

from controller.errors import Conflict, Invalid
from ovs_geneve.geneve.fields import OptionLayout
from ovs_geneve.geneve.profiles import layout_of, lengths_of, options_of, profiles


def settle_profile(layout: OptionLayout, profile: str) -> OptionLayout:
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


def check_no_profile(layout: OptionLayout) -> None:
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
