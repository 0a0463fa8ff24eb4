# SPDX-License-Identifier: Apache-2.0
"""What a host's bridge holds, desired or observed, and what differs: plain values between compiler and reconciler."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import NamedTuple

from ovs_geneve.openflow.action_codec import uses_meter
from ovs_geneve.openflow.bundle import Block
from ovs_geneve.openflow.events import Step
from ovs_geneve.openflow.meters import MeterEntry, contents
from ovs_geneve.openflow.tlv_table import TlvMap

# Of a FLOW_MOD in its wrapping: cookie, table, priority and the length of the match (openflow-1.5.1 7.3.4.2).
_WRAPPED_FLOW = Struct("!24xQ8xB5xH18xH")
_MATCH_AT = 64
_TERMS_AT = 68
_KEY = Struct("!BH")


class EncodedFlow(NamedTuple):
    """A flow as bytes, one of a block's."""

    key: bytes
    "Table, priority and raw match: what makes it the same flow in a switch."
    cookie: int
    wrapped: bytes
    "The FLOW_MOD that adds or replaces it, as it travels in a bundle."

    @property
    def message(self) -> bytes:
        """The FLOW_MOD without its wrapping, with transaction id 0."""
        (message,) = Block(self.wrapped, (len(self.wrapped),)).messages()
        return message


class EncodedGroup(NamedTuple):
    """A group as bytes."""

    group_id: int
    content: bytes
    "Canonical buckets: equal when a switch's group does the same."
    message: bytes
    "The GROUP_MOD that adds or replaces it, with transaction id 0."


def flows_of(block: Block) -> Iterator[EncodedFlow]:
    """Yield the flows in a block of FLOW_MODs."""
    data, start = block.data, 0
    for (key, cookie), end in zip(cookies_of(block), block.ends, strict=True):
        yield EncodedFlow(key, cookie, data[start:end])
        start = end


