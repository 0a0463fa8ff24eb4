# SPDX-License-Identifier: Apache-2.0
"""What an inquiry has proved, in words that somebody can act on. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from controller.prober.inquiry import Inquiry, Stage
from controller.prober.model import Leg, OptionResult, Result, Verdict
from ovs_geneve.geneve.probe import ETHERNET_HEADER, Pattern

LegId = tuple[str, str, str, int]
"Network, source, destination, IP version."


def leg_id(leg: Leg) -> LegId:
    """Return what names a leg within a run."""
    return leg.target.network, leg.source, leg.destination, leg.towards.version


def results(inquiries: Collection[Inquiry], watched: Collection[str]) -> Iterator[Result]:
    """Say of every leg what is proved; `watched` are the hosts whose bridges report what they see to us."""
    reached = {leg_id(one.leg) for one in inquiries if one.seen}
    for inquiry in inquiries:
        leg = inquiry.leg
        way_back = leg.target.network, leg.destination, leg.source, leg.towards.version
        verdict, reason = _verdict(inquiry, way_back in reached, leg.destination in watched)
        yield Result(
            leg=leg,
            verdict=verdict,
            reason=reason,
            sent=inquiry.sent,
            seen=inquiry.arrivals,
            echoes=inquiry.echoes,
            lost=inquiry.lost,
            options=_options(inquiry),
            proved_mtu=inquiry.passes - ETHERNET_HEADER if inquiry.passes else None,
            rtt_min=inquiry.rtt_min,
            rtt_average=inquiry.rtt_sum / inquiry.echoes if inquiry.echoes else None,
        )


def _verdict(inquiry: Inquiry, other_way: bool, watched: bool) -> tuple[Verdict, str]:
    leg = inquiry.leg
    if not leg.addresses:
        return (
            Verdict.UNREACHABLE,
            f"{leg.source} and {leg.destination} have no IP version of the underlay in common",
        )
    if inquiry.skipped:
        return Verdict.SKIPPED, inquiry.skipped
    if not inquiry.seen:
        return Verdict.UNREACHABLE, _unreachable(inquiry, other_way, watched)
    if inquiry.altered:
        return Verdict.ALTERED, inquiry.altered
    problems = [f"{one.option}: {one.problem}" for one in _options(inquiry) if not one.verified]
    problems += [inquiry.surplus] if inquiry.surplus else []
    if problems:
        return Verdict.OPTIONS, "; ".join(dict.fromkeys(problems))
    if inquiry.full not in inquiry.seen:
        return Verdict.MTU, _too_large(inquiry)
    if inquiry.lost:
        return Verdict.LOSSY, f"{inquiry.lost} of {inquiry.sent} probes were lost"
    return Verdict.OK, ""


def _unreachable(inquiry: Inquiry, other_way: bool, watched: bool) -> str:
    leg = inquiry.leg
    addresses = ", ".join(sorted(map(str, leg.addresses)))
    what = f"arrives at {leg.destination}" if watched else f"is sent back by {leg.destination}"
    back = ", though the other way works" if other_way else ""
    return (
        f"none of {inquiry.sent} probes from {leg.source} ({addresses}) to {leg.towards} {what}{back}: "
        "is the link up, UDP port 6081 let through, the address right?"
    )


def _too_large(inquiry: Inquiry) -> str:
    leg = inquiry.leg
    wanted = inquiry.full.size - ETHERNET_HEADER
    passes = inquiry.passes - ETHERNET_HEADER
    grows = inquiry.full.size + _outer(leg)
    if inquiry.search_refused or inquiry.stage is not Stage.DONE:
        return (
            f"packets of {wanted} bytes do not pass ({grows} on the underlay); "
            "how large they may be was not looked for"
        )
    return (
        f"packets of up to {passes} bytes pass ({inquiry.passes + _outer(leg)} on the underlay between "
        f"{leg.source} and {leg.towards}), those of {wanted} ({grows}) do not"
    )


def _outer(leg: Leg) -> int:
    """Return what the underlay's IP packet has around the frame of a probe."""
    address = {4: 20, 6: 40}[leg.towards.version]
    return address + 8 + 8 + leg.target.options_length


def _options(inquiry: Inquiry) -> tuple[OptionResult, ...]:
    leg = inquiry.leg
    if inquiry.options:
        patterns = {question.pattern for question in inquiry.seen}
        if patterns >= {Pattern.VALUE, Pattern.COMPLEMENT} or not inquiry.missed:
            return inquiry.options
        gone = "complemented test values" if Pattern.COMPLEMENT not in patterns else "test values"
        if gone == "test values":
            return inquiry.options  # those travel in the large probe, whose loss is told as its size
        problem = f"packets with {gone} do not arrive"
        return tuple([_doubted(one, problem) for one in inquiry.options])
    bare = any(question.pattern is Pattern.BARE for question in inquiry.seen)
    problem = (
        f"packets without options arrive at {leg.destination}, with them they do not: its TLV map has another "
        "length for one, or something on the way drops options"
        if bare
        else "nothing arrived"
    )
    return tuple(
        [OptionResult(option=one.name, verified=False, problem=problem) for one in leg.target.options]
    )


def _doubted(result: OptionResult, problem: str) -> OptionResult:
    return OptionResult(option=result.option, verified=False, problem=problem) if result.verified else result
