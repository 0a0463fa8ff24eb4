# SPDX-License-Identifier: Apache-2.0
"""The documents of the REST API: JSON keys are spelled in this folder only, each once. Those of rules
are in `rule_schema.py`, of probes in `probe_documents.py`; what it answers is in `answers.py`, `plan_views.py` and
`rollout_schema.py`.

Unknown fields are refused. What the fields mean is in `controller.intent.model`; `documents.py` converts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

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
    """Outer header settings of a host's GENEVE vport or devices."""

    csum: bool = True
    ttl: Annotated[
        int | Literal["inherit"] | None,
        Meta(description="Null: the system's default. Linux hosts inherit with fixed tunnels only."),
    ] = None
    tos: Annotated[
        int | Literal["inherit"] | None, Meta(description="Linux hosts inherit with fixed tunnels only.")
    ] = None
    df_default: bool = True
    df_inherit: Annotated[
        bool, Meta(description="DF as the inner packet has it; Linux hosts with fixed tunnels only.")
    ] = False
    udp6_zero_csum: Annotated[
        bool, Meta(description="Takes packets over IPv6 without UDP checksum; Linux hosts only.")
    ] = True


class HostDocument(_Document, kw_only=True):
    """A machine that takes part in the overlay."""

    kind: Annotated[
        Literal["ovs", "linux"],
        Meta(
            description="linux: without Open vSwitch, kept by `ovs-geneve agent`; then ovsdb, system_id, bridge and "
            "datapath are not set. A host's kind stays what it is."
        ),
    ] = "ovs"
    tunnels: Annotated[
        Literal["metadata", "fixed"],
        Meta(
            description="Linux hosts: one geneve device for all, or one a network and peer, without options."
        ),
    ] = "metadata"
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
    offload: Annotated[
        Literal["off", "on", "skip-hw", "skip-sw"] | None,
        Meta(
            description="What Open vSwitch hands to traffic control and its NICs; null leaves the host's setting "
            "alone. With on, skip-hw and skip-sw packets with the O bit of declared peers are not dropped there."
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
    payload: Annotated[
        Literal["ethernet", "ip"],
        Meta(
            description="ip: packets without Ethernet, options, groups and policies, between Linux hosts only; "
            "its ports have addresses. It stays what it is."
        ),
    ] = "ethernet"
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
