# SPDX-License-Identifier: Apache-2.0
"""Broken flows are found, each with a packet that shows it; changes that break nothing are not."""

from __future__ import annotations

import pytest

from controller.proof.report import Violation
from tests.unit.proof.estate import Estate, estate
from tests.unit.proof.mutants import HARMFUL, HARMLESS


@pytest.fixture(scope="module")
def sound() -> Estate:
    return Estate.of(estate())


def test_the_flows_are_proved_as_they_are(sound: Estate) -> None:
    proof = sound.prove()
    assert proof.violations == ()
    assert proof.doubts == ()
    assert proof.ports == 8
    assert proof.deliveries > 50, "nothing got anywhere: nothing was proved"


@pytest.mark.parametrize("name", HARMFUL)
def test_broken_flows_are_found(sound: Estate, name: str) -> None:
    mutant, breach = HARMFUL[name]
    proof = mutant(sound).prove()
    assert not proof.isolated
    assert breach in {one.breach for one in proof.violations}, (proof.violations, proof.doubts)
    for violation in proof.violations:
        assert_explains(violation)


@pytest.mark.parametrize("name", HARMLESS)
def test_changes_that_break_nothing_are_no_violation(sound: Estate, name: str) -> None:
    proof = HARMLESS[name](sound).prove()
    assert proof.violations == ()
    assert proof.doubts == ()


def assert_explains(violation: Violation) -> None:
    assert violation.packet
    assert violation.path[0].table == "classify"
    assert violation.out_of
    assert violation.sender
