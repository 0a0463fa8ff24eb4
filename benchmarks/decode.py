# SPDX-License-Identifier: Apache-2.0
"""How fast are flow statistics read? Our decoder against os-ken's, on the same replies of a real ovs-vswitchd.

What the controller needs of them is the cookie of each flow, by the flow's key: `Observation` keeps just that.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from os_ken.ofproto import ofproto_parser, ofproto_v1_5
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from benchmarks.rig import flows as shape
from benchmarks.rig.daemons import BRIDGE, OvsHost, workspace
from benchmarks.rig.report import Report, progress
from benchmarks.rig.switch import connected
from ovs_geneve.openflow import osken_ext
from ovs_geneve.openflow.events import Observed
from ovs_geneve.openflow.messages import decode_header, stamp
from ovs_geneve.openflow.meters import meter_desc_request
from ovs_geneve.openflow.observation import Observation
from ovs_geneve.openflow.stats import decode_flow_stats, flow_stats_request, group_desc_request
from ovs_geneve.openflow.tlv_table import encode_tlv_request

GOAL = 20
FLOWS = 100_000
ROUNDS = 5

_FIRST_XID = 100
"The observation's: it asks for TLV map, groups, flows and meters with four xids in a row."

Replies = Sequence[bytes]


async def capture(host: OvsHost) -> tuple[Replies, Replies]:
    """Ask a bridge for TLV map, groups and meters, and for its flows; give the replies as they came."""
    questions = encode_tlv_request(), group_desc_request(0), flow_stats_request(xid=0), meter_desc_request(0)
    async with connected(host.management) as (switch, _):
        answers = [await switch.request(question) for question in questions]
    tlv, groups, flows, meters = (
        [stamp(reply, _FIRST_XID + number) for reply in replies] for number, replies in enumerate(answers)
    )
    return [*tlv, *groups, *meters], flows


def by_observation(before: Replies, flows: Replies) -> dict[bytes, int]:
    """Do what a session does with the replies: key -> cookie."""
    observation = Observation(_FIRST_XID, 0, 0)
    observed = None
    for message in (*before, *flows):
        observed = observation.receive(decode_header(message), message)
    assert isinstance(observed, Observed)
    return dict(observed.flows)


def by_entries(flows: Replies) -> list[Any]:
    """Decode counters and instructions' place too."""
    return [entry for message in flows for entry in decode_flow_stats(message)]


def by_osken(flows: Replies) -> list[Any]:
    """Let os-ken make its objects."""
    datapath = ProtocolDesc(ofproto_v1_5.OFP_VERSION)
    return [
        entry
        for message in flows
        for entry in ofproto_parser.msg(datapath, *decode_header(message), message).body
    ]


def timed(work: Callable[[], Any], taken: list[float], count: int) -> None:
    """Note the microseconds of CPU that a flow took."""
    began = time.process_time()
    work()
    taken.append((time.process_time() - began) / count * 1e6)


def check(before: Replies, flows: Replies, count: int) -> None:
    """Assert that all ways find the same flows."""
    expected = {shape.flow(varying).key: varying.cookie for varying in shape.numbers(count)}
    assert by_observation(before, flows) == expected
    assert {entry.key: entry.cookie for entry in by_entries(flows)} == expected
    cookies = sorted(entry.cookie for entry in by_osken(flows))
    assert cookies == sorted(expected.values()), f"os-ken found {len(cookies)} flows"


def main(*, quick: bool = False) -> None:
    """Measure and print."""
    osken_ext.install()
    count, rounds = (2_000, 1) if quick else (FLOWS, ROUNDS)
    with workspace() as folder, OvsHost(folder / "hv1") as host:
        shape.add_bridge(host)
        shape.map_option(host)
        file = shape.write(host, count)
        host.ofctl("--bundle", "add-flows", BRIDGE, str(file))
        before, flows = asyncio.run(capture(host))
    check(before, flows, count)

    keys: list[float] = []
    entries: list[float] = []
    objects: list[float] = []
    for number in range(rounds):
        timed(lambda: by_observation(before, flows), keys, count)
        timed(lambda: by_entries(flows), entries, count)
        timed(lambda: by_osken(flows), objects, count)
        progress(f"decode: round {number + 1} of {rounds}")

    report = Report("decode")
    own = report.add_series("Observation: key and cookie", keys, "us of CPU a flow")
    all_of_it = report.add_series("decode_flow_stats: counters too", entries, "us of CPU a flow")
    theirs = report.add_series("os-ken: objects", objects, "us of CPU a flow")
    report.note("flows", count)
    report.note("replies", len(flows))
    report.note("bytes", sum(map(len, flows)))
    report.note("decode_flow_stats against os-ken", round(theirs / all_of_it, 1))
    report.at_least("flow statistics decoded a second, Observation against os-ken, x", theirs / own, GOAL)
    report.print()


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
