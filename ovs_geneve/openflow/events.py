# SPDX-License-Identifier: Apache-2.0
"""What a session is asked to do (steps) and what it has to tell (events). Values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ovs_geneve.openflow.flow import GroupKind
from ovs_geneve.openflow.meters import MeterEntry
from ovs_geneve.openflow.tlv_table import TlvMap


@dataclass(frozen=True, slots=True)
class MapTlv:
    """Add options to the bridge's TLV map: all of them or none."""

    maps: tuple[TlvMap, ...]


@dataclass(frozen=True, slots=True)
class UnmapTlv:
    """Take options out of the bridge's TLV map; refused while a flow uses one of them.

    OVS lets go of a deleted flow only some milliseconds after the barrier (RCU): NXTTMFC_INVALID_TLV_DEL
    right after the deletion passes when it is tried again.
    """

    maps: tuple[TlvMap, ...]


@dataclass(frozen=True, slots=True)
class Bundle:
    """FLOW_MOD and GROUP_MOD messages, carried out in this order, all or nothing per bundle.

    Those that are not `bundle.Wrapped` yet are wrapped when they are sent. More messages than a session's limit are
    several bundles, one after another.
    """

    messages: Sequence[bytes]
    at_once: bool = False
    """Commit in the same breath: one round trip in the place of two. A message that the switch refuses when it is added
    is left out then and the rest takes effect, since OVS does not hold it against the bundle; one that fails at the
    commit still takes all others with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMeters:
    """Add, change and delete meters, each for itself: no bundle takes them.

    Their refusals count from the first of `add` on through `change` and `delete`; what is not refused holds.
    """

    add: tuple[MeterEntry, ...] = ()
    "Those that the switch does not have; one that it has is refused."
    change: tuple[MeterEntry, ...] = ()
    "Those that it has."
    delete: tuple[int, ...] = ()


Step = MapTlv | UnmapTlv | Bundle | SetMeters


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One error of the switch, and what it was about."""

    name: str
    "As OVS spells it."
    error_type: int
    code: int
    index: int | None
    "Which message of the step, counted from 0; None where opening, committing or a barrier failed."
    message: bytes
    "The refused message as it was given to the session, or what the error quotes."


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a bridge holds of ours, read at one go."""

    tlv_maps: tuple[TlvMap, ...]
    max_option_space: int
    "Bytes that all mapped options may take together."
    max_fields: int
    groups: Mapping[int, tuple[GroupKind, bytes]]
    "Group id -> kind and canonical buckets, as `stats.canonical_buckets` makes them."
    flows: Mapping[bytes, int]
    "Raw match key (`Flow.key`) -> cookie."
    meters: Mapping[int, bytes] = field(default_factory=dict)
    "Meter id -> `MeterEntry.content`; none where the switch has no meters."


@dataclass(frozen=True, slots=True)
class ObserveRefused:
    """The switch refused a question: it is no OVS, or too old."""

    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Applied:
    """Every step is acknowledged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A step was refused: nothing of its bundle is in the switch, later steps were not sent. Meters hold one by one.

    Of a bundle that was committed at once, what was not refused may be in the switch: look.
    """

    step: int
    "Which of the steps, counted from 0. Those before it are applied."
    refusals: tuple[Refusal, ...]
    "In the order of the errors, at most `session.MAX_REFUSALS`."
    committed: int
    "Messages of this step that are in the switch: whole bundles before the refused one."


@dataclass(frozen=True, slots=True)
class Answered:
    """The replies to a request; () where the message has none and was accepted."""

    xid: int
    replies: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """The switch answered a request with an error."""

    xid: int
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class PacketRefused:
    """The switch did not send a packet that it was given."""

    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Unrelated:
    """A message nobody asked for through the session: port status, another app's answer, …; untouched."""

    message: bytes


Event = Observed | ObserveRefused | Applied | Refused | Answered | RequestRefused | PacketRefused | Unrelated
