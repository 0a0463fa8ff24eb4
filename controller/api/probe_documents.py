# SPDX-License-Identifier: Apache-2.0
"""The documents of /v1/probes, beside those of `schema.py`: the only other place where JSON keys are spelled."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from controller.api.parameters import parse_duration
from controller.prober.model import RANK, Result
from controller.prober.plan import Request
from controller.prober.prober import Job, JobState


class ProbesDocument(Struct, forbid_unknown_fields=True, kw_only=True):
    """What is to be proved."""

    network: Annotated[str | None, Meta(description="Null is all networks.")] = None
    pairs: Annotated[
        list[tuple[str, str]] | None,
        Meta(
            description="Source and destination hosts; null is every ordered pair of hosts with a port of the network.",
            examples=[[["hv1", "hv2"]]],
        ),
    ] = None
    all_hosts: Annotated[bool, Meta(description="Take in hosts without a port of the network.")] = False
    timeout: Annotated[str, Meta(description="When the run ends with what it knows.")] = "60s"


class OptionProvedView(Struct, kw_only=True, omit_defaults=True):
    """Whether an option arrived as it was sent, field by field."""

    option: str
    verified: bool
    problem: str = ""


class RoundTripView(Struct, kw_only=True):
    """Milliseconds from the source's controller connection to the far end's datapath and back."""

    min: float
    average: float


class ProofView(Struct, kw_only=True):
    """What is proved of one direction between two hosts, for one network over one IP version of the underlay."""

    network: str
    source: str
    destination: str
    underlay: Literal["ipv4", "ipv6"]
    address: Annotated[str, Meta(description="The destination's tunnel endpoint.")]
    verdict: Annotated[
        Literal["ok", "lossy", "skipped", "mtu", "options", "altered", "unreachable"],
        Meta(description="ok and lossy are well; skipped was not asked."),
    ]
    reason: str
    reached: bool
    sent: int
    seen: int
    lost: int
    options: list[OptionProvedView]
    wanted_mtu: Annotated[int, Meta(description="What ports of the network may send.")]
    proved_mtu: Annotated[int | None, Meta(description="The largest packet of a port that passed.")]
    rtt_ms: RoundTripView | None


class ProbesProgressView(Struct, kw_only=True):
    """How far a run is."""

    directions: int
    done: int
    sent: int
    seen: int


class ProbesView(Struct, kw_only=True, omit_defaults=True):
    """A run of the prober."""

    id: str
    state: Literal["waiting", "running", "finished"]
    asked_at: Annotated[float, Meta(description="Seconds since 1970.")]
    seconds: Annotated[float | None, Meta(description="What it took, once it is finished.")]
    progress: ProbesProgressView
    verdicts: Annotated[dict[str, int], Meta(description="How many directions have which, at the end.")]
    failed: Annotated[int, Meta(description="Directions that are not well.")]
    results: Annotated[
        list[ProofView] | UnsetType, Meta(description="At the end; not in the list of runs.")
    ] = UNSET


class ProbesListView(Struct, kw_only=True):
    """The runs that are kept: the last ten since the controller started."""

    items: list[ProbesView]


def to_request(document: ProbesDocument) -> Request:
    """Read a document; raise BadParameter."""
    return Request(
        network=document.network,
        pairs=None if document.pairs is None else tuple(document.pairs),
        all_hosts=document.all_hosts,
        timeout=parse_duration(document.timeout),
    )


def probes_view(job: Job, *, with_results: bool = True, only_failed: bool = False) -> ProbesView:
    """Show a run."""
    counts = {verdict.value: 0 for verdict in RANK}
    for one in job.final:
        counts[one.verdict.value] += 1
    progress = job.progress
    view = ProbesView(
        id=job.id,
        state=job.state.value,
        asked_at=job.asked_at,
        seconds=round(job.took, 3) if job.state is JobState.FINISHED else None,
        progress=ProbesProgressView(
            directions=progress.legs, done=progress.done, sent=progress.sent, seen=progress.seen
        ),
        verdicts={verdict: count for verdict, count in counts.items() if count},
        failed=sum(one.verdict.failed for one in job.final),
    )
    if with_results:
        view.results = [_proof(one) for one in job.final if one.verdict.failed or not only_failed]
    return view


def _proof(result: Result) -> ProofView:
    leg = result.leg
    return ProofView(
        network=leg.target.network,
        source=leg.source,
        destination=leg.destination,
        underlay="ipv4" if leg.towards.version == 4 else "ipv6",
        address=str(leg.towards),
        verdict=result.verdict.value,
        reason=result.reason,
        reached=result.seen > 0,
        sent=result.sent,
        seen=result.seen,
        lost=result.lost,
        options=[
            OptionProvedView(option=one.option, verified=one.verified, problem=one.problem)
            for one in result.options
        ],
        wanted_mtu=leg.wanted_mtu,
        proved_mtu=result.proved_mtu,
        rtt_ms=_round_trip(result),
    )


def _round_trip(result: Result) -> RoundTripView | None:
    if result.rtt_min is None or result.rtt_average is None:
        return None
    return RoundTripView(min=round(result.rtt_min * 1e3, 3), average=round(result.rtt_average * 1e3, 3))
