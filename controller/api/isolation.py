# SPDX-License-Identifier: Apache-2.0
"""/v1/reports/isolation: whether the compiled flows keep networks apart, proved or shown to be wrong."""

from __future__ import annotations

from typing import Annotated, Literal

from litestar import get
from msgspec import Meta, Struct

from controller.api.handlers import Backend
from controller.proof.report import OUT_OF_SCOPE, Breach, Hop, Proof, Violation

BreachWord = Literal[
    "foreign-port", "intruder", "nobodys-port", "leaves", "spoofed-source", "guest-in-option"
]


class HopView(Struct, kw_only=True):
    """A flow that the packet hits."""

    host: str
    table: Annotated[str, Meta(examples=["forward"])]
    priority: int
    cookie: Annotated[str, Meta(examples=["0x6e180000cd000eb1"])]
    caused_by: Annotated[str, Meta(description="The object behind the flow; empty for the pipeline's own.")]


class ViolationView(Struct, kw_only=True):
    """A packet that breaks isolation."""

    breach: BreachWord
    reason: str
    sender: Annotated[str, Meta(examples=["port/web1 on hv1"])]
    packet: Annotated[str, Meta(description="As ofproto/trace takes it; what is not there is zero.")]
    path: list[HopView]
    out_of: Annotated[str, Meta(description="Where it gets out.")]


class DoubtView(Struct, kw_only=True):
    """What could neither be proved nor be shown with a packet."""

    sender: str
    reason: str


class LookedAtView(Struct, kw_only=True):
    """What was looked at."""

    hosts: int
    networks: int
    ports: int
    flows: int
    sets: Annotated[int, Meta(description="Sets of packets that were followed from flow to flow.")]
    deliveries: Annotated[int, Meta(description="Sets that came out of a port.")]


class IsolationView(Struct, kw_only=True):
    """What was proved of the flows that the controller compiled."""

    revision: Annotated[int, Meta(description="Of the intent.")]
    isolated: Annotated[bool, Meta(description="Everything was proved: no violation, no doubt.")]
    seconds: float
    looked_at: LookedAtView
    violations: Annotated[list[ViolationView], Meta(description="Ten at most, one a sender.")]
    doubts: list[DoubtView]
    out_of_scope: Annotated[list[str], Meta(description="What is not proved.")]


@get("/reports/isolation", summary="Isolation", tags=["status"])
async def isolation_report(backend: Backend) -> IsolationView:
    """Prove that no packet gets from one network to another, that ports say who they are, and that options are ours.

    Looked at are the flows that the controller has compiled, for all hosts that it serves. One proof goes at a time.
    """
    proof, seconds = await backend.prove()
    return isolation_view(proof, seconds)


def isolation_view(proof: Proof, seconds: float) -> IsolationView:
    """Show a proof."""
    return IsolationView(
        revision=proof.revision,
        isolated=proof.isolated,
        seconds=round(seconds, 3),
        looked_at=LookedAtView(
            hosts=proof.hosts,
            networks=proof.networks,
            ports=proof.ports,
            flows=proof.flows,
            sets=proof.sets,
            deliveries=proof.deliveries,
        ),
        violations=[_violation(one) for one in proof.violations],
        doubts=[DoubtView(sender=one.sender, reason=one.reason) for one in proof.doubts],
        out_of_scope=list(OUT_OF_SCOPE),
    )


def _violation(found: Violation) -> ViolationView:
    return ViolationView(
        breach=_word(found.breach),
        reason=found.reason,
        sender=found.sender,
        packet=found.packet,
        path=[_hop(one) for one in found.path],
        out_of=found.out_of,
    )


def _word(breach: Breach) -> BreachWord:
    return breach.value


def _hop(hop: Hop) -> HopView:
    return HopView(
        host=hop.host,
        table=hop.table,
        priority=hop.priority,
        cookie=f"{hop.cookie:#x}",
        caused_by=hop.caused_by,
    )
