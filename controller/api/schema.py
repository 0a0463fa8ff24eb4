# SPDX-License-Identifier: Apache-2.0
"""The JSON documents of the API. Keys are spelled here and nowhere else.

`XDocument` is what users write, `XStatus` what the controller adds, `XObject` both together as GET answers,
`XList` a page of them. An unknown key is refused, never ignored.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from controller.intent.model import DatapathChoice, HostKind, PolicyAction
from ovs_geneve.geneve.fields import FieldKind

FieldValues = dict[str, dict[str, int | str]]
Labels = dict[str, str]

_LABELS = "Keys and values for your own use; lists select by them."
_VALUES = "Values by option schema and field; numbers, or text as the field's type reads."


class Document(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The root of what users write."""


class Answer(Struct, frozen=True, kw_only=True):
    """The root of what the controller answers."""


class EndpointDocument(Document):
    """A tunnel endpoint: an underlay address of a host."""

    address: Annotated[str, Meta(description="IPv4 or IPv6 address.", examples=["192.0.2.11"])]


class TunnelDocument(Document):
    """Outer header settings of a host's GENEVE vport."""

    csum: Annotated[bool, Meta(description="Send outer UDP checksums.")] = True
    ttl: Annotated[int | str | None, Meta(description='1 to 255, "inherit", or null: the default.')] = None
    tos: Annotated[
        int | str | None, Meta(description='A TOS byte without ECN bits, "inherit", or null: 0.')
    ] = None
    df_default: Annotated[bool, Meta(description="Forbid fragmentation in the underlay.")] = True


class HostDocument(Document):
    """A machine that takes part in the overlay."""

    endpoints: Annotated[
        list[EndpointDocument], Meta(description="Preferred first; one at least, none on two hosts.")
    ]
    kind: HostKind = HostKind.OVS
    ovsdb: Annotated[
        str | None,
        Meta(description="Where to dial its OVSDB: unix:, tcp: or ssl:. null: the host calls in."),
    ] = None
    system_id: Annotated[
        str | None, Meta(description="external_ids:system-id of a host that calls in. null: the host's name.")
    ] = None
    bridge: Annotated[str, Meta(description="The integration bridge; the controller makes it.")] = "br-int"
    datapath: DatapathChoice = DatapathChoice.AUTO
    tunnel: TunnelDocument = field(default_factory=TunnelDocument)
    labels: Annotated[Labels, Meta(description=_LABELS)] = {}


class NetworkDocument(Document):
    """A virtual network: one Ethernet segment under one VNI."""

    vni: Annotated[int | None, Meta(description="1 to 16777215; null: the allocator chooses.")] = None
    options: Annotated[
        list[str], Meta(description="Option schemas that every packet of the network carries.")
    ] = []
    values: Annotated[FieldValues, Meta(description=f"What ports stamp unless they say otherwise. {_VALUES}")] = {}
    labels: Annotated[Labels, Meta(description=_LABELS)] = {}


class PortDocument(Document):
    """A logical port: an attachment to a network."""

    network: str
    mac: Annotated[str, Meta(description="Unicast MAC address.", examples=["02:00:00:00:00:01"])]
    addresses: Annotated[
        list[str],
        Meta(description="The only source addresses the port may use; none: a pure Ethernet port."),
    ] = []
    interface_id: Annotated[
        str | None,
        Meta(description="external_ids:iface-id of the interface that is this port. null: the port's name."),
    ] = None
    options: Annotated[FieldValues, Meta(description=f"What the port's packets carry. {_VALUES}")] = {}
    labels: Annotated[Labels, Meta(description=_LABELS)] = {}


class FieldDocument(Document):
    """A named run of bits in the data of an option."""

    name: str
    type: FieldKind
    offset: Annotated[int, Meta(description="Bits from the most significant bit of the data.")]
    bits: int


class OptionSchemaDocument(Document):
    """A GENEVE option you declare. Class, type and length never change."""

    option_class: Annotated[
        int | str, Meta(description='0 to 0xffff, a number or "0x...".', examples=["0xff00"])
    ] = field(name="class")
    type: Annotated[int | str, Meta(description="0 to 255; 128 and above are critical.", examples=[1])]
    length: Annotated[int, Meta(description="Bytes of data: a multiple of 4, at most 124.")]
    fields: list[FieldDocument] = []
    allow_registered: Annotated[
        bool, Meta(description="Allow a class outside IANA's experimental range 0xff00 to 0xffff.")
    ] = False
    labels: Annotated[Labels, Meta(description=_LABELS)] = {}


class ToDocument(Document):
    """Which ports a policy protects."""

    port: Annotated[str | None, Meta(description="null: every port of the network.")] = None


class MatchDocument(Document):
    """What packets a policy is about; all of it must hold."""

    option: Annotated[
        dict[str, int | str],
        Meta(description='Value, or "VALUE/MASK", by SCHEMA.FIELD.', examples=[{"context.tier": "2/0xff"}]),
    ] = {}


class OptionPolicyDocument(Document):
    """Which packets towards ports are let in, by the options they carry."""

    network: str
    action: PolicyAction
    priority: Annotated[int, Meta(description="0 to 10000; the highest wins, at one priority drop.")] = 100
    direction: Annotated[Literal["ingress"], Meta(description="Towards the port.")] = "ingress"
    to: ToDocument = field(default_factory=ToDocument)
    match: MatchDocument = field(default_factory=MatchDocument)
    labels: Annotated[Labels, Meta(description=_LABELS)] = {}


