# SPDX-License-Identifier: Apache-2.0
"""What is given out rather than asked for: VNIs, slots, identities, object keys. Always the lowest free one.

A VNI that users leave open comes from 4096 upwards, so that numbers picked by hand (few digits, VLAN IDs
carried over) do not collide with it. A tun_metadata slot that a deleted schema gave back is given again after a rest; a
key never is, because cookies of flows that outlived their object still name it.
"""

from __future__ import annotations

from controller.errors import Conflict
from controller.intent.identity import MAX_IDENTITY
from controller.intent.index import VNI_BLOCK_BITS, vni_blocks
from controller.intent.intent import Intent
from controller.intent.model import FIRST_DIRECT_VNI, MAX_KEY, Kind, ObjectKey, object_id
from ovs_geneve.values import Vni

FIRST_ALLOCATED_VNI = 4096
MAX_VNI = FIRST_DIRECT_VNI - 1

SLOTS = 64
"tun_metadata0 to tun_metadata63 (OVS lib/tun-metadata.h: TUN_METADATA_NUM_OPTS)."

SLOT_BYTES = 256
"Data of all mapped options of a bridge together (OVS lib/tun-metadata.h: TUN_METADATA_TOT_OPT_SIZE)."


def free_vni(intent: Intent) -> Vni:
    """Return the lowest free VNI from 4096; full blocks are passed over as a whole."""
    candidate = FIRST_ALLOCATED_VNI
    while candidate <= MAX_VNI:
        if intent.network_by_vni(candidate) is None:
            return Vni(candidate)
        candidate = _behind_full_blocks(intent, candidate)
    raise Conflict("vnis-exhausted", "every VNI from 4096 on is taken", pointer="/vni")


def free_slot(intent: Intent, length: int) -> int:
    """Return the lowest free tun_metadata slot if `length` more bytes fit; raise Conflict otherwise.

    Free is what no schema has, no retired one rests in, and nobody else mapped on any host.
    """
    held = slot_bytes(intent)
    if held + length > SLOT_BYTES:
        raise Conflict(
            "option-bytes-exhausted",
            f"{length} bytes do not fit: option schemas hold {held} of the {SLOT_BYTES} that OVS has in all",
            pointer="/length",
            holder=_best_to_give_up(intent),
        )
    foreign = {one.index for host in intent.capabilities.values() for one in host.spec.foreign}
    for slot in range(SLOTS):
        if (
            intent.schema_by_slot(slot) is None
            and intent.retired_by_slot(slot) is None
            and slot not in foreign
        ):
            return slot
    raise Conflict(
        "option-slots-exhausted",
        f"option schemas hold all {SLOTS} tun_metadata slots of OVS",
        holder=_best_to_give_up(intent),
    )


def slot_bytes(intent: Intent) -> int:
    """Return how many bytes declared options and those that rest hold of what a bridge has."""
    declared = sum(schema.spec.layout.length for schema in intent.option_schemas.values())
    return declared + sum(retired.spec.tlv_map.length for retired in intent.retired_slots.values())


def free_identity(intent: Intent) -> int:
    """Return the lowest identity that no group has; raise Conflict when there is none."""
    taken = {group.spec.identity for group in intent.groups.values()}
    for identity in range(1, MAX_IDENTITY + 1):
        if identity not in taken:
            return identity
    raise Conflict("identities-exhausted", f"there are {MAX_IDENTITY} groups", pointer="/identity")


def next_key(intent: Intent, further: int = 0) -> ObjectKey:
    """Return a key that no object has or had, `further` keys on; raise Conflict when there is none left."""
    key = intent.last_key + 1 + further
    if key > MAX_KEY:
        raise Conflict("keys-exhausted", f"{MAX_KEY} objects were made in this store: it can name no more")
    return ObjectKey(key)


def _behind_full_blocks(intent: Intent, taken: int) -> int:
    """Return the next candidate: behind the largest full block that `taken` begins, or just the next."""
    step = 1
    for level, block in enumerate(vni_blocks(taken), start=1):
        size = 1 << level * VNI_BLOCK_BITS
        if taken % size == 0 and len(intent.group(*block)) == size:
            step = size
    return taken + step


def _best_to_give_up(intent: Intent) -> str:
    """Name the schema whose removal helps soonest: one that no network uses, else the largest."""

    def cost(name: str) -> tuple[bool, int, str]:
        return bool(intent.networks_using(name)), -intent.option_schemas[name].spec.layout.length, name

    return object_id(Kind.OPTION_SCHEMA, min(intent.option_schemas, key=cost))
