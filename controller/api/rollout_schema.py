# SPDX-License-Identifier: Apache-2.0
"""The JSON of what the controller keeps by itself: rollouts, what hosts can do. Keys of it are spelled here only."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Way = Literal["in", "out"]
Stage = Annotated[
    Literal["receivers", "canary", "senders", "rolled-back"],
    Meta(
        description="In: receivers, canary, senders, then it is gone. Out: senders, receivers, then it is gone."
    ),
]
Reason = Annotated[
    str, Meta(description="What it waits for, why it was rolled back, or how the canary went.")
]


class RolloutStateView(Struct, kw_only=True):
    """An option on its way into a network or out of it."""

    schema: str
    direction: Way
    stage: Stage
    reason: Reason


class RolloutSpecView(Struct, kw_only=True):
    """What is rolled out, and where."""

    network: str
    schema: str
    direction: Way


class RolloutStatusView(Struct, kw_only=True):
    """How far a rollout is."""

    stage: Stage
    reason: Reason


class RolloutView(Struct, kw_only=True):
    """A rollout: made when the options of a network with ports change, gone when it is over."""

    kind: Literal["rollout"] = "rollout"
    name: Annotated[str, Meta(description="NETWORK:SCHEMA.", examples=["blue:context"])]
    revision: int
    spec: RolloutSpecView
    status: RolloutStatusView


class RolloutListView(Struct, kw_only=True):
    """The rollouts under way, by name."""

    revision: Annotated[int, Meta(description="Of the whole intent, when the list was read.")]
    items: list[RolloutView]


class ForeignMapView(Struct, kw_only=True, rename={"class_": "class"}):
    """An option that somebody else mapped on a host's bridge."""

    slot: int
    class_: Annotated[str, Meta(examples=["0x0102"])]
    type: int
    length: int


class CapabilitiesView(Struct, kw_only=True):
    """What a host can do, as its bridge and database told, or its agent."""

    ovs_version: str
    datapath: Annotated[str, Meta(examples=["system", "netdev", "linux"])]
    kernel: Annotated[str, Meta(description='Its release; "" where nobody tells: OVSDB does not.')]
    max_option_bytes: Annotated[int, Meta(description="Data of all mapped options together.")]
    max_options: int
    critical: Annotated[bool, Meta(description="It takes critical options that are declared.")]
    foreign: Annotated[
        list[ForeignMapView], Meta(description="Options that somebody else mapped; left alone.")
    ]
    lacks: Annotated[
        list[str],
        Meta(
            description="Kernel modules that a host of kind linux needs and has not.",
            examples=[["act_tunnel_key"]],
        ),
    ]
