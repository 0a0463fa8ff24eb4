# SPDX-License-Identifier: Apache-2.0
"""How the guard puts it."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from controller.guard.judge import Fault, Verdict
from controller.guard.watch import Offence
from controller.guard.words import MAX_OPTIONS, Words
from ovs_geneve.megaflow import OptionHeader


def offence(fault: Fault, number: int = 0x81) -> Offence:
    if fault is Fault.UNTOLD:
        verdict = Verdict(fault, length=4 * number)
    elif fault in (Fault.MALFORMED, Fault.OUTDATED):
        verdict = Verdict(fault)
    else:
        verdict = Verdict(fault, OptionHeader(0xFF00, number, 4))
    return Offence(source=ip_address("192.0.2.1"), vni=100, verdict=verdict, packets=7, cuts_off=True)


def test_who_what_and_where() -> None:
    said = Words().describe("hv2", offence(Fault.UNKNOWN_CRITICAL), "hv1", "blue")
    assert said == (
        "hv1 (192.0.2.1) sent critical option 0xff00/0x81 of 4 bytes, which nobody declared,"
        " on network blue (VNI 100)"
    )
    assert Words().describe("hv2", offence(Fault.MALFORMED), "hv1", "VNI 100").endswith(", on VNI 100")


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_has_words(fault: Fault) -> None:
    said = Words().describe("hv2", offence(fault), "hv1", "blue")
    assert "{" not in said
    assert ("0xff00/0x81" in said) is (offence(fault).verdict.option is not None)


@pytest.mark.parametrize("fault", [Fault.UNKNOWN_CRITICAL, Fault.UNTOLD])
def test_a_peer_that_tries_every_option_is_told_of_a_few_times(fault: Fault) -> None:
    words = Words()
    said = [words.describe("hv2", offence(fault, n), "hv1", "blue") for n in range(128, 256)]
    assert len(set(said)) == MAX_OPTIONS + 1
    assert "options of many kinds" in said[-1]
    assert words.describe("hv2", offence(fault, 128), "hv1", "blue") == said[0]


def test_of_what_nobody_tells_the_length_is_told() -> None:
    said = Words().describe("hv2", offence(Fault.UNTOLD, 2), "hv1", "blue")
    assert "sent 8 bytes of options that Open vSwitch refuses (the kernel does not tell which), on" in said


def test_an_option_is_called_by_its_name():
    said = Words().describe("hv2", offence(Fault.WRONG_LENGTH, 1), "hv1", "blue", lambda *_: "context")
    assert "option context (0x" in said
