# SPDX-License-Identifier: Apache-2.0
"""Where megaflows are, in what a host with traffic control dumped (tests/vectors/megaflows_tc.txt)."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovs_geneve.megaflow import OptionHeader
from ovs_geneve.offload.placement import REASONS, Place, PlacedFlow, Way, parse_dump

_FILE = Path(__file__).parents[2] / "vectors" / "megaflows_tc.txt"
RECORDED = {
    name: "\n".join(lines)
    for name, *lines in (part.splitlines() for part in _FILE.read_text(encoding="ascii").split("### ")[1:])
}


def flows(name: str, way: Way) -> list[PlacedFlow]:
    dump = parse_dump(RECORDED[name])
    assert dump.unread == 0
    return [flow for flow in dump.flows if flow.way is way]


@pytest.mark.parametrize(
    ("name", "way", "place", "keeps"),
    [
        ("offload off", Way.FROM_TUNNEL, Place.OPENVSWITCH, {"refused"}),
        ("offload off", Way.TO_TUNNEL, Place.OPENVSWITCH, {"refused"}),
        ("tc", Way.FROM_TUNNEL, Place.TC, set()),
        ("tc", Way.TO_TUNNEL, Place.TC, set()),
        ("conntrack", Way.FROM_TUNNEL, Place.OPENVSWITCH, {"conntrack", "recirculated"}),
        ("conntrack", Way.TO_TUNNEL, Place.TC, set()),
        ("dp_hash", Way.FROM_TUNNEL, Place.OPENVSWITCH, {"dp-hash", "recirculated"}),
        ("mirror", Way.TO_TUNNEL, Place.TC, set()),
        ("controller", Way.FROM_TUNNEL, Place.OPENVSWITCH, {"userspace"}),
        ("two options", Way.FROM_TUNNEL, Place.TC, set()),
        ("three options", Way.FROM_TUNNEL, Place.TC, set()),
    ],
)
def test_where_and_why(name: str, way: Way, place: Place, keeps: set[str]) -> None:
    found = flows(name, way)
    assert {flow.place for flow in found} == {place}
    assert set().union(*(flow.keeps for flow in found)) == keeps
    assert keeps <= REASONS.keys()


def test_options_have_their_lengths_whatever_is_compared() -> None:
    expected = (
        OptionHeader(0xFFFF, 0x80, 4),
        OptionHeader(0xFF01, 2, 124),
        OptionHeader(0xFF01, 3, 60),
    )
    for way in Way:
        assert {flow.options for flow in flows("three options", way)} == {expected}
    both = (OptionHeader(0xFFFF, 0x80, 4), OptionHeader(0xFF01, 1, 8))
    assert {flow.options for flow in flows("no option compared", Way.FROM_TUNNEL)} == {both}


def test_copies_into_tunnels_name_all_of_them() -> None:
    assert {flow.vnis for flow in flows("mirror", Way.TO_TUNNEL)} == {frozenset({77, 88})}


@pytest.mark.parametrize(("word", "place"), [("yes", Place.HARDWARE), ("partial", Place.PARTIAL)])
def test_what_a_driver_said_it_took(word: str, place: Place) -> None:
    # OVS lib/dpctl.c, format_dpif_flow: the word stands before dp.
    dump = RECORDED["tc"].replace(", dp:tc", f", offloaded:{word}, dp:tc")
    assert {flow.place for flow in parse_dump(dump).flows} == {place}


def test_data_of_any_length_is_read_over() -> None:
    line = RECORDED["tc"].splitlines()[0].replace("len=4,0x1234", f"len=124,0x{'ab' * 124}/0x{'f' * 248}")
    (flow,) = parse_dump(line).flows
    assert flow.options == (OptionHeader(0xFFFF, 0x80, 124),)


@pytest.mark.parametrize("line", ["ufid:1, tunnel(", "tunnel(tun_id=x), packets:1, actions:drop", "tunnel("])
def test_a_line_that_makes_no_sense_is_counted(line: str) -> None:
    assert parse_dump(line) == parse_dump(f"other\n{line}\n")
    assert parse_dump(line).unread == 1
