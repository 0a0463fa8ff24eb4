# SPDX-License-Identifier: Apache-2.0
"""What is said of a host without Open vSwitch: its agent heard here, by another controller, or by nobody."""

from __future__ import annotations

import asyncio

import pytest

from controller.intent.model import Kind
from controller.kernels.report import AgentReport, KernelProblem, PluggedInterface, problems_told
from controller.reconciler.status import Truth
from controller.rollout.hosts import RolloutHosts
from tests.builders import bind, host, network, port, put
from tests.unit.linux.builders import linux
from tests.unit.reconciler.test_reconciler import OtherControllers, Rig

PROBLEM = KernelProblem(
    object="link og-b000064", reason="DeviceInTheWay", message="EEXIST: it is there", part="network/blue"
)


class LinuxRig(Rig):
    """One Linux host with a port, and its agent."""

    def __init__(self) -> None:
        super().__init__()
        self.do(put("lx1", linux("192.0.2.1")), put("blue", network(100)))
        self.do(put("web1", port("blue", 1, "10.0.0.1")), bind("web1", "lx1"))

    def come(self) -> None:
        self.feed = self.reconciler.linux.follow("lx1")
        self.turn = self.feed.turn

    def acknowledge(self, *problems: KernelProblem) -> None:
        hosts = self.reconciler.linux
        plugged = (PluggedInterface(interface_id="web1", name="tap1"),)
        for _ in range(2):  # what it says of interfaces changes what it should hold
            generation = hosts.synced("lx1").generation
            hosts.report(
                "lx1",
                AgentReport(interfaces=plugged, kernel="6.1", acknowledged=generation, problems=problems),
            )

    def go(self) -> None:
        self.reconciler.linux.left("lx1", self.feed, self.turn)

    def said(self) -> dict[str, tuple[str, str]]:
        held = self.intent.hosts["lx1"]
        return {one.type: (one.status.value, one.reason) for one in self.reconciler.conditions(held)}


@pytest.fixture
def rig() -> LinuxRig:
    return LinuxRig()


def test_an_agent_that_is_heard_here(rig: LinuxRig) -> None:
    rig.come()
    assert rig.said()["Connected"] == ("True", "Connected")
    assert rig.said()["Programmed"] == ("False", "Pending")
    assert rig.condition(Kind.PORT, "web1", "Programmed").reason == "Pending"
    rig.acknowledge()
    assert rig.said()["Programmed"] == ("True", "Acknowledged")
    assert rig.condition(Kind.PORT, "web1", "Programmed").status is Truth.TRUE


def test_of_an_agent_that_nobody_hears_nothing_is_claimed_that_it_did_not_acknowledge(rig: LinuxRig) -> None:
    """As of a bridge that is not connected."""
    rig.come()
    rig.acknowledge()
    rig.go()
    assert rig.said()["Connected"] == ("False", "HostUnreachable")
    assert rig.said()["Programmed"] == ("False", "HostUnreachable")
    assert rig.condition(Kind.PORT, "web1", "Programmed").status is Truth.TRUE, "it was acknowledged"
    rig.do(put("web1", port("blue", 1, "10.0.0.9")))
    programmed = rig.condition(Kind.PORT, "web1", "Programmed")
    assert (programmed.status, programmed.reason) == (Truth.FALSE, "HostUnreachable")
    assert programmed.message == "not connected: lx1"
    rig.come()
    assert rig.condition(Kind.PORT, "web1", "Programmed").reason == "Pending"
    rig.acknowledge()
    assert rig.condition(Kind.PORT, "web1", "Programmed").status is Truth.TRUE


def test_an_agent_that_never_came_has_nothing(rig: LinuxRig) -> None:
    assert rig.said()["Programmed"] == ("False", "HostUnreachable")
    assert rig.condition(Kind.PORT, "web1", "Programmed").reason == "HostUnreachable"


