# SPDX-License-Identifier: Apache-2.0
"""A rollout's steps in words, for who reads events. Pure."""

from __future__ import annotations

from controller.intent.model import Change, Kind, RolloutSpec


def describe(change: Change) -> tuple[str, str] | None:
    """Return the network and what happened to an option of it; None for what is no step of a rollout."""
    if change.kind is not Kind.ROLLOUT:
        return None
    before, after = (None if one is None else one.spec for one in (change.old, change.new))
    spec = after or before
    assert isinstance(spec, RolloutSpec)
    way = "in" if spec.incoming else "out"
    if after is None:
        return spec.network, f"option {spec.schema} {way}: over"
    said = f": {spec.reason}" if spec.reason else ""
    return spec.network, f"option {spec.schema} {way}, {spec.stage.value}{said}"
