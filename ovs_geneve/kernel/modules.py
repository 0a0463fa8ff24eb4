# SPDX-License-Identifier: Apache-2.0
"""Which modules of the kernel our objects live in; the one place that knows. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ovs_geneve.kernel import codec_links
from ovs_geneve.kernel.objects import (
    Action,
    Filter,
    Fw,
    Goto,
    KernelState,
    Mirred,
    SetMark,
    TunnelSet,
    TunnelUnset,
    Verdict,
)

LINK_KINDS: Final = ("geneve", "bridge", "dummy", "vrf")
CLASSIFIERS: Final = ("cls_flower", "cls_fw")
QDISC: Final = "sch_ingress"
ACTIONS: Final[Mapping[type[Action], str]] = {
    TunnelSet: "act_tunnel_key",
    TunnelUnset: "act_tunnel_key",
    Mirred: "act_mirred",
    SetMark: "act_skbedit",
    Goto: "act_gact",
    Verdict: "act_gact",
}
ALL: Final = (*LINK_KINDS, *CLASSIFIERS, QDISC, *dict.fromkeys(ACTIONS.values()))
"Of everything that a KernelState can say."


def modules_of(state: KernelState) -> frozenset[str]:
    """Return the modules that a kernel needs for a state."""
    found = {codec_links.kind_name(one.kind) for one in state.links}
    return frozenset(found.union(*(_modules_of_filter(one) for one in state.filters)))


def _modules_of_filter(one: Filter) -> Iterator[str]:
    yield QDISC
    yield classifier_of(one)
    yield from actions_of(one)


def classifier_of(one: Filter) -> str:
    """Return the module of a filter's match; `MatchAll` is a flower without keys."""
    return "cls_fw" if isinstance(one.match, Fw) else "cls_flower"


def actions_of(one: Filter) -> tuple[str, ...]:
    """Return the modules of a filter's actions."""
    return tuple(dict.fromkeys(ACTIONS[type(action)] for action in one.actions))
