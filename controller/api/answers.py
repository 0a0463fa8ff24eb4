# SPDX-License-Identifier: Apache-2.0
"""What the REST API answers with: objects as they stand, lists, reports, problems; their keys are spelled here only."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType, field

from controller.api.rollout_schema import CapabilitiesView, RolloutStateView
from controller.api.schema import FieldDocument


class ConditionView(Struct):
    """One statement about an object."""

    type: Annotated[str, Meta(examples=["Programmed"])]
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""


class ProgressView(Struct, kw_only=True):
    """How far the programming of a host's bridge is."""

    phase: str
    flows: int
    groups: int
    messages_sent: int
    behind_since: int | None


class CountView(Struct):
    """What flows counted."""

    packets: int
    bytes: int


class CountersView(Struct, kw_only=True):
    """What the flows of a policy counted, since each last changed; a little late, as OVS tells it."""

    packets: int
    bytes: int
    hosts: Annotated[
        dict[str, CountView | None], Meta(description="By host; null where the bridge did not answer.")
    ]


class FindingView(Struct, kw_only=True, omit_defaults=True):
    """A remark about options: nothing that is refused."""

    code: Annotated[str, Meta(examples=["offload-mlx5"])]
    severity: Literal["info", "warning", "error"]
    message: str
    field: Annotated[str, Meta(description="The field it is about, if it is about one.")] = ""


class InabilityView(Struct):
    """Something that a host cannot do: what needs it is refused for its ports."""

    need: Annotated[str, Meta(examples=["stateful policies"])]
    reason: str


class StatusView(Struct, kw_only=True, omit_defaults=True):
    """What the controller knows of an object; which members there are depends on the kind."""

    conditions: list[ConditionView]
    host: str | UnsetType | None = UNSET
    "Of a port: where it is plugged."
    mtu: int | UnsetType | None = UNSET
    "Of a network and its ports: bytes of the largest IP packet that fits between any two hosts."
    overhead: int | UnsetType = UNSET
    "Of a network: bytes a packet grows by over IPv4, with its options (20 more over IPv6)."
    replaced_by: list[str] | UnsetType = UNSET
    "Of an option schema: those that call themselves the next version of it."
    slot: int | UnsetType = UNSET
    "Of an option schema: its tun_metadata index."
    lint: list[FindingView] | UnsetType = UNSET
    "Of an option schema: what is unwise about it. Of a network: about its options together."
    ovs_version: str | UnsetType = UNSET
    guarded: bool | UnsetType = UNSET
    "Of a host: whether its datapath is watched for drops that bad options leave behind."
    progress: ProgressView | UnsetType = UNSET
    rollouts: list[RolloutStateView] | UnsetType = UNSET
    "Of a network: options on their way in or out."
    counters: CountersView | UnsetType = UNSET
    "Of a policy that is got by name: what its flows counted."
    capabilities: CapabilitiesView | UnsetType | None = UNSET
    "Of a host: what it can do; null until its bridge was read, or its agent reported."
    cannot: list[InabilityView] | UnsetType = UNSET
    "Of a host: what it cannot do, by its kind, its tunnels and its kernel."


D = TypeVar("D")
"The document of the kind; msgspec takes no bound that is a union of structs."


class ObjectView(Struct, Generic[D], kw_only=True):
    """An object as stored, and how it stands."""

    kind: str
    name: str
    revision: Annotated[int, Meta(description="Its ETag.")]
    spec: D
    status: StatusView


class ListView(Struct, Generic[D], kw_only=True):
    """A page of objects, by name."""

    revision: Annotated[int, Meta(description="Of the whole intent, when the page was read.")]
    items: list[ObjectView[D]]
    next: Annotated[str | None, Meta(description="Cursor of the next page; null on the last.")] = None


class ProfileOptionView(Struct, kw_only=True):
    """An option of a coexistence profile, in one of its lengths."""

    name: str
    class_: str = field(name="class")
    type: Annotated[int | None, Meta(description="Null: every type of the class.")]
    length: Annotated[int | None, Meta(description="Bytes of data; null: any.")]
    fields: list[FieldDocument]
    rest: Annotated[str, Meta(description="Of any length: what the bytes behind the fields are called.")]