def cookies_of(block: Block) -> Iterator[tuple[bytes, int]]:
    """Yield key and cookie of the flows in a block of FLOW_MODs."""
    data, start = block.data, 0
    for end in block.ends:
        cookie, table, priority, match_length = _WRAPPED_FLOW.unpack_from(data, start)
        yield _KEY.pack(table, priority) + data[start + _TERMS_AT : start + _MATCH_AT + match_length], cookie
        start = end


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What a host's OVSDB says that flows depend on."""

    dpid: int = 0
    "0 while the bridge is not there."
    ofports: Mapping[str, int] = field(default_factory=dict)
    "OpenFlow port by external_ids:iface-id, of the interfaces on our bridge that work."


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """Everything of ours that a bridge should hold."""

    tlv_maps: frozenset[TlvMap]
    flows: Mapping[bytes, EncodedFlow]
    groups: Mapping[int, EncodedGroup]
    released: frozenset[TlvMap] = frozenset()
    "What we mapped once and a bridge is to let go; mappings that are in neither set are somebody else's."
    meters: frozenset[MeterEntry] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """All of a `HostState` as bytes, for a bridge that holds nothing of ours: no flow is looked at."""

    tlv_maps: frozenset[TlvMap]
    blocks: Sequence[Block]
    "Groups first, then flows."
    released: frozenset[TlvMap] = frozenset()
    meters: frozenset[MeterEntry] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Everything of ours that a bridge does hold, as it reported."""

    tlv_maps: frozenset[TlvMap] = frozenset()
    "All of them: only who knows what we mapped can tell ours from others'."
    flows: Mapping[bytes, int] = field(default_factory=dict)
    "Cookie by flow key."
    groups: Mapping[int, bytes] = field(default_factory=dict)
    "Canonical buckets by group."
    meters: Mapping[int, bytes] = field(default_factory=dict)
    "`MeterEntry.content` by meter."


class Held(NamedTuple):
    """What of a bridge the steps of a delta start from."""

    tlv_maps: frozenset[TlvMap] = frozenset()
    meters: Mapping[int, bytes] = {}


@dataclass(slots=True)
class HostDelta:
    """What is to change on a bridge; None deletes. Later deltas are folded in, so it never outgrows the bridge."""

    flows: dict[bytes, EncodedFlow | None] = field(default_factory=dict)
    groups: dict[int, EncodedGroup | None] = field(default_factory=dict)
    tlv_maps: frozenset[TlvMap] | None = None
    "All that we want mapped from now on; None leaves it as it is."
    released: frozenset[TlvMap] = frozenset()
    "What is to be mapped no more; all else stays, whoever mapped it. Empty unless `tlv_maps` is there."
    meters: frozenset[MeterEntry] | None = None
    "All meters wanted from now on; None leaves them as they are."
    planned: tuple[Held, tuple[Step, ...]] | None = field(default=None, compare=False, repr=False)
    "The steps that `plan` found last, and for what they start from: hosts that share a delta share its bytes."

    def __bool__(self) -> bool:
        return bool(self.flows or self.groups or self.tlv_maps is not None or self.meters is not None)

    def fold(self, later: HostDelta) -> None:
        """Make this delta do what it did and then what `later` does."""
        self.planned = None
        self.flows.update(later.flows)
        self.groups.update(later.groups)
        if later.tlv_maps is not None:
            self.tlv_maps, self.released = later.tlv_maps, later.released
        if later.meters is not None:
            self.meters = later.meters

    def replace_flows(self, old: Iterable[EncodedFlow], new: Iterable[EncodedFlow]) -> None:
        """Record that `new` stand where `old` stood; what is in both alike is not touched."""
        before = {flow.key: flow for flow in old}
        for flow in new:
            stood = before.pop(flow.key, None)
            if stood is None or stood.wrapped != flow.wrapped:
                self.flows[flow.key] = flow
        for key in before:
            self.flows[key] = None

    def replace_groups(self, old: Iterable[EncodedGroup], new: Iterable[EncodedGroup]) -> None:
        """Record that `new` stand where `old` stood."""
        before = {group.group_id: group for group in old}
        for group in new:
            stood = before.pop(group.group_id, None)
            if stood is None or stood.message != group.message:
                self.groups[group.group_id] = group
        for group_id in before:
            self.groups[group_id] = None


def difference(desired: HostState, observed: Observed) -> HostDelta:
    """Return what makes an observed bridge the desired one."""
    delta = HostDelta()
    for key, flow in desired.flows.items():
        if observed.flows.get(key) != flow.cookie:
            delta.flows[key] = flow
    for key in observed.flows.keys() - desired.flows.keys():
        delta.flows[key] = None
    for group_id, group in desired.groups.items():
        if observed.groups.get(group_id) != group.content:
            delta.groups[group_id] = group
    for group_id in observed.groups.keys() - desired.groups.keys():
        delta.groups[group_id] = None
    if not maps_fit(desired.tlv_maps, desired.released, observed.tlv_maps):
        delta.tlv_maps, delta.released = desired.tlv_maps, desired.released
    if contents(desired.meters) != observed.meters:
        delta.meters = desired.meters
        lost = {meter.meter_id for meter in desired.meters} - observed.meters.keys()
        delta.flows.update(_flows_within(lost, desired))
    return delta


def maps_fit(wanted: frozenset[TlvMap], released: frozenset[TlvMap], observed: frozenset[TlvMap]) -> bool:
    """Tell whether a bridge maps all that it should and nothing that it should not."""
    return wanted <= observed and released.isdisjoint(observed)


def _flows_within(meters: Collection[int], desired: HostState) -> Iterator[tuple[bytes, EncodedFlow]]:
    """Yield the flows that meters limit: OVS looks a meter up when the flow is installed, and not again."""
    for key, flow in desired.flows.items() if meters else ():
        if any(uses_meter(flow.wrapped, meter_id) for meter_id in meters):
            yield key, flow
