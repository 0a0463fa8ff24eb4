# SPDX-License-Identifier: Apache-2.0
"""The documents of rules: option policies, groups, policies between groups. The rest is in `schema.py`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

Labels = Annotated[dict[str, str], Meta(description="For filtering lists; no meaning to the controller.")]

Protocol = Annotated[
    int | str | None, Meta(description="IANA's number, or tcp, udp, sctp, icmp, icmpv6.", examples=["tcp"])
]
Ports = Annotated[
    list[int | str],
    Meta(description="Ports and ranges of ports; none is any.", examples=[[443, "8000-8100"]]),
]


class SelectorDocument(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Which ports a policy is about: one, those of a group, or all of the network."""

    port: str | None = None
    group: str | None = None


class MatchDocument(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What packets a policy is about; all conditions must hold."""

    option: Annotated[
        dict[str, int | str],
        Meta(description="SCHEMA.FIELD to VALUE or VALUE/MASK.", examples=[{"context.tier": "2/0xff"}]),
    ] = field(default_factory=dict)
    ethertype: Annotated[int | str | None, Meta(description="A number, or ipv4, ipv6, arp.")] = None
    source_mac: str | None = None
    destination_mac: str | None = None
    source: Annotated[str | None, Meta(description="Address or prefix.", examples=["10.0.0.0/8"])] = None
    destination: str | None = None
    protocol: Protocol = None
    source_ports: Ports = field(default_factory=list)
    destination_ports: Ports = field(default_factory=list)
    dscp: int | None = None


class PortTargetDocument(Struct, forbid_unknown_fields=True):
    """A logical port."""

    port: str


class SteerDocument(Struct, forbid_unknown_fields=True, kw_only=True):
    """A chain of logical ports that packets go through, in this order; at egress, and unicast only.

    What such a port sends under the MACs of others is believed in its network.
    """

    ports: list[str]
    position: Annotated[
        str | None,
        Meta(description="SCHEMA.FIELD that keeps how far a packet is.", examples=["chain.hop"]),
    ] = None


class ActionDocument(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One thing that is done with a packet: exactly one of these."""

    stamp: Annotated[
        dict[str, int | str] | UnsetType,
        Meta(description="SCHEMA.FIELD to a value.", examples=[{"context.tier": 3}]),
    ] = UNSET
    stamp_from: Annotated[
        dict[str, Literal["dscp", "vlan", "source-port-key"]] | UnsetType,
        Meta(description="SCHEMA.FIELD to what the packet says.", examples=[{"context.zone": "dscp"}]),
    ] = UNSET
    copy: Annotated[
        dict[str, str] | UnsetType,
        Meta(description="SCHEMA.FIELD to the field that it is copied from."),
    ] = UNSET
    strip: Annotated[str | UnsetType, Meta(description="An option schema.")] = UNSET
    mirror: PortTargetDocument | UnsetType = UNSET
    steer: SteerDocument | UnsetType = UNSET
    queue: int | UnsetType = UNSET
    dscp: int | UnsetType = UNSET


class OptionPolicyDocument(Struct, forbid_unknown_fields=True, kw_only=True):
    """What becomes of packets by the options they carry, or which options they get."""

    labels: Labels = field(default_factory=dict)
    network: str
    priority: int = 100
    direction: Annotated[
        Literal["ingress", "egress"], Meta(description="Seen from the port: ingress goes to it.")
    ] = "ingress"
    from_: Annotated[
        SelectorDocument,
        Meta(description="Who sends; at ingress a port is known by its MAC, a group by what packets carry."),
    ] = field(name="from", default_factory=SelectorDocument)
    to: Annotated[
        SelectorDocument, Meta(description="Where it goes; at egress a port, by its MAC, and no group.")
    ] = field(default_factory=SelectorDocument)
    match: MatchDocument = field(default_factory=MatchDocument)
    actions: Annotated[
        list[ActionDocument], Meta(description="Carried out in this order, before the verdict.")
    ] = field(default_factory=list)
    action: Annotated[
        Literal["allow", "drop"] | None,
        Meta(description="The verdict; null leaves it to the other policies. The highest priority decides."),
    ] = None


class GroupDocument(Struct, forbid_unknown_fields=True, kw_only=True):
    """Ports that have the same rights."""

    labels: Labels = field(default_factory=dict)
    identity: Annotated[
        int | None, Meta(description="What their packets carry; null leaves it to the allocator.")
    ] = None


class GroupSelectorDocument(Struct, forbid_unknown_fields=True):
    """A group of ports."""

    group: str


class PolicyDocument(Struct, forbid_unknown_fields=True, kw_only=True):
    """Who may talk to a group."""

    labels: Labels = field(default_factory=dict)
    network: str
    from_: Annotated[GroupSelectorDocument | None, Meta(description="Null is anybody in the network.")] = (
        field(name="from", default=None)
    )
    to: GroupSelectorDocument
    priority: int = 100
    protocol: Protocol = None
    ports: Ports = field(default_factory=list)
    action: Literal["allow", "deny"] = "allow"
    stateful: Annotated[bool, Meta(description="Replies are let in as well.")] = False
    log: Annotated[bool, Meta(description="Tell of packets that it refuses, a few a second.")] = False
