# SPDX-License-Identifier: Apache-2.0
"""What a family of NICs can be hoped to take of a network's packets, from rules alone. Pure.

    network's options and policies ─┐
    family's limits ────────────────┴─► reasons, each no or unknown ─► yes when there is none

A yes is that nothing known speaks against it: whether a NIC did take a flow is told by that NIC (`live.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ovs_geneve.offload.families import SOFTWARE, Family, Limit, families

_OPTION_HEADER = 4

_OVS_TC = "Open vSwitch 3.1 lib/netdev-offload-tc.c"


class Verdict(StrEnum):
    """Whether packets can be handled by a NIC."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Feature(StrEnum):
    """What the policies of a network ask for besides forwarding."""

    CONNTRACK = "conntrack"
    MIRROR = "mirror"
    QUEUE = "queue"
    DSCP = "dscp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why not, or why nobody knows."""

    code: str
    verdict: Verdict
    message: str
    change: str = ""
    "What would have it otherwise; empty where nothing does."
    source: str = ""
    option: str = ""
    "The option that it is about; empty for the network."


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionUse:
    """An option of a network's packets."""

    name: str
    length: int
    read: bool = False
    "A policy compares it where packets arrive."


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkUse:
    """What is to be known of a network."""

    options: tuple[OptionUse, ...] = ()
    features: frozenset[Feature] = frozenset()
    underlay: frozenset[int] = frozenset({4})
    "Versions of IP between its hosts."
    udp_port: int = 6081
    df: bool = True
    "The outer header is to say: do not fragment."
    oam: bool = False
    "Receivers compare the O bit of the GENEVE header, to drop OAM packets."

    @property
    def total(self) -> int:
        """Bytes of all options with their headers."""
        return sum(_OPTION_HEADER + option.length for option in self.options)


def verdict_of(reasons: Iterable[Reason]) -> Verdict:
    """Return what reasons come to: one no decides."""
    found = {reason.verdict for reason in reasons}
    if Verdict.NO in found:
        return Verdict.NO
    return Verdict.UNKNOWN if Verdict.UNKNOWN in found else Verdict.YES


def sending(family: Family, use: NetworkUse) -> tuple[Reason, ...]:
    """Say what keeps a family from taking packets that hosts send."""
    return (*sets(family, use), *ports(family, use), *_features(family, use, ()))


def receiving(family: Family, use: NetworkUse) -> tuple[Reason, ...]:
    """Say what keeps a family from taking packets that arrive."""
    asked = ("conntrack_state",) if Feature.CONNTRACK in use.features else ()
    return (*compares(family, use), *ports(family, use), *_features(family, use, asked))


def of_option(family: Family, option: OptionUse) -> tuple[Reason, ...]:
    """Say what keeps a family from taking packets with one option alone, either way."""
    use = NetworkUse(options=(option,))
    return tuple({reason.code: reason for reason in (*sets(family, use), *compares(family, use))}.values())


def oam_taken() -> Reason:
    """Say what a host gives up so that what arrives can be offloaded."""
    return Reason(
        code="oam-taken",
        verdict=Verdict.YES,
        message="packets with the O bit of declared peers are not dropped here: what compares the bit is kept out of "
        "NICs, and out of traffic control of most kernels",
        change='"offload": "off" has them dropped, and keeps all that arrives in Open vSwitch',
        source="RFC 8926 3.4: tunnel endpoints must not forward the payload of control packets",
    )


def caveats(use: NetworkUse) -> tuple[Reason, ...]:
    """Say what is otherwise in packets that traffic control forwards, with a NIC or without."""
    if not use.df:
        return ()
    message = (
        "the outer DF bit is lost, but for the first packets of a flow, with Open vSwitch before 3.5 or on a kernel "
        "without TCA_FLOWER_KEY_ENC_FLAGS (Linux 6.1 has it not)"
    )
    return (
        Reason(
            code="df-lost",
            verdict=Verdict.YES,
            message=message,
            change='"tunnel": {"df_default": false} makes all packets alike',
            source="Open vSwitch 3.5 lib/netdev-offload-tc.c: OVS_TUNNEL_KEY_ATTR_DONT_FRAGMENT, enc_flags_support",
        ),
    )


def sets(family: Family, use: NetworkUse) -> Iterator[Reason]:
    """Say what keeps a family from putting options on packets."""
    what = f"whether {family.title} puts packets into GENEVE tunnels"
    change = "send from hosts with another NIC, or leave it to processors"
    yield from can("no-encapsulation", family.sets_options, what, change)
    header = family.set_header
    each = 0 if header is None else header.value or 0
    total = sum(each + option.length for option in use.options)
    yield from _at_most("options-too-long", family.set_bytes, total, "declare fewer or shorter options")