async def test_an_agent_that_another_controller_hears(rig: LinuxRig) -> None:
    peers = rig.reconciler.elsewhere.peers = OtherControllers()
    held = rig.intent.ports["web1"]
    concerned = rig.reconciler.hosts_concerned(held)
    assert concerned == {"lx1"}
    waiting = asyncio.create_task(rig.reconciler.acknowledged(concerned, rig.intent.revision, held.key))
    await asyncio.sleep(0)
    assert rig.said() == {
        "Accepted": ("True", "Stored"),
        "Connected": ("Unknown", "ServedElsewhere"),
        "Provisioned": ("Unknown", "ServedElsewhere"),
        "Programmed": ("False", "Pending"),
    }
    assert rig.condition(Kind.HOST, "lx1", "Connected").message == "by controller other"
    assert rig.condition(Kind.PORT, "web1", "Programmed").message == "not acknowledged yet: lx1"
    assert rig.reconciler.progress("lx1").behind_since == 0
    peers.acknowledged = rig.intent.revision
    assert not waiting.done()
    rig.reconciler.peers_changed()
    await waiting
    assert rig.said()["Programmed"] == ("True", "Acknowledged")
    assert rig.condition(Kind.PORT, "web1", "Programmed").status is Truth.TRUE
    assert rig.reconciler.progress("lx1").behind_since is None


async def test_who_waits_goes_on_waiting_when_it_comes_here(rig: LinuxRig) -> None:
    peers = rig.reconciler.elsewhere.peers = OtherControllers()
    rig.reconciler.linux.on_progress = rig.reconciler.peers_changed
    waiting = asyncio.create_task(rig.reconciler.acknowledged(("lx1",), rig.intent.revision, 0))
    await asyncio.sleep(0)
    peers.holder = None
    rig.come()
    await asyncio.sleep(0)
    assert not waiting.done()
    rig.acknowledge()
    await waiting


def test_what_is_heard_here_is_not_asked_of_others(rig: LinuxRig) -> None:
    peers = rig.reconciler.elsewhere.peers = OtherControllers()
    peers.acknowledged = 1000
    rig.come()
    assert rig.said()["Connected"] == ("True", "Connected")
    assert rig.said()["Programmed"] == ("False", "Pending")
    assert rig.condition(Kind.PORT, "web1", "Programmed").reason == "Pending"


def test_what_the_kernel_refuses_is_said_by_controllers_that_do_not_hear_it(rig: LinuxRig) -> None:
    peers = rig.reconciler.elsewhere.peers = OtherControllers()
    peers.acknowledged = rig.intent.revision
    peers.told = problems_told([PROBLEM])
    assert rig.said()["Provisioned"] == ("False", "DeviceInTheWay")
    assert rig.said()["Programmed"] == ("False", "DeviceInTheWay")
    assert (
        rig.condition(Kind.NETWORK, "blue", "Programmed").message
        == "lx1: link og-b000064: EEXIST: it is there"
    )
    peers.told = "gibberish"
    assert rig.said()["Provisioned"] == ("False", "Unreadable")


def test_what_it_said_while_it_was_heard_here_is_forgotten_when_another_hears_it(rig: LinuxRig) -> None:
    rig.come()
    rig.acknowledge(PROBLEM)
    assert rig.reconciler.linux.heard() == {"lx1": problems_told([PROBLEM])}
    assert rig.said()["Provisioned"] == ("False", "DeviceInTheWay")
    rig.go()
    assert rig.reconciler.linux.heard() == {}
    rig.reconciler.elsewhere.peers = OtherControllers()
    assert rig.said()["Provisioned"] == ("Unknown", "ServedElsewhere")


def test_rollouts_wait_for_it_wherever_it_is_heard(rig: LinuxRig) -> None:
    sight = RolloutHosts(rig.reconciler)
    assert sight.lacks("lx1", rig.intent.revision, 0, None) == "its agent is not connected"
    peers = rig.reconciler.elsewhere.peers = OtherControllers()
    assert sight.lacks("lx1", rig.intent.revision, 0, None) == "not acknowledged yet"
    peers.acknowledged = rig.intent.revision
    assert sight.lacks("lx1", rig.intent.revision, 0, None) == ""


def test_who_hears_an_agent_does_not_act_for_its_network(rig: LinuxRig) -> None:
    """It may be that agent itself, beside the store."""
    rig.do(put("zz1", host("192.0.2.9")))
    sight = RolloutHosts(rig.reconciler)

    class Others(OtherControllers):
        name = "me"

        def holder_of(self, name: str) -> str | None:
            return {"zz1": "me", "lx1": "agent-lx1"}[name]

    sight.shared = Others()
    assert sight.is_ours(("lx1", "zz1"))
    assert sight.is_ours(("lx1",))
