# SPDX-License-Identifier: Apache-2.0
"""What `?dry_run=true` answers with: the plan of a change that is not made."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from controller.intent.allocate import SLOT_BYTES, SLOTS
from controller.intent.commands import Decision
from controller.intent.intent import Intent
from controller.intent.model import Change, object_id
from controller.intent.preview import NetworkPreview, SlotUse, preview
from ovs_geneve.offload.profile import OffloadProfile


class PlannedChangeView(Struct):
    """An object that would be made, changed or taken away."""

    change: Literal["create", "change", "delete"]
    object: Annotated[str, Meta(examples=["network/blue"])]


class SlotUseView(Struct):
    """What of a bridge's tun_metadata is used, of 64 slots and 256 bytes."""

    used: int
    bytes: int


class SlotsView(Struct, kw_only=True):
    """Slots before and after the change."""

    before: SlotUseView
    after: SlotUseView
    slot: Annotated[int | None, Meta(description="That the option schema would have.")]
    most: int = SLOTS
    most_bytes: int = SLOT_BYTES


class OffloadView(Struct):
    """Which NICs can be hoped to handle packets with these options."""

    verdict: str
    reason: str


class PlannedNetworkView(Struct, kw_only=True):
    """A network whose packets would change their size."""

    name: str
    option_bytes_before: int | None
    option_bytes_after: int | None
    mtu_before: int | None
    mtu_after: int | None
    offload: OffloadView


class PlannedRolloutView(Struct):
    """An option that would be brought in or out, step by step."""

    network: str
    schema: str
    direction: Literal["in", "out"]


class ObjectionView(Struct):
    """A host that would not take an option."""

    host: str
    reason: str


class PlanView(Struct, kw_only=True):
    """What would come of a change. Nothing was stored."""

    dry_run: bool = True
    revision: Annotated[int, Meta(description="Of the intent that the plan is made on.")]
    changes: list[PlannedChangeView]
    slots: SlotsView
    networks: list[PlannedNetworkView]
    rollouts: list[PlannedRolloutView]
    refusing: Annotated[list[ObjectionView], Meta(description="Hosts that must not be sent the option.")]
    offload: Annotated[OffloadView | None, Meta(description="Of the option schema, alone on a packet.")]


def plan_view(intent: Intent, decision: Decision) -> PlanView:
    """Show what would come of a decision."""
    found = preview(intent, decision)
    before, after = found.slots
    return PlanView(
        revision=intent.revision,
        changes=[_change(change) for change in found.changes],
        slots=SlotsView(before=_use(before), after=_use(after), slot=found.slot),
        networks=[_network(one) for one in found.networks],
        rollouts=[
            PlannedRolloutView(one.network, one.schema, "in" if one.incoming else "out")
            for one in found.rollouts
        ],
        refusing=[ObjectionView(one.host, one.reason) for one in found.objections],
        offload=None if found.offload is None else _offload(found.offload),
    )


def _change(change: Change) -> PlannedChangeView:
    verb: Literal["create", "change", "delete"] = "change"
    if change.old is None or change.new is None:
        verb = "create" if change.old is None else "delete"
    return PlannedChangeView(verb, object_id(change.kind, change.name))


def _use(use: SlotUse) -> SlotUseView:
    return SlotUseView(use.slots, use.data_bytes)


def _offload(profile: OffloadProfile) -> OffloadView:
    return OffloadView(profile.verdict.value, profile.reason)


def _network(one: NetworkPreview) -> PlannedNetworkView:
    return PlannedNetworkView(
        name=one.name,
        option_bytes_before=one.option_bytes[0],
        option_bytes_after=one.option_bytes[1],
        mtu_before=one.mtu[0],
        mtu_after=one.mtu[1],
        offload=_offload(one.offload),
    )
