# SPDX-License-Identifier: Apache-2.0
"""How fast are flows encoded? Our templates and values against os-ken's objects, the same bytes on all ways."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address
from typing import Any

from os_ken.ofproto import ofproto_v1_5 as ofproto
from os_ken.ofproto import ofproto_v1_5_parser as parser
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from benchmarks.rig import flows as shape
from benchmarks.rig.flows import Numbers
from benchmarks.rig.report import Report, progress
from ovs_geneve.openflow import osken_ext
from ovs_geneve.openflow.template import encode_flow_add

GOAL = 100
ROUNDS = 7

Encode = Callable[[Iterable[Numbers]], list[bytes]]


def by_template(flows: Iterable[Numbers]) -> list[bytes]:
    """Encode as the compiler does where many flows have one shape."""
    pack = shape.template().pack
    return [pack(*varying) for varying in flows]


def by_value(flows: Iterable[Numbers]) -> list[bytes]:
    """Build Match, actions and Flow, and encode them."""
    return [encode_flow_add(shape.flow(varying)) for varying in flows]


def by_osken(flows: Iterable[Numbers]) -> list[bytes]:
    """Build os-ken's objects and serialize them."""
    datapath = ProtocolDesc(ofproto.OFP_VERSION)
    return [_osken_message(datapath, varying) for varying in flows]


def _osken_message(datapath: Any, varying: Numbers) -> bytes:
    actions = [
        parser.OFPActionSetField(tun_ipv4_dst=str(IPv4Address(varying.tunnel))),
        parser.OFPActionSetField(tun_metadata0=varying.context),
        parser.OFPActionOutput(shape.PORT, 0),
    ]
    message = parser.OFPFlowMod(
        datapath=datapath,
        cookie=varying.cookie,
        table_id=shape.TABLE,
        priority=shape.PRIORITY,
        buffer_id=ofproto.OFP_NO_BUFFER,
        out_port=ofproto.OFPP_ANY,
        out_group=ofproto.OFPG_ANY,
        match=parser.OFPMatch(tunnel_id=varying.vni, eth_dst=varying.mac.to_bytes(6).hex(":")),
        instructions=[parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, actions)],
    )
    message.set_xid(0)
    message.serialize()
    return bytes(message.buf)


def measure(ways: dict[Encode, int], rounds: int) -> dict[Encode, list[float]]:
    """Time each way on so many flows, the ways taking turns; give microseconds of CPU a flow."""
    taken: dict[Encode, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        for way, count in ways.items():
            flows = list(shape.numbers(count))
            began = time.process_time()
            way(flows)
            taken[way].append((time.process_time() - began) / count * 1e6)
        progress(f"encode: round {number + 1} of {rounds}")
    return taken


def main(*, quick: bool = False) -> None:
    """Measure and print."""
    osken_ext.install()
    sample = list(shape.numbers(1_000))
    expected = by_osken(sample)
    assert by_template(sample) == expected, "template and os-ken give other bytes"
    assert by_value(sample) == expected, "values and os-ken give other bytes"

    many, few = (2_000, 200) if quick else (100_000, 5_000)
    taken = measure({by_template: many, by_value: many // 5, by_osken: few}, 1 if quick else ROUNDS)
    report = Report("encode")
    template = report.add_series("FlowTemplate.pack", taken[by_template], "us of CPU a flow")
    value = report.add_series("Match, Flow, encode_flow_add", taken[by_value], "us of CPU a flow")
    osken = report.add_series("os-ken, construct and serialize", taken[by_osken], "us of CPU a flow")
    report.note("bytes a flow", len(expected[0]))
    report.note("flows a second by template", round(1e6 / template))
    report.note("flows a second by value", round(1e6 / value))
    report.note("flows a second by os-ken", round(1e6 / osken))
    report.note("values against os-ken", round(osken / value, 1))
    report.at_least("flows a second, FlowTemplate.pack against os-ken's objects, x", osken / template, GOAL)
    report.print()


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