AnyDocument = HostDocument | NetworkDocument | PortDocument | OptionSchemaDocument | OptionPolicyDocument


class ConditionDocument(Answer):
    """One statement about an object."""

    type: Annotated[str, Meta(examples=["Programmed"])]
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, Meta(description="One word in camel case, or OVS's error name.")]
    message: str = ""


class Status(Answer):
    """What the controller has to say about an object."""

    conditions: list[ConditionDocument]


class ProgressDocument(Answer):
    """How far the programming of a host's bridge is."""

    phase: Annotated[str, Meta(examples=["idle"])]
    flows: Annotated[int, Meta(description="That the bridge should hold.")]
    groups: int
    messages_sent: int
    behind_since: Annotated[
        int | None, Meta(description="Revision of the oldest change the bridge may lack; null: none.")
    ]


class HostStatus(Status):
    """How a host stands."""

    state: Annotated[str, Meta(description="Of the OVSDB connection.", examples=["connected"])]
    system_id: str
    ovs_version: str
    dpid: Annotated[str, Meta(description="Of its bridge, 16 digits; empty while there is none.")]
    ports: Annotated[list[str], Meta(description="Logical ports plugged in here.")]
    progress: ProgressDocument


class OverheadDocument(Answer):
    """Bytes that the overlay adds to an inner IP packet: what the underlay's MTU must exceed it by."""

    ipv4: int
    ipv6: int


class NetworkStatus(Status):
    """How a network stands."""

    vni: int
    overhead: OverheadDocument
    ports: Annotated[int, Meta(description="How many ports it has.")]
    hosts: Annotated[list[str], Meta(description="Where its ports are plugged in.")]


class PortStatus(Status):
    """How a port stands."""

    host: Annotated[str | None, Meta(description="Where it is plugged in.")]


class OptionSchemaStatus(Status):
    """How an option schema stands."""

    slot: Annotated[int, Meta(description="Index of tun_metadata on every bridge.")]
    critical: bool
    networks: Annotated[list[str], Meta(description="Whose packets carry the option.")]


class OptionPolicyStatus(Status):
    """How an option policy stands."""


class ObjectBase(Answer):
    """What all objects have."""

    name: str
    kind: str
    revision: Annotated[int, Meta(description="Of the spec; in quotes it is the ETag.")]
    labels: Labels


class HostObject(ObjectBase):
    """A host as declared, and how it stands."""

    spec: HostDocument
    status: HostStatus


class NetworkObject(ObjectBase):
    """A network as declared, and how it stands."""

    spec: NetworkDocument
    status: NetworkStatus


class PortObject(ObjectBase):
    """A port as declared, and how it stands."""

    spec: PortDocument
    status: PortStatus


class OptionSchemaObject(ObjectBase):
    """An option schema as declared, and how it stands."""

    spec: OptionSchemaDocument
    status: OptionSchemaStatus


class OptionPolicyObject(ObjectBase):
    """An option policy as declared, and how it stands."""

    spec: OptionPolicyDocument
    status: OptionPolicyStatus


class Page(Answer):
    """What all lists have."""

    revision: Annotated[int, Meta(description="Of the whole intent, when the list was made.")]
    next: Annotated[str | None, Meta(description="The cursor of the next page; null: this is the last.")]


class HostList(Page):
    """A page of hosts."""

    items: list[HostObject]


class NetworkList(Page):
    """A page of networks."""

    items: list[NetworkObject]


class PortList(Page):
    """A page of ports."""

    items: list[PortObject]


class OptionSchemaList(Page):
    """A page of option schemas."""

    items: list[OptionSchemaObject]


class OptionPolicyList(Page):
    """A page of option policies."""

    items: list[OptionPolicyObject]


class TunnelEnd(Answer):
    """One end of a tunnel."""

    host: str
    endpoint: Annotated[
        str | None, Meta(description="Where the other end sends to; null: it has no address of this family.")
    ]
    programmed: bool


class TunnelObject(Answer):
    """The way between two hosts."""

    name: Annotated[str, Meta(description="Both hosts, in alphabetical order.", examples=["hv1:hv2"])]
    ends: list[TunnelEnd]
    networks: Annotated[list[str], Meta(description="That both hosts have ports of.")]
    programmed: Annotated[bool, Meta(description="Both ends reach each other and hold all they should.")]


class TunnelList(Page):
    """A page of tunnels."""

    items: list[TunnelObject]


class HostSummary(Answer):
    """A host in the controller's status."""

    name: str
    ovs_version: str
    conditions: list[ConditionDocument]
    progress: ProgressDocument


class WaitingHostDocument(Answer):
    """A stranger that called in: enrol it with its system-id."""

    system_id: str
    remote: str
    ovs_version: str


class ControllerStatus(Answer):
    """How the controller and its hosts stand."""

    version: str
    revision: int
    ready: bool
    reason: Annotated[str, Meta(description="Why it is not ready.")]
    counts: Annotated[dict[str, int], Meta(description="Objects by kind.")]
    hosts: list[HostSummary]
    waiting: list[WaitingHostDocument]


class Health(Answer):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Problem(Answer):
    """A refusal, after RFC 9457."""

    type: Annotated[str, Meta(description="What went wrong, to be relied upon.", examples=["/problems/vni-taken"])]
    title: str
    status: int
    detail: str
    pointer: Annotated[str, Meta(description="RFC 6901 pointer to the bad field of what was sent.")] = ""
    holder: Annotated[str, Meta(description="The object in the way.", examples=["network/blue"])] = ""
    parameter: Annotated[str, Meta(description="The bad query parameter or header.")] = ""
