# SPDX-License-Identifier: Apache-2.0
"""What /v1/reports/offload answers."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

VerdictWord = Literal["yes", "no", "unknown"]
Seen = Literal["all", "some", "none", "not-seen"]


class ReasonView(Struct, kw_only=True, omit_defaults=True):
    """Why not, or why nobody knows."""

    code: Annotated[str, Meta(examples=["option-too-long"])]
    verdict: VerdictWord
    message: str
    change: Annotated[str, Meta(description="What would have it otherwise.")] = ""
    source: Annotated[str, Meta(description="Where it was read or how it was measured.")] = ""
    option: str = ""


class OptionVerdictView(Struct, kw_only=True):
    """What a family takes of packets with one option alone."""

    option: str
    verdict: VerdictWord
    reasons: list[ReasonView]


class FamilyView(Struct, kw_only=True):
    """What a family of NICs can be hoped to take of a network, by rules."""

    family: Annotated[str, Meta(examples=["mlx5"])]
    title: str
    hardware: Annotated[bool, Meta(description="false: traffic control in software, which is no NIC.")]
    sending: VerdictWord
    receiving: VerdictWord
    reasons: list[ReasonView]
    options: list[OptionVerdictView]


class NetworkOffloadView(Struct, kw_only=True):
    """A network, by rules."""

    network: str
    options: list[str]
    features: Annotated[list[str], Meta(description="What its policies ask for besides forwarding.")]
    families: Annotated[list[FamilyView], Meta(description="On hosts with Open vSwitch.")]
    linux: Annotated[
        list[FamilyView], Meta(description="On hosts without; empty where none has a port of this network.")
    ]
    caveats: list[ReasonView]


class TunnelPortView(Struct):
    """A UDP port that a NIC was told is one of tunnels."""

    port: int
    kind: str


class NicView(Struct, kw_only=True):
    """A network device."""

    device: str
    role: Literal["uplink", "port"]
    driver: str
    family: str | None
    label: Annotated[
        str, Meta(description="What may be said of it.", examples=["stand-in, no hardware figure"])
    ]
    features: Annotated[dict[str, str], Meta(examples=[{"hw-tc-offload": "off [fixed]"}])]
    tunnel_ports: list[TunnelPortView] | None
    reasons: list[ReasonView]


class PlaceCountView(Struct, kw_only=True):
    """Megaflows of a network that are handled in one place."""

    way: Annotated[str, Meta(examples=["from-tunnel", "to-tunnel"])]
    place: Annotated[str, Meta(examples=["hardware", "partial", "tc", "openvswitch"])]
    flows: int
    packets: int


class FilterCountView(Struct, kw_only=True):
    """Filters of traffic control at one place of a host without Open vSwitch."""

    device: Annotated[str, Meta(examples=["og-geneve"])]
    direction: Literal["ingress", "egress"]
    filters: int
    in_hardware: Annotated[int, Meta(description="Of which a driver said that its NIC has them.")]


class HostNetworkView(Struct, kw_only=True):
    """A network on a host."""

    network: str
    sending: VerdictWord
    receiving: VerdictWord
    reasons: list[ReasonView]
    live: Annotated[
        list[PlaceCountView], Meta(description="Where its megaflows are now; empty when none are seen.")
    ]
    filters: Annotated[
        list[FilterCountView], Meta(description="Where its filters are, on a host without Open vSwitch.")
    ]
    seen: Annotated[
        Seen, Meta(description="How many of its megaflows, or filters, a NIC handles, as its driver says.")
    ]


class HostOffloadView(Struct, kw_only=True):
    """A host."""

    host: str
    seen: bool
    note: str
    declared: str | None
    configured: str | None
    running: str | None
    datapath: str
    reasons: list[ReasonView]
    nics: list[NicView] = field(default_factory=list)
    filters: Annotated[list[FilterCountView], Meta(description="Those that are of no network alone.")] = (
        field(default_factory=list)
    )
    networks: list[HostNetworkView] = field(default_factory=list)
    unread: int = 0
    problems: list[str] = field(default_factory=list)


class OffloadReportView(Struct, kw_only=True):
    """What NICs take of the networks' packets, by rules and as it is seen."""

    revision: int
    hosts: list[HostOffloadView]
    networks: list[NetworkOffloadView]
