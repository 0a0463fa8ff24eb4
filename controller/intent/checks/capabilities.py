# SPDX-License-Identifier: Apache-2.0
"""What hosts told that they can parse decides what may be sent to them (RFC 8926 3.5.1, 4.5.1.1)."""

from __future__ import annotations

from controller.errors import Conflict
from controller.intent.allocate import slot_bytes
from controller.intent.intent import Intent
from controller.intent.model import Kind, Object, OptionSchemaSpec, object_id
from ovs_geneve.geneve.fields import OptionLayout
from ovs_geneve.values import is_critical


def check_parsable(intent: Intent, schema: Object[OptionSchemaSpec], at: str) -> None:
    """Refuse a critical option unless every host is known to understand it: the others drop its packets."""
    layout = schema.spec.layout
    if not is_critical(layout.option_type):
        return
    for name in sorted(intent.hosts):
        held = intent.capabilities.get(name)
        if held is None or not held.spec.critical:
            why = "has not told what it can parse" if held is None else "drops packets with critical options"
            raise Conflict(
                "peer-cannot-parse",
                f"{schema.id} is critical and host {name} {why}",
                pointer=at,
                holder=object_id(Kind.HOST, name),
            )


def check_room(intent: Intent, layout: OptionLayout) -> None:
    """Refuse an option that the bridge of some host has no room for, or that somebody else mapped there."""
    wanted = slot_bytes(intent) + layout.length
    for name, held in sorted(intent.capabilities.items()):
        for one in held.spec.foreign:
            if (one.option_class, one.option_type) == layout.key:
                raise Conflict(
                    "option-type-foreign",
                    f"on host {name} somebody else mapped this class and type to tun_metadata{one.index}",
                    pointer="/type",
                    holder=object_id(Kind.HOST, name),
                )
        most = held.spec.max_option_bytes
        others = sum(one.length for one in held.spec.foreign)
        if most and wanted + others > most:
            raise Conflict(
                "peer-cannot-parse",
                f"host {name} has room for {most} bytes of options: {wanted} of ours and {others} of others do not fit",
                pointer="/length",
                holder=object_id(Kind.HOST, name),
            )
