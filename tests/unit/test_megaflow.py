# SPDX-License-Identifier: Apache-2.0
"""What is read of the megaflows that Open vSwitch dumps."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from ovs_geneve.megaflow import OptionHeader, parse_megaflows
from tests.unit.guard.vectors import dump, megaflow, megaflows


def test_drop_that_hits_good_packets_too() -> None:
    flow = megaflow("wrong-length")
    assert (flow.source, flow.tun_id, flow.eth_type) == (ip_address("fd09::1"), 1000, 0x0800)
    assert flow.options == (OptionHeader(0xFF00, 1, 8),)
    assert flow.drops
    assert not flow.sees_options
    assert flow.refused_unseen
    assert flow.packets == 2
    assert flow.options_text in flow.key


def test_options_that_do_not_fit_their_header() -> None:
    flow = megaflow("malformed")
    assert (flow.options, flow.malformed) == ((), 20)
    assert flow.refused_unseen


@pytest.mark.parametrize(
    ("name", "options", "drops"),
    [
        ("not-carried", [(0xFF00, 1, 4), (0xFF00, 2, 12)], True),
        ("duplicate", [(0xFF00, 1, 4), (0xFF00, 1, 4)], False),
    ],
)
def test_options_that_flows_looked_at(name: str, options: list[tuple[int, int, int]], drops: bool) -> None:
    flow = megaflow(name)
    assert [tuple(option) for option in flow.options] == options
    assert flow.sees_options
    assert not flow.refused_unseen
    assert flow.drops is drops


def test_good_and_refused_over_ipv4() -> None:
    good, refused = megaflows("ipv4")
    assert good.source == refused.source == ip_address("10.9.0.1")
    assert (good.drops, good.refused_unseen, good.sees_options) == (False, False, False)
    assert (refused.drops, refused.refused_unseen) == (True, True)
    assert refused.options == (OptionHeader(0xFF00, 0x81, 8),)


def test_what_goes_into_a_tunnel_or_is_no_megaflow_is_passed_over() -> None:
    sent = [line for line in dump("duplicate").splitlines() if "tnl_push" in line]
    assert sent
    assert list(parse_megaflows("\n".join([*sent, "flow-dump from the main thread:", "geneve(", ""]))) == []


def test_packet_without_options() -> None:
    line = dump("ipv4").splitlines()[0]
    bare = line.replace(line[line.index("geneve(") : line.index("),flags")], "geneve(")
    (flow,) = parse_megaflows(bare)
    assert flow.options == ()
    assert flow.malformed == 0


def test_of_what_no_flow_looked_at_the_kernel_tells_the_length_alone() -> None:
    flow = megaflow("kernel unknown-critical")
    assert (flow.options, flow.untold, flow.malformed) == ((), 8, 0)
    assert (flow.drops, flow.sees_options, flow.refused_unseen) == (True, False, True)
    malformed = megaflow("kernel malformed")
    assert (malformed.options, malformed.untold, malformed.malformed) == ((), 20, 0)


def test_what_flows_looked_at_the_kernel_tells() -> None:
    flow = megaflow("kernel not-carried")
    assert (flow.options, flow.untold) == ((OptionHeader(0xFF00, 1, 4), OptionHeader(0xFF00, 2, 12)), 0)
    assert not flow.refused_unseen


def test_an_option_of_class_0_is_one() -> None:
    """In the userspace datapath, which prints the whole packet: what is told of one option is told of all."""
    plain = dump("ipv4").splitlines()[1]
    (flow,) = parse_megaflows(plain.replace("geneve({", "geneve({class=0/0,type=0/0,len=0/0}{"))
    assert flow.options == (OptionHeader(0, 0, 0), OptionHeader(0xFF00, 0x81, 8))
    assert flow.untold == 0
    (flow,) = parse_megaflows(plain.replace("class=0xff00/0", "class=0/0"))
    assert flow.options == (OptionHeader(0, 0x81, 8),)
