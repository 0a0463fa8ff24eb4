# SPDX-License-Identifier: Apache-2.0
"""From what differs to ordered steps: the one place that knows the order. Pure.

    meters that are missing or differ ─► map new options ─► one bundle: groups, flows, groups that go
      ─► unmap old options ─► delete meters that go

A flow may use a slot only while it is mapped, and OVS unmaps none that a flow uses. What others mapped stays. Where a
slot is to mean another option than before, what uses it goes first:

    bundle: delete the flows that differ ─► unmap ─► map ─► bundle: groups, flows, groups that go

OVS looks up the meters of a flow when it takes the flow in, and deletes flows with a meter that goes. So meters come
first and go last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

from controller.compiler.cookies import OWNER_COOKIE, OWNER_MASK
from controller.hoststate import EncodedFlow, EncodedGroup, Held, HostDelta, Installation
from ovs_geneve.openflow.bundle import Block, Wrapped
from ovs_geneve.openflow.events import Bundle, MapTlv, SetMeters, Step, UnmapTlv
from ovs_geneve.openflow.fields import HEADER_SIZE, MAX_TUN_METADATA, tun_metadata
from ovs_geneve.openflow.flow import GroupEntry, GroupKind
from ovs_geneve.openflow.messages import MessageType
from ovs_geneve.openflow.meters import MeterCommand, MeterEntry, contents
from ovs_geneve.openflow.template import (
    OFPFC_DELETE_STRICT,
    GroupCommand,
    encode_flow_delete,
    encode_group,
)
from ovs_geneve.openflow.tlv_table import TlvMap

_FLOW_COMMAND_AT = 25
_GROUP_COMMAND = _METER_COMMAND = slice(8, 10)

_BLOCK_MESSAGES = 200
"A block leaves whole: so many flows are about a quarter of what a connection sends in a turn."

_MATCH_AT = 3
"Where the match begins in a flow key, behind table and priority."

_OPTIONS = frozenset(
    header[:3]
    for option in (tun_metadata(index, 0) for index in range(MAX_TUN_METADATA))
    for header in (option.header, option.masked_header)
)
"What the headers of tun_metadata begin with, whatever their length."


def plan(delta: HostDelta, held: Held) -> tuple[Step, ...]:
    """Return the steps that carry out a delta on a bridge that holds this; none if nothing differs."""
    if delta.planned is None or delta.planned[0] != held:
        delta.planned = held, _plan(delta, held)
    return delta.planned[1]


def plan_installation(whole: Installation, held: Held) -> tuple[Step, ...]:
    """Return the steps that put everything on a bridge that has none of our flows and groups."""
    wanted = mapped_after(held.tlv_maps, whole.tlv_maps, whole.released)
    steps = _ordered(held.tlv_maps, wanted, clear=Bundle(()), bundle=_bundle(whole.blocks))
    return _within_meters(steps, held.meters, whole.meters)


def mapped_after(
    mapped: frozenset[TlvMap], wanted: frozenset[TlvMap] | None, released: frozenset[TlvMap]
) -> frozenset[TlvMap]:
    """Return a bridge's TLV map as it is to become: only what is released goes, others' mappings stay."""
    return mapped if wanted is None else mapped - released | wanted


def _plan(delta: HostDelta, held: Held) -> tuple[Step, ...]:
    mapped = held.tlv_maps
    wanted = mapped_after(mapped, delta.tlv_maps, delta.released)
    if _clash(mapped, wanted):
        clear = _bundle(_each(_delete(key) for key in delta.flows if _may_be_there(key, mapped)))
        steps = _ordered(mapped, wanted, clear=clear, bundle=_bundle(_blocks(delta)))
    else:
        bundle = _bundle(_blocks(delta, deletions_on=mapped))
        steps = _ordered(mapped, wanted, clear=Bundle(()), bundle=bundle)
    return steps if delta.meters is None else _within_meters(steps, held.meters, delta.meters)


def _within_meters(
    steps: tuple[Step, ...], have: Mapping[int, bytes], wanted: frozenset[MeterEntry]
) -> tuple[Step, ...]:
    """Put what meters need before and after the steps that use them."""
    ordered = sorted(wanted, key=lambda meter: meter.meter_id)
    come = SetMeters(
        add=tuple(meter for meter in ordered if meter.meter_id not in have),
        change=tuple(meter for meter in ordered if have.get(meter.meter_id, meter.content) != meter.content),
    )
    go = SetMeters(delete=tuple(sorted(have.keys() - contents(wanted).keys())))
    nothing = SetMeters()
    return (*((come,) if come != nothing else ()), *steps, *((go,) if go != nothing else ()))


def _ordered(
    mapped: frozenset[TlvMap], wanted: frozenset[TlvMap], *, clear: Bundle, bundle: Bundle
) -> tuple[Step, ...]:
    come, go = tuple(sorted(wanted - mapped)), tuple(sorted(mapped - wanted))
    steps: tuple[Bundle | MapTlv | UnmapTlv, ...]
    if _clash(mapped, wanted):
        steps = clear, UnmapTlv(go), MapTlv(come), bundle
    else:
        steps = MapTlv(come), bundle, UnmapTlv(go)
    return tuple(step for step in steps if not _is_empty(step))


def _bundle(blocks: Iterable[Block]) -> Bundle:
    # What one refused message would undo is planned anew without it anyway: nothing is gained by waiting.
    return Bundle(Wrapped(blocks), at_once=True)


def _clash(mapped: frozenset[TlvMap], wanted: frozenset[TlvMap]) -> bool:
    """Tell whether a new mapping needs a slot or an option that an old one still holds."""
    slots = {old.index for old in mapped - wanted}
    options = {(old.option_class, old.option_type) for old in mapped - wanted}
    come = wanted - mapped
    return any(new.index in slots or (new.option_class, new.option_type) in options for new in come)


def _blocks(delta: HostDelta, deletions_on: frozenset[TlvMap] | None = None) -> Iterable[Block]:
    yield from _each(group.message for group in delta.groups.values() if group is not None)
    stand = iter([flow.wrapped for flow in delta.flows.values() if flow is not None])
    while run := tuple(islice(stand, _BLOCK_MESSAGES)):
        yield Block.of_wrapped(run)
    if deletions_on is not None:
        go = (key for key, flow in delta.flows.items() if flow is None and _may_be_there(key, deletions_on))
        yield from _each(map(_delete, go))
    yield from _each(_delete_group(group_id) for group_id, group in delta.groups.items() if group is None)


def _each(messages: Iterable[bytes]) -> Iterable[Block]:
    return Wrapped.of(messages, _BLOCK_MESSAGES).blocks


def _may_be_there(key: bytes, mapped: frozenset[TlvMap]) -> bool:
    """Tell whether a bridge with this TLV map can hold a flow: OVS refuses even to delete any other."""
    fields = [tun_metadata(option.index, option.length) for option in mapped]
    known = {header for field in fields for header in (field.header, field.masked_header)}
    return all(header in known for header in _headers(key) if header[:3] in _OPTIONS)


def _headers(key: bytes) -> Iterable[bytes]:
    """Yield the OXM headers of a flow key, which may have fields that nothing here knows."""
    at = _MATCH_AT
    while at < len(key):
        yield key[at : at + HEADER_SIZE]
        at += HEADER_SIZE + key[at + HEADER_SIZE - 1]


def _delete(key: bytes) -> bytes:
    # The cookie keeps us from deleting a flow that somebody else put in the place of ours.
    return encode_flow_delete(key, cookie=OWNER_COOKIE, cookie_mask=OWNER_MASK)


def _delete_group(group_id: int) -> bytes:
    return encode_group(GroupCommand.DELETE, GroupEntry(group_id=group_id, kind=GroupKind.ALL))


def _is_empty(step: Bundle | MapTlv | UnmapTlv) -> bool:
    return not (step.messages if isinstance(step, Bundle) else step.maps)


def is_deletion(message: bytes) -> bool:
    """Tell whether a FLOW_MOD, GROUP_MOD or METER_MOD deletes: leaving that out would leave the bridge wrong."""
    if message[1] == MessageType.METER_MOD:
        return int.from_bytes(message[_METER_COMMAND]) == MeterCommand.DELETE
    if message[1] == MessageType.FLOW_MOD:
        return message[_FLOW_COMMAND_AT] == OFPFC_DELETE_STRICT
    return int.from_bytes(message[_GROUP_COMMAND]) == GroupCommand.DELETE


def excluding(delta: HostDelta, flows: Mapping[bytes, bytes], groups: Mapping[int, bytes]) -> HostDelta:
    """Leave out what the switch refused before: `flows` and `groups` say which message it was."""

    def accepted(item: EncodedFlow | EncodedGroup | None, refused: bytes | None) -> bool:
        return item is None or refused is None or item.message != refused

    return HostDelta(
        flows={key: flow for key, flow in delta.flows.items() if accepted(flow, flows.get(key))},
        groups={
            number: group for number, group in delta.groups.items() if accepted(group, groups.get(number))
        },
        tlv_maps=delta.tlv_maps,
        released=delta.released,
        meters=delta.meters,
    )
