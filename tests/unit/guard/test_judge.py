# SPDX-License-Identifier: Apache-2.0
"""Which fault a megaflow shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.guard.judge import Fault, Rules, Verdict, judge
from ovs_geneve.megaflow import OptionHeader
from ovs_geneve.openflow.tlv_table import TlvMap
from tests.unit.guard.vectors import megaflow, megaflows

CONTEXT, TRAIL = (0xFF00, 1), (0xFF00, 2)
MAPS = [TlvMap(*CONTEXT, 4, 0), TlvMap(*TRAIL, 12, 1)]
RULES = Rules.of(MAPS, {1000: frozenset({CONTEXT})})


@pytest.mark.parametrize(
    ("name", "fault", "option"),
    [
        ("wrong-length", Fault.WRONG_LENGTH, (0xFF00, 1, 8)),
        ("malformed", Fault.MALFORMED, None),
        ("not-carried", Fault.NOT_CARRIED, (0xFF00, 2, 12)),
        ("duplicate", Fault.DUPLICATE, (0xFF00, 1, 4)),
        ("kernel not-carried", Fault.NOT_CARRIED, (0xFF00, 2, 12)),
        ("kernel duplicate", Fault.DUPLICATE, (0xFF00, 1, 4)),
    ],
)
def test_fault_by_what_was_sent(name: str, fault: Fault, option: tuple[int, int, int] | None) -> None:
    wanted = Verdict(fault, None if option is None else OptionHeader(*option))
    assert (
        judge(megaflow(name), replace(RULES, carried=dict.fromkeys((1000, 1001), frozenset({CONTEXT}))))
        == wanted
    )


@pytest.mark.parametrize(("name", "length"), [("kernel unknown-critical", 8), ("kernel malformed", 20)])
def test_what_the_kernel_does_not_tell_is_refused_all_the_same(name: str, length: int) -> None:
    assert judge(megaflow(name), RULES) == Verdict(Fault.UNTOLD, length=length)


def test_words_that_the_kernel_does_not_tell_of_are_no_duplicates() -> None:
    """Nor is a drop for another reason one for bad options."""
    good = megaflow("kernel not critical")
    assert judge(good, RULES) is None
    blank = replace(good, options=(OptionHeader(0, 0, 0), *good.options, OptionHeader(0, 0, 0)))
    assert judge(blank, RULES) is None
    assert judge(replace(good, options=(), untold=8, sees_options=False, drops=True), RULES) is None


def test_unknown_critical_and_good_packets() -> None:
    good, critical = megaflows("ipv4")
    assert judge(good, RULES) is None
    assert judge(critical, RULES) == Verdict(Fault.UNKNOWN_CRITICAL, OptionHeader(0xFF00, 0x81, 8))


def test_a_drop_outlives_what_made_it_bad() -> None:
    now = Rules.of([*MAPS, TlvMap(0xFF00, 0x81, 8, 2)], {1000: frozenset({CONTEXT, (0xFF00, 0x81)})})
    assert judge(megaflows("ipv4")[1], now) == Verdict(Fault.OUTDATED)


def test_a_network_nobody_declared_carries_what_it_likes() -> None:
    assert judge(megaflow("not-carried"), Rules.of(MAPS, {})) is None


def test_good_length_counts_the_headers() -> None:
    assert RULES.good_length(1000) == 8
    assert RULES.good_length(7) == 0