class ProfileView(Struct, kw_only=True):
    """What another system puts into GENEVE packets."""

    name: str
    about: str
    source: Annotated[str, Meta(description="Where its layout was read.")]
    options: list[ProfileOptionView]


class ProfileListView(Struct, kw_only=True):
    """All coexistence profiles."""

    items: list[ProfileView]


class TunnelEndView(Struct):
    """One end of a tunnel."""

    host: str
    address: str


class TunnelView(Struct, kw_only=True):
    """A pair of hosts that have a network in common."""

    source: TunnelEndView
    destination: TunnelEndView
    networks: list[str]
    programmed: Annotated[bool, Meta(description="Both bridges hold all they should.")]


class TunnelListView(Struct, kw_only=True):
    """All tunnels."""

    revision: int
    items: list[TunnelView]


class WaitingHostView(Struct):
    """A host that called in and is not declared."""

    system_id: str
    remote: str
    ovs_version: str


class WorkView(Struct, kw_only=True):
    """What changes cost."""

    parts_compiled: Annotated[int, Meta(description="Since the start.")]
    messages_sent: Annotated[int, Meta(description="Flow and group messages, to bridges programmed now.")]
    last_revision: Annotated[int, Meta(description="Of the last change that concerned a host.")]
    last_parts: Annotated[int, Meta(description="Parts that it had compiled anew.")]
    last_hosts: Annotated[int, Meta(description="Hosts that it concerned.")]


class EventView(Struct, kw_only=True):
    """Something that happened, perhaps many times."""

    number: Annotated[int, Meta(description="Grows, also when an event is counted again.")]
    first: Annotated[str, Meta(description="When it happened first, RFC 3339.")]
    last: str
    kind: Annotated[str, Meta(examples=["bad-options", "peer-cut-off"])]
    host: Annotated[str, Meta(description="Where it was seen; empty: about the network as a whole.")]
    peer: Annotated[str, Meta(description="Who caused it: a host, or its address.")]
    network: str
    message: str
    count: Annotated[int, Meta(description="Packets, where it is about packets.")]


class EventListView(Struct, kw_only=True):
    """Events, oldest first."""

    items: list[EventView]
    next: Annotated[int, Meta(description="`since` for those that come after these.")]


class DisagreementView(Struct):
    """Something that the running controller keeps otherwise than compiling from nothing makes it."""

    fault: Literal["missing", "stale", "different"]
    what: str
    hosts: list[str]


class RecomputationView(Struct, kw_only=True):
    """What came of compiling everything from nothing."""

    revision: int
    hosts: int
    parts: int
    disagreements: Annotated[
        list[DisagreementView], Meta(description="Empty, or there is an error in the controller: report it.")
    ]


class ControllerView(Struct, kw_only=True):
    """The controller as a whole."""

    version: str
    revision: int
    objects: dict[str, int]
    hosts: dict[str, StatusView]
    waiting: list[WaitingHostView]
    work: WorkView


class Problem(Struct, kw_only=True, omit_defaults=True):
    """What was wrong with a request (RFC 9457)."""

    type: Annotated[str, Meta(examples=["/problems/vni-taken"])]
    title: str
    status: int
    detail: str
    pointer: Annotated[str, Meta(description="RFC 6901 pointer into the document sent.")] = ""
    holder: Annotated[str, Meta(description="The object in the way, as kind/name.")] = ""


class AppliedView(Struct, kw_only=True, omit_defaults=True):
    """What became of one document of a bulk request."""

    kind: str
    name: str
    status: Annotated[int, Meta(description="The status that a PUT of it would have been answered with.")]
    outcome: Literal["created", "configured", "unchanged", "refused"]
    revision: Annotated[int | UnsetType, Meta(description="Of the object; its ETag.")] = UNSET
    problem: Annotated[
        Problem | UnsetType, Meta(description="Its pointer is into the array sent, such as /3/mac.")
    ] = UNSET


class ApplyView(Struct, kw_only=True):
    """What became of a bulk request, document by document, in their order."""

    revision: Annotated[int, Meta(description="Of the whole intent afterwards.")]
    items: list[AppliedView]
