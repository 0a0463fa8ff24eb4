# SPDX-License-Identifier: Apache-2.0
"""The documents of the REST API: the only place where their JSON keys are spelled.

Unknown fields are refused. What the fields mean is in `controller.intent.model`; `documents.py` converts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Generic, Literal, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType, field

from controller.api.rollout_schema import CapabilitiesView, RolloutStateView
from controller.api.rule_schema import GroupDocument, Labels, OptionPolicyDocument, PolicyDocument

OptionValues = Annotated[
    dict[str, dict[str, int | str | list[str]]],
    Meta(
        description="Values by option schema, then field; flags also as a list of names.",
        examples=[{"context": {"tier": 2, "zone": 7}}],
    ),
]


class _Document(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=False):
    labels: Labels = field(default_factory=dict)


class EndpointDocument(Struct, forbid_unknown_fields=True):
    """An underlay address of a host."""

    address: Annotated[str, Meta(examples=["192.0.2.11"])]


class TunnelDocument(Struct, forbid_unknown_fields=True, kw_only=True):
    """Outer header settings of a host's GENEVE vport."""

    csum: bool = True
    ttl: int | Literal["inherit"] | None = None
    tos: int | Literal["inherit"] | None = None
    df_default: bool = True


class HostDocument(_Document, kw_only=True):
    """A machine that takes part in the overlay."""

    kind: Literal["ovs"] = "ovs"
    ovsdb: Annotated[
        str | None,
        Meta(description="Where to dial its OVSDB; null when it calls in.", examples=["tcp:192.0.2.11:6640"]),
    ] = None
    system_id: Annotated[
        str | None, Meta(description="external_ids:system-id of a host that calls in; its name by default.")
    ] = None
    endpoints: Annotated[list[EndpointDocument], Meta(description="Tunnel endpoints, preferred first.")]
    bridge: str = "br-int"
    datapath: Literal["auto", "system", "netdev"] = "auto"
    tunnel: TunnelDocument = field(default_factory=TunnelDocument)
    underlay_mtu: Annotated[
        int | None,
        Meta(
            description="Bytes of the largest IP packet that the underlay carries from here. Null is taken for 1500; "
            "interfaces of ports are asked to carry what their network does once every host says it."
        ),
    ] = None


class TargetDocument(Struct, forbid_unknown_fields=True, kw_only=True):
    """Hosts behind an AWS-style gateway load balancer."""

    gateways: Annotated[list[str], Meta(description="Its underlay addresses.", examples=[["192.0.2.100"]])]
    hosts: Annotated[
        list[str], Meta(description="Those that send its packets back to it.", examples=[["hv3"]])
    ]


class NetworkDocument(_Document, kw_only=True):
    """A virtual network."""

    vni: Annotated[int | None, Meta(description="Null leaves it to the allocator.", examples=[100])] = None
    options: Annotated[list[str], Meta(description="Option schemas that its packets carry.")] = field(
        default_factory=list
    )
    values: OptionValues = field(default_factory=dict)
    mtu: Annotated[
        int | None,
        Meta(description="What it must carry at least; null takes what hosts and options leave."),
    ] = None
    inner_vlan: Annotated[
        Literal["forbid", "strip"], Meta(description="What becomes of a VLAN tag on what a port sends.")
    ] = "forbid"
    target: Annotated[
        TargetDocument | None,
        Meta(
            description="Makes hosts return a gateway load balancer's packets, with its three options; no ports then."
        ),
    ] = None


class PortDocument(_Document, kw_only=True):
    """A logical port."""

    network: str
    mac: Annotated[str, Meta(examples=["02:00:00:00:00:01"])]
    addresses: Annotated[list[str], Meta(examples=[["10.0.0.1", "2001:db8::1"]])] = field(
        default_factory=list
    )
    interface_id: Annotated[
        str | None, Meta(description="external_ids:iface-id of its OVS interface; its name by default.")
    ] = None
    options: OptionValues = field(default_factory=dict)
    group: Annotated[str | None, Meta(description="The group that its packets say they are of.")] = None


class FieldDocument(Struct, forbid_unknown_fields=True, kw_only=True):
    """A field of an option; bit offsets count from the most significant bit of the data."""

    name: str
    type: Literal["uint", "enum", "flags", "ipv4", "ipv6", "mac", "bytes"] = "uint"
    offset: int
    bits: int
    values: Annotated[
        dict[str, int] | UnsetType,
        Meta(description="Of an enum: its values by name.", examples=[{"gold": 1, "silver": 2}]),
    ] = UNSET
    flags: Annotated[
        list[str] | UnsetType,
        Meta(
            description="Of flags: a name for each bit, least significant first; empty for none.",
            examples=[["urgent", "test"]],
        ),
    ] = UNSET


class OptionSchemaDocument(_Document, kw_only=True):
    """A GENEVE option."""

    class_: Annotated[int | str, Meta(examples=["0xff00"])] = field(name="class")
    type: Annotated[int | str, Meta(description="Bit 7 set means critical.")]
    length: Annotated[int, Meta(description="Bytes of data: a multiple of 4, at most 124.")]
    fields: list[FieldDocument] = field(default_factory=list)
    direction: Annotated[
        Literal["both", "send", "receive"],
        Meta(description="send: stamped, matched by no policy; receive: matched, stamped by no port."),
    ] = "both"
    replaces: Annotated[
        str | None, Meta(description="The schema of which this is the next version, of the same class.")
    ] = None
    allow_registered: Annotated[
        bool, Meta(description="Lets the class lie outside IANA's experimental range.")
    ] = False
    profile: Annotated[
        str | None,
        Meta(
            description="It is the option of this coexistence profile, whose fields it has.", examples=["ovn"]
        ),
    ] = None


Document = (
    HostDocument
    | NetworkDocument
    | PortDocument
    | OptionSchemaDocument
    | OptionPolicyDocument
    | GroupDocument
    | PolicyDocument
)


class NameDocument(Struct):
    """What a document of a bulk request has besides the keys of its kind."""

    kind: Literal["host", "network", "port", "option-schema", "option-policy", "group", "policy"]
    name: str


class LooseName(Struct):
    """The same, of a document that may be wrong."""

    kind: Any = ""
    name: Any = ""


NAME_KEYS = frozenset(NameDocument.__struct_fields__)

DOCUMENTS: Mapping[str, type[Document]] = {
    "host": HostDocument,
    "network": NetworkDocument,
    "port": PortDocument,
    "option-schema": OptionSchemaDocument,
    "option-policy": OptionPolicyDocument,
    "group": GroupDocument,
    "policy": PolicyDocument,
}
"The document of each kind."


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

    code: Annotated[str, Meta(examples=["over-4-bytes"])]
    severity: Literal["info", "warning", "error"]
    message: str
    field: Annotated[str, Meta(description="The field it is about, if it is about one.")] = ""


class StatusView(Struct, kw_only=True, omit_defaults=True):
    """What the controller knows of an object; which members there are depends on the kind."""

    conditions: list[ConditionView]
    host: str | UnsetType | None = UNSET
    "Of a port: where it is plugged."
    mtu: int | UnsetType | None = UNSET
    "Of a network and its ports: bytes of the largest IP packet that fits between any two hosts."
    overhead: int | UnsetType = UNSET
    "Of a network: bytes a packet grows by over IPv4, with its options (20 more over IPv6)."
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
    "Of a host: what it can do; null until its bridge was read."


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
