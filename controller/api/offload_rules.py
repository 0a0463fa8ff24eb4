# SPDX-License-Identifier: Apache-2.0
"""By which rules a network's packets are judged: those of hosts with Open vSwitch, or those of hosts without. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ovs_geneve.offload import linux, verdict
from ovs_geneve.offload.families import Family
from ovs_geneve.offload.linux import Forwarding
from ovs_geneve.offload.verdict import NetworkUse, OptionUse, Reason

Judge = Callable[[Family, NetworkUse], tuple[Reason, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """A network as some hosts forward it, and what of a family is said of that."""

    use: NetworkUse
    sending: Judge
    receiving: Judge
    of_option: Callable[[Family, OptionUse], tuple[Reason, ...]]
    never_sent: tuple[Reason, ...] = ()
    "Whatever the NIC."
    never_received: tuple[Reason, ...] = ()


def with_ovs(use: NetworkUse) -> Rules:
    """Return the rules of hosts with Open vSwitch."""
    return Rules(use=use, sending=verdict.sending, receiving=verdict.receiving, of_option=verdict.of_option)


def without_ovs(use: NetworkUse, by: Forwarding) -> Rules:
    """Return the rules of hosts without."""
    return Rules(
        use=use,
        sending=partial(linux.sending, by=by),
        receiving=partial(linux.receiving, by=by),
        of_option=partial(linux.of_option, by=by),
        never_sent=linux.never_sent(by),
        never_received=linux.never_received(by),
    )
