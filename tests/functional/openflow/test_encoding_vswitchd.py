# SPDX-License-Identifier: Apache-2.0
"""What we encode, a real vswitchd reports: the same keys, the same groups, the same text."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest

from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.actions import Group, Output, Resubmit
from ovs_geneve.openflow.fields import tun_metadata
from ovs_geneve.openflow.flow import Bucket, Flow, GroupEntry, GroupKind, Match
from ovs_geneve.openflow.stats import (
    canonical_buckets,
    decode_flow_stats,
    decode_group_desc,
    flow_stats_request,
    group_desc_request,
    is_last_part,
)
from ovs_geneve.openflow.template import GroupCommand, encode_flow_add, encode_flow_delete, encode_group
from ovs_geneve.openflow.text import render_flow, render_group
from tests.functional.openflow.conftest import Switch
from tests.unit.openflow.cases import OPTIONS, random_flow, random_group, random_match

MAPS = [
    f"{{class=0xff00,type={index},len={length}}}->tun_metadata{index}" for index, length in OPTIONS.items()
]


def observed(switch: Switch) -> dict[bytes, int]:
    parts = switch.connection.multipart(flow_stats_request(xid=77))
    assert [is_last_part(part) for part in parts] == [False] * (len(parts) - 1) + [True]
    return {entry.key: entry.cookie for part in parts for entry in decode_flow_stats(part)}


def groups_of(switch: Switch) -> dict[int, tuple[GroupKind, bytes]]:
    parts = switch.connection.multipart(group_desc_request(78))
    return {
        entry.group_id: (entry.kind, entry.buckets) for part in parts for entry in decode_group_desc(part)
    }


def test_every_match_comes_back_as_the_same_bytes(switch: Switch) -> None:
    switch.map_options(*MAPS)
    random = Random(1)
    flows = {}
    for number in range(4000):
        match = random_match(random)
        flow = Flow(table=number % 250, priority=random.getrandbits(16), match=match, cookie=number + 1)
        flows[flow.key] = flow
    switch.connection.install(*(encode_flow_add(flow) for flow in flows.values()))
    assert observed(switch) == {key: flow.cookie for key, flow in flows.items()}
    switch.connection.install(*(encode_flow_delete(key) for key in flows))
    assert observed(switch) == {}


def test_every_action_is_accepted(switch: Switch) -> None:
    switch.map_options(*MAPS)
    random = Random(2)
    flows = {flow.key: flow for flow in (random_flow(random) for _ in range(500))}
    switch.connection.install(*(encode_flow_add(flow) for flow in flows.values()))
    assert observed(switch) == {key: flow.cookie for key, flow in flows.items()}


def test_groups_compare_equal_after_the_switch_rewrote_them(switch: Switch) -> None:
    switch.map_options(*MAPS)
    random = Random(3)
    entries = [random_group(random, number, range(max(0, number - 5), number)) for number in range(300)]
    switch.connection.install(*(encode_group(GroupCommand.ADD, entry) for entry in entries))
    assert groups_of(switch) == {entry.group_id: (entry.kind, canonical_buckets(entry)) for entry in entries}


def test_our_text_means_what_our_bytes_mean(switch: Switch, tmp_path: Path) -> None:
    switch.map_options(*MAPS)
    random = Random(4)
    drawn = [random_flow(random, 7) for _ in range(800)]
    flows = {flow.key: flow for flow in drawn if readable(render_flow(flow))}
    switch.connection.install(*(encode_flow_add(flow) for flow in flows.values()))
    ours = dumped(switch)
    switch.ofctl("del-flows")
    path = tmp_path / "flows"
    path.write_text("".join(f"{render_flow(flow)}\n" for flow in flows.values()))
    switch.ofctl("add-flows", str(path))
    assert dumped(switch) == ours
    assert observed(switch) == {key: flow.cookie for key, flow in flows.items()}


def test_our_groups_text_means_what_our_bytes_mean(switch: Switch) -> None:
    switch.map_options(*MAPS)
    random = Random(5)
    drawn = [random_group(random, number) for number in range(60)]
    entries = [entry for entry in drawn if readable(render_group(entry))]
    switch.connection.install(*(encode_group(GroupCommand.ADD, entry) for entry in entries))
    ours = groups_of(switch)
    switch.ofctl("del-groups")
    for entry in entries:
        switch.ofctl("add-group", render_group(entry))
    assert groups_of(switch) == ours


def test_tables_by_name(switch: Switch) -> None:
    tables = "flow_tables:3=@three", "flow_tables:4=@four"
    switch.vswitchd.vsctl(
        *("--id=@three", "create", "flow_table", "name=classify", "--"),
        *("--id=@four", "create", "flow_table", "name=l2", "--", "set", "bridge", switch.name, *tables),
    )
    flow = Flow(table=3, priority=1, match=Match.of((f.IN_PORT, 1)), actions=(Resubmit(4),), goto=4)
    text = render_flow(flow, {3: "classify", 4: "l2"})
    assert text == "table=classify, priority=1,in_port=1 actions=resubmit(,l2),goto_table:l2"
    switch.vswitchd.ofctl("--names", "add-flow", switch.name, text)
    assert list(observed(switch)) == [flow.key]


@pytest.mark.parametrize(
    ("match", "error"),
    [
        (Match.of((f.IPV4_SRC, 1)), (4, 9)),
        (Match.of((f.ETH_TYPE, 0x86DD), (f.IPV4_SRC, 1)), (4, 9)),
        (Match.of((f.ETH_TYPE, 0x0800), (f.UDP_SRC, 1)), (4, 9)),
        (Match.of((f.ETH_TYPE, 0x86DD), (f.IP_PROTO, 58), (f.ND_TARGET, 1)), (4, 9)),
        (Match.of((f.VLAN_PCP, 1)), (4, 9)),
        (Match.of((tun_metadata(40, 4), 1)), (0xFFFF, 37)),
    ],
)
def test_a_match_that_cannot_be_is_refused(switch: Switch, match: Match, error: tuple[int, int]) -> None:
    assert switch.connection.refused(encode_flow_add(Flow(table=0, priority=1, match=match))) == error
    assert observed(switch) == {}


def test_group_errors(switch: Switch) -> None:
    entry = GroupEntry(group_id=1, kind=GroupKind.ALL, buckets=(Bucket(actions=(Output(1),)),))
    assert switch.connection.refused(encode_group(GroupCommand.MODIFY, entry)) == (6, 8)
    switch.connection.install(encode_group(GroupCommand.ADD, entry))
    assert switch.connection.refused(encode_group(GroupCommand.ADD, entry)) == (6, 0)
    unknown = Flow(table=0, priority=1, match=Match.of(), actions=(Group(99),))
    assert switch.connection.refused(encode_flow_add(unknown)) == (2, 9)
    switch.connection.install(encode_group(GroupCommand.DELETE, entry))
    assert groups_of(switch) == {}


def test_group_replaced(switch: Switch) -> None:
    random = Random(6)
    for _ in range(30):
        before, after = random_group(random, 5), random_group(random, 5)
        switch.connection.install(
            encode_group(GroupCommand.ADD, before), encode_group(GroupCommand.MODIFY, after)
        )
        assert groups_of(switch) == {5: (after.kind, canonical_buckets(after))}
        switch.connection.install(encode_group(GroupCommand.DELETE, after))


def test_cookies_select_what_is_reported_and_deleted(switch: Switch) -> None:
    flows = [
        Flow(table=1, priority=number, match=Match.of((f.IN_PORT, 1)), cookie=0xAB << 56 | number)
        for number in range(4)
    ]
    switch.connection.install(*(encode_flow_add(flow) for flow in flows))
    request = flow_stats_request(xid=1, table=1, cookie=2, cookie_mask=0xFF)
    (part,) = switch.connection.multipart(request)
    assert [entry.key for entry in decode_flow_stats(part)] == [flows[2].key]
    switch.connection.install(encode_flow_delete(flows[1].key, cookie=0, cookie_mask=0xFF << 56))
    assert flows[1].key in observed(switch)
    switch.connection.install(encode_flow_delete(flows[1].key, cookie=0xAB << 56, cookie_mask=0xFF << 56))
    assert flows[1].key not in observed(switch)


def dumped(switch: Switch) -> list[str]:
    """Return the bridge's flows as ovs-ofctl prints them, actions included, without counters."""
    lines = switch.vswitchd.ofctl("--no-stats", "dump-flows", switch.name).splitlines()
    return sorted(line for line in lines if "actions=" in line)


def readable(text: str) -> bool:
    """Tell whether ovs-ofctl can read it: it has no word for some masks of ip_frag, and it takes an
    IPv6 mask that starts with a decimal digit for a prefix length (`ipv6_parse_masked_len`).
    """
    return "ip_frag=0x" not in text and not re.search(r"/\d+[0-9a-f]*:", text)
