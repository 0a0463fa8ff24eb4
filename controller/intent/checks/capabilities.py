# SPDX-License-Identifier: Apache-2.0
"""What hosts told that they can parse decides what may be sent to them (RFC 8926 3.5.1, 4.5.1.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controller.errors import Conflict
from controller.intent.allocate import slot_bytes
from controller.intent.intent import Intent
from controller.intent.model import Kind, Object, OptionSchemaSpec, TunnelStyle, object_id
from ovs_geneve.geneve.fields import OptionLayout
from ovs_geneve.values import is_critical


class Objection(NamedTuple):
    """A host that would not take an option, and why."""

    host: str
    reason: str
    code: str
    pointer: str


def check_parsable(intent: Intent, schema: Object[OptionSchemaSpec], at: str) -> None:
    """Refuse to send an option that some host drops packets for."""
    for one in objections_to_sending(intent, schema.spec.layout):
        raise Conflict(
            one.code, f"{schema.id}: {one.reason}", pointer=at, holder=object_id(Kind.HOST, one.host)
        )


def check_room(intent: Intent, layout: OptionLayout) -> None:
    """Refuse an option that the bridge of some host has no room for, or that somebody else mapped there."""
    for one in objections_to_mapping(intent, layout):
        raise Conflict(one.code, one.reason, pointer=one.pointer, holder=object_id(Kind.HOST, one.host))


def objections_to_sending(intent: Intent, layout: OptionLayout) -> Iterator[Objection]:
    """Yield the hosts that must not be sent an option: they drop critical ones, or have not told.

    Linux hosts with fixed tunnels are not among them: no port of a network with critical options is bound there.
    """
    if not is_critical(layout.option_type):
        return
    for name in sorted(intent.hosts):
        if intent.hosts[name].spec.tunnels is TunnelStyle.FIXED:
            continue
        held = intent.capabilities.get(name)
        if held is None or not held.spec.critical:
            why = "has not told what it can parse" if held is None else "drops packets with critical options"
            yield Objection(name, f"it is critical, and host {name} {why}", "peer-cannot-parse", "/type")


def objections_to_mapping(intent: Intent, layout: OptionLayout) -> Iterator[Objection]:
    """Yield the hosts whose bridges cannot map a new option beside what they map now; Linux hosts map none."""
    wanted = slot_bytes(intent) + layout.length
    for name, held in sorted(intent.capabilities.items()):
        if name in intent.linux_hosts:
            continue
        for one in held.spec.foreign:
            if (one.option_class, one.option_type) == layout.key:
                reason = f"on host {name} somebody else mapped this class and type to tun_metadata{one.index}"
                yield Objection(name, reason, "option-type-foreign", "/type")
        most = held.spec.max_option_bytes
        others = sum(one.length for one in held.spec.foreign)
        if most and wanted + others > most:
            reason = (
                f"host {name} has room for {most} bytes of options: "
                f"{wanted} of ours and {others} of others do not fit"
            )
            yield Objection(name, reason, "peer-cannot-parse", "/length")
