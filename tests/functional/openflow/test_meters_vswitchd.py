# SPDX-License-Identifier: Apache-2.0
"""A real bridge gets the controller's meters, and gets them back when somebody alters them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from controller.compiler.compile import HostView
from controller.compiler.cookies import Feature
from controller.compiler.meters import METERS, PROBES
from controller.compiler.punts import Punt, send_up
from controller.hoststate import HostDelta
from controller.reconciler.programmer import Phase, Programmer
from controller.southbound.openflow import SwitchLink
from ovs_geneve.openflow.fields import IN_PORT
from ovs_geneve.openflow.flow import Flow, Match
from ovs_geneve.openflow.meters import contents
from tests.builders import seal_flow, small_fabric
from tests.functional.openflow.conftest import Switch
from tests.functional.openflow.controller import Controller
from tests.functional.openflow.test_pipeline_facts import actions_of

PROBE = Flow(table=0, priority=9, match=Match.of((IN_PORT, 2)), actions=(send_up(Punt.PROBE),))


class WithProbe(HostView):
    """What the compiler wants, and a flow that sends packets up."""

    def state(self):
        state = super().state()
        flow = seal_flow(PROBE, Feature.PIPELINE, 0)
        return type(state)(
            tlv_maps=state.tlv_maps,
            flows={**state.flows, flow.key: flow},
            groups=state.groups,
            meters=state.meters,
        )

    def is_met(self, observed) -> bool:
        return False  # the long way


class Bridge:
    """A real bridge with a programmer of its own."""

    def __init__(self, controller: Controller, datapath) -> None:
        loop = asyncio.get_running_loop()
        view = WithProbe(small_fabric().compiler, "hv1")
        self.controller = controller
        self.datapath = datapath
        self.programmer = Programmer(view, lambda: None, loop.call_later)
        self.link = SwitchLink(datapath.switch, self.programmer.handle)

    async def settled(self) -> None:
        await self.controller.until(lambda: self.programmer.phase is Phase.IDLE)

    async def look_again(self) -> None:
        self.programmer.observe_again()
        await self.settled()

    async def meters(self):
        return (await self.datapath.switch.observe()).meters


@pytest.fixture
async def bridge(switch: Switch, tmp_path: Path):
    async with Controller(tmp_path) as controller:
        controller.server.dial_unix(switch.vswitchd.folder / f"{switch.name}.mgmt")
        made = Bridge(controller, await controller.ready())
        made.programmer.connect(made.link)
        await made.settled()
        await made.look_again()
        yield made


async def test_meters_are_there_and_repaired_and_those_of_others_stay(bridge: Bridge, switch: Switch) -> None:
    assert await bridge.meters() == contents(METERS)
    assert "meter(" in actions_of(switch.trace("in_port=2"))
    switch.ofctl("add-meter", "meter=5,kbps,burst,band=type=drop,rate=10,burst_size=7")
    foreign = (await bridge.meters())[5]
    switch.ofctl("mod-meter", "meter=1761,kbps,band=type=drop,rate=1")
    switch.ofctl("del-meter", f"meter={PROBES}")
    await bridge.look_again()
    assert await bridge.meters() == {5: foreign, **contents(METERS)}
    assert "meter(" in actions_of(switch.trace("in_port=2")), "the flow was installed anew, with its meter"
    sent = bridge.programmer.messages_sent
    await bridge.look_again()
    assert bridge.programmer.messages_sent == sent


async def test_meters_go_when_nothing_is_wanted_any_more(bridge: Bridge) -> None:
    bridge.programmer.enqueue(lambda: HostDelta(meters=frozenset()), 1)
    await bridge.settled()
    assert await bridge.meters() == {}
