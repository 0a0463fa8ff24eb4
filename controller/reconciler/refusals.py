# SPDX-License-Identifier: Apache-2.0
"""What a switch refused of what it was sent, until the compiler says something else in its place."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.compiler import groups
from controller.compiler.cookies import parse
from controller.hoststate import HostDelta
from controller.reconciler.plan import is_deletion
from ovs_geneve.openflow import events
from ovs_geneve.openflow.messages import MessageType
from ovs_geneve.openflow.template import message_key

_COOKIE = slice(8, 16)
_GROUP_ID = slice(12, 16)


@dataclass(slots=True)
class Refusals:
    """What the switch refused, and why."""

    flows: dict[bytes, bytes] = field(default_factory=dict)
    "Message by flow key."
    groups: dict[int, bytes] = field(default_factory=dict)
    "Message by group."
    objects: dict[int, str] = field(default_factory=dict)
    "OVS's error name by the key of the object that asked for it."
    meters: str = ""
    "OVS's error name where the bridge has no meters, or none left: its flows are programmed without."
    bridge: str = ""
    "OVS's error name where it is no object's own: the TLV map, a bundle as a whole."

    def note(self, refusal: events.Refusal) -> bool:
        """Remember one refusal; tell whether leaving something out can cure it."""
        kind = refusal.message[1] if len(refusal.message) > 1 else None
        if kind == MessageType.METER_MOD and not is_deletion(refusal.message):
            self.meters = refusal.name
            return True
        ours = refusal.index is not None and kind in (MessageType.FLOW_MOD, MessageType.GROUP_MOD)
        if not ours or is_deletion(refusal.message):
            self.bridge = refusal.name
            return False
        if kind == MessageType.FLOW_MOD:
            self.flows[message_key(refusal.message)] = refusal.message
            owner = _object_of(refusal.message)
        else:
            group_id = int.from_bytes(refusal.message[_GROUP_ID])
            self.groups[group_id] = refusal.message
            owner = groups.network_key_of(group_id)
        self.objects.setdefault(owner, refusal.name)
        return True

    def forget(self, delta: HostDelta) -> None:
        """Give what now looks otherwise another chance."""
        flows, group_ids = delta.flows.keys() & self.flows.keys(), delta.groups.keys() & self.groups.keys()
        if not flows and not group_ids:
            return
        for key in flows:
            del self.flows[key]
        for group_id in group_ids:
            del self.groups[group_id]
        # An object stays refused as long as anything of it is.
        left = {_object_of(message) for message in self.flows.values()}
        left.update(groups.network_key_of(group_id) for group_id in self.groups)
        self.objects = {owner: name for owner, name in self.objects.items() if owner in left}


def _object_of(flow_mod: bytes) -> int:
    return parse(int.from_bytes(flow_mod[_COOKIE])).object_key
