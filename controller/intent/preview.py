# SPDX-License-Identifier: Apache-2.0
"""What a command would come to, without doing it: slots, bytes, MTUs, hosts that object, offload. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from controller.intent.allocate import slot_bytes
from controller.intent.checks.capabilities import Objection, objections_to_sending
from controller.intent.commands import Decision
from controller.intent.intent import Intent
from controller.intent.model import Change, Kind, OptionSchemaSpec, RolloutSpec
from controller.intent.mtu import Underlay, network_fit, options_length
from controller.intent.offload_use import network_use, schema_use
from ovs_geneve.offload.profile import OffloadProfile, profile_of
from ovs_geneve.offload.verdict import NetworkUse


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotUse:
    """What declared options, and those that rest, take of a bridge."""

    slots: int
    data_bytes: int

    @classmethod
    def of(cls, intent: Intent) -> SlotUse:
        """Count."""
        slots = len(intent.option_schemas) + len(intent.retired_slots)
        return cls(slots=slots, data_bytes=slot_bytes(intent))


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPreview:
    """A network whose packets change their size; None where it is not there."""

    name: str
    option_bytes: tuple[int | None, int | None]
    "On the wire, headers included, before and after."
    mtu: tuple[int | None, int | None]
    offload: OffloadProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What would come of a command."""

    changes: tuple[Change, ...]
    slots: tuple[SlotUse, SlotUse]
    "Before and after."
    slot: int | None
    "Of the option schema that was asked about."
    networks: tuple[NetworkPreview, ...]
    rollouts: tuple[RolloutSpec, ...]
    objections: tuple[Objection, ...]
    "Hosts that must not be sent a schema that was asked about: no network will take it while they do."
    offload: OffloadProfile | None
    "Of the option schema that was asked about, if packets carried it alone."


def preview(before: Intent, decision: Decision) -> Preview:
    """Return what a decision comes to."""
    changes = decision.changes
    after = before.with_changes(changes, before.revision + 1) if changes else before
    asked = decision.result.spec if decision.result is not None else None
    schema = asked if isinstance(asked, OptionSchemaSpec) else None
    layout = None if schema is None else schema.layout
    return Preview(
        changes=changes,
        slots=(SlotUse.of(before), SlotUse.of(after)),
        slot=None if schema is None else schema.slot,
        networks=tuple(_networks(before, after, changes)),
        rollouts=tuple(
            change.new.spec
            for change in changes
            if change.new is not None and isinstance(change.new.spec, RolloutSpec)
        ),
        objections=() if layout is None else tuple(objections_to_sending(after, layout)),
        offload=None if schema is None else profile_of(schema_use(schema.layout.name, schema)),
    )


def _networks(before: Intent, after: Intent, changes: Iterable[Change]) -> Iterator[NetworkPreview]:
    kinds = {change.kind for change in changes}
    if Kind.HOST in kinds:
        names = sorted({*before.networks, *after.networks})
    else:
        names = sorted(change.name for change in changes if change.kind is Kind.NETWORK)
    underlays = tuple(Underlay.of(intent.hosts.values()) for intent in (before, after))
    for name in names:
        was, now = (
            _measured(intent, name, under) for intent, under in zip((before, after), underlays, strict=True)
        )
        if Kind.HOST in kinds and was == now:
            continue
        yield NetworkPreview(
            name=name,
            option_bytes=(was[0], now[0]),
            mtu=(was[1], now[1]),
            offload=profile_of(network_use(after, name) if name in after.networks else NetworkUse()),
        )


def _measured(intent: Intent, name: str, underlay: Underlay) -> tuple[int | None, int | None]:
    network = intent.networks.get(name)
    if network is None:
        return None, None
    found = network_fit(intent, name, underlay)
    return options_length(intent, name, network.spec.options), None if found is None else found.mtu
