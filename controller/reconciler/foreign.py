# SPDX-License-Identifier: Apache-2.0
"""A bridge's TLV map is shared with others: what they mapped stays, and what of ours does not fit is left out. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from controller.hoststate import EncodedFlow, HostDelta
from ovs_geneve.openflow.tlv_table import TlvMap
from ovs_geneve.openflow.uses import slots_used

ALL_SPACE = 256
"Bytes of options that OVS has for a bridge (lib/tun-metadata.h: TUN_METADATA_TOT_OPT_SIZE), until it tells otherwise."


@dataclass(frozen=True, slots=True, order=True)
class Taken:
    """A mapping of ours that a bridge has no place for."""

    ours: TlvMap
    theirs: TlvMap | None = None
    "The mapping of somebody else that holds the slot or the option; None where there is no room for the bytes."

    def __str__(self) -> str:
        option = f"class {self.ours.option_class:#06x}, type {self.ours.option_type:#04x}"
        slot = f"tun_metadata{self.ours.index}"
        if self.theirs is None:
            return f"there is no room for {self.ours.length} bytes more, of {slot} ({option})"
        held = f"class {self.theirs.option_class:#06x}, type {self.theirs.option_type:#04x}"
        if self.theirs.index == self.ours.index:
            return f"{slot} is to be {option}: somebody else mapped it to {held}"
        return f"{option} is to be {slot}: somebody else mapped it to tun_metadata{self.theirs.index}"


def foreign_maps(
    mapped: frozenset[TlvMap], wanted: frozenset[TlvMap], released: frozenset[TlvMap]
) -> frozenset[TlvMap]:
    """Return what others mapped: what is neither wanted nor to be let go."""
    return mapped - wanted - released


def find_taken(
    mapped: frozenset[TlvMap], wanted: frozenset[TlvMap], released: frozenset[TlvMap], space: int = ALL_SPACE
) -> tuple[Taken, ...]:
    """Return what of ours a bridge whose TLV map is `mapped` cannot have because of others.

    OVS refuses a NXT_TLV_TABLE_MOD as a whole for one such mapping (OVS lib/tun-metadata.c, tun_metadata_table_mod).
    """
    foreign = foreign_maps(mapped, wanted, released)
    if not foreign:
        return ()
    holders = {one.index: one for one in foreign}
    options = {(one.option_class, one.option_type): one for one in foreign}
    left = space - sum(one.length for one in foreign | wanted & mapped)
    taken = []
    for one in sorted(wanted - mapped, key=lambda one: one.index):
        theirs = holders.get(one.index) or options.get((one.option_class, one.option_type))
        if theirs is None and one.length <= left:
            left -= one.length
        else:
            taken.append(Taken(one, theirs))
    return tuple(taken)


def leaving_out(delta: HostDelta, taken: tuple[Taken, ...]) -> tuple[HostDelta, dict[bytes, EncodedFlow]]:
    """Return a delta without the mappings that are taken and the flows that need them, and those flows.

    Such a flow must not reach the bridge: OVS would take it for the other's option, if the slot is mapped to one. What
    stood in its place goes, lest it hold on to a slot that it alone still uses.
    """
    slots = {one.ours.index for one in taken}
    left_out = {
        key: flow
        for key, flow in delta.flows.items()
        if flow is not None and not slots.isdisjoint(slots_used(flow.message))
    }
    maps = delta.tlv_maps
    kept = HostDelta(
        flows={key: None if key in left_out else flow for key, flow in delta.flows.items()},
        groups=dict(delta.groups),
        tlv_maps=None if maps is None else maps - {one.ours for one in taken},
        released=delta.released,
        meters=delta.meters,
    )
    return kept, left_out
