# SPDX-License-Identifier: Apache-2.0
"""What an object counts is what its own flows count, on the hosts that answer."""

from __future__ import annotations

from dataclasses import replace

from controller.compiler.cookies import Feature
from controller.reconciler.counting import count
from ovs_geneve.errors import ConnectionLost
from ovs_geneve.openflow.actions import Output
from ovs_geneve.openflow.events import Bundle
from ovs_geneve.openflow.fields import REG0
from ovs_geneve.openflow.flow import Flow, Match
from ovs_geneve.openflow.stats import Count
from tests.builders import seal_flow
from tests.fakes.switch import FakeBridge, FakeChannel


class Lost(FakeChannel):
    async def counters(self, cookie: int, cookie_mask: int) -> dict[int, Count]:
        raise ConnectionLost("cut")


def channel(*packets: tuple[Feature, int, int], kind: type[FakeChannel] = FakeChannel) -> FakeChannel:
    """Return the way to a bridge whose flows have counted so many packets for a feature of an object."""
    bridge = FakeBridge()
    for number, (feature, key, counted) in enumerate(packets):
        flow = Flow(table=1, priority=1, match=Match.of((REG0, number)), actions=(Output(1),))
        sealed = seal_flow(flow, feature, key)
        assert bridge.carry_out(Bundle([sealed.message])) == ()
        bridge.flows[sealed.key] = replace(bridge.flows[sealed.key], packets=counted)
    return kind(bridge, lambda sender, event: None)


async def test_only_the_flows_of_the_object_count() -> None:
    policy = Feature.POLICY
    channels = {
        "hv1": channel((policy, 7, 3), (policy, 7, 4), (policy, 8, 50), (Feature.LOCAL, 7, 60)),
        "hv2": channel((policy, 8, 9)),
        "hv3": channel((policy, 7, 1), kind=Lost),
    }
    assert await count(channels, policy, 7) == {"hv1": Count(7, 700), "hv2": Count(0, 0), "hv3": None}