def compares(family: Family, use: NetworkUse) -> Iterator[Reason]:
    """Say what keeps a family from comparing what packets from tunnels carry."""
    what = f"whether {family.title} takes packets from GENEVE tunnels"
    cannot = tuple(can("no-geneve", family.geneve, what, ""))
    yield from cannot
    if verdict_of(cannot) is Verdict.NO:
        return
    if use.oam:
        what = f"whether {family.title} compares the O bit"
        change = '"offload": "on": the host then compares the bit no more, and drops no OAM packets'
        yield from can("oam-bit", family.oam, what, change)
    if not use.options:
        return
    most = family.matches
    change = (
        "carry no options in this network" if most and not most.value else "carry one option in this network"
    )
    yield from _at_most("too-many-options", most, len(use.options), change)
    if most is not None and most.value == 0:
        return
    for version, limit in ((4, family.match_bytes_v4), (6, family.match_bytes_v6)):
        if version in use.underlay:
            yield from _at_most("options-too-long", limit, use.total, "declare fewer or shorter options")
    for option in use.options:
        yield from _compares_option(family, option)
    kinds = family.several_kinds
    if kinds is not None and kinds.value is False:
        message = f"{kinds.says}: it holds if no other network of the host carries another option"
        yield Reason(
            code="one-kind-a-nic",
            verdict=Verdict.UNKNOWN,
            message=message,
            change="have all networks of such hosts carry the same option",
            source=kinds.source,
        )


def _compares_option(family: Family, option: OptionUse) -> Iterator[Reason]:
    change = "split off what is to be compared"
    yield from _at_most("option-too-long", family.match_data, option.length, change, option.name)
    zero = family.matches_zero
    if zero is None or zero.value is not False:
        return
    if option.read:
        yield Reason(
            code="zero-values",
            verdict=Verdict.UNKNOWN,
            message=f"{zero.says}: it depends on the values that ports have",
            change="give ports values other than 0 in the fields that policies read",
            source=zero.source,
            option=option.name,
        )
    else:
        # docs/decisions/0006: one flow on options has every megaflow look at the headers of all.
        change = "no policy reads it, so no bit of it is compared: have one read it, or do not carry it"
        yield _no("not-read", zero, change, option.name)


def ports(family: Family, use: NetworkUse) -> Iterator[Reason]:
    """Say that a family takes tunnels on another UDP port only."""
    limit = family.udp_port
    if limit is not None and use.udp_port != limit.value:
        yield _no("udp-port", limit, f"run the controller with --tunnel-port {limit.value}")


def _features(family: Family, use: NetworkUse, asked: Sequence[str]) -> Iterator[Reason]:
    """Say what keeps a family from what policies ask for; `asked` is for packets of this direction alone."""
    for name in (*sorted(use.features), *asked):
        change = _CHANGE[name]
        if name == Feature.QUEUE:
            message = "Open vSwitch puts no queue into rules of traffic control"
            source = f"{_OVS_TC}: set_flower_map has no skb_priority"
            yield Reason(code="queue", verdict=Verdict.NO, message=message, change=change, source=source)
            continue
        what = f"whether {family.title} takes rules with {_SAID[name]}"
        yield from can(name.replace("_", "-"), _limit_of(family, name), what, change)


def _limit_of(family: Family, name: str) -> Limit[bool] | None:
    own: Limit[bool] | None = getattr(family, name)
    software: Limit[bool] | None = getattr(families()[SOFTWARE], name)
    if own is not None and own.value is False:
        return own
    # Nothing reaches a driver that traffic control does not hold.
    return own if software is None or software.value else software


_SAID = {
    "conntrack": "connection tracking",
    "conntrack_state": "what conntrack said of a packet",
    "mirror": "copies",
    "dscp": "DSCP written",
}
_CHANGE = {
    "conntrack": "make the policies of this network stateless",
    "conntrack_state": "make the policies of this network stateless, or run a kernel with CONFIG_NET_TC_SKB_EXT",
    "mirror": "leave mirror out of the policies of this network",
    "queue": "leave set_queue out of the policies of this network",
    "dscp": "leave set_dscp out of the policies of this network",
}


def can(code: str, limit: Limit[bool] | None, what: str, change: str) -> Iterator[Reason]:
    """Say that a limit is no, depends, or is not known; `what` is what would be."""
    if limit is None:
        yield Reason(code=code, verdict=Verdict.UNKNOWN, message=f"it is not known {what}")
    elif limit.value is None:
        yield replace(_no(code, limit, change), verdict=Verdict.UNKNOWN)
    elif not limit.value:
        yield _no(code, limit, change)


def _at_most(
    code: str, limit: Limit[int] | None, there: int, change: str, option: str = ""
) -> Iterator[Reason]:
    if limit is not None and limit.value is not None and there > limit.value:
        yield _no(code, limit, f"{there} here, {limit.value} at most: {change}", option)


def _no(code: str, limit: Limit[bool] | Limit[int], change: str, option: str = "") -> Reason:
    return Reason(
        code=code,
        verdict=Verdict.NO,
        message=limit.says,
        change=change,
        source=limit.source,
        option=option,
    )


def described(reasons: Sequence[Reason]) -> str:
    """Return reasons in one line."""
    return "; ".join(f"{one.option}: {one.message}" if one.option else one.message for one in reasons)
