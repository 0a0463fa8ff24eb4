# SPDX-License-Identifier: Apache-2.0
"""Hosts without Open vSwitch among several controllers, or with none: agents over kernels in memory."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controller.agent.beside_store import BesideStore
from controller.agent.source import RestSource
from controller.agent.store_source import StoreSource
from controller.errors import SetupError
from controller.intent.commands import Command
from controller.intent.intent import Intent
from controller.kernels.report import KernelProblem
from controller.tls import introduced
from ovs_geneve.kernel.objects import KernelState
from tests.builders import delete, port, put
from tests.functional.controllers import Controller, World, store_server, until
from tests.functional.intent.stores import load, serving
from tests.functional.ovsdb.conftest import free_port
from tests.functional.ovsdb.pki import Authority
from tests.storm.simulated import SimulatedFleet

PROBLEM = KernelProblem(
    object="bridge device og-b000064",
    reason="DeviceInTheWay",
    message="EEXIST: it is there",
    part="network/blue",
)


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="linux-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def world(folder: Path) -> Iterator[World]:
    made = store_server(folder)
    yield made
    made.close()


class Agents:
    """Agents of lx1 and others, each following whom it is told to."""

    def __init__(self, folder: Path) -> None:
        self.follow: dict[str, Callable[[], RestSource | StoreSource]] = {}
        self.fleet = SimulatedFleet(folder, ("lx1", "lx2"), lambda host: self.follow[host]())

    def start(self, host: str, of: Controller | World) -> None:
        """Start an agent that follows a controller, or the store."""
        if isinstance(of, Controller):
            self.follow[host] = lambda: RestSource(f"unix:{of.state}/rest.sock", host)
        else:
            self.follow[host] = lambda: StoreSource(BesideStore(of.store, host), host)
        self.fleet.start(host)

    def holds(self, host: str, address: str) -> bool:
        """Tell whether a kernel knows the neighbour, or lets a workload here have the address."""
        state = self.fleet.observe(host, KernelState()).state
        known = any(one.address == address for one in state.neighbours)
        return known or f"'{address}/32'" in repr(state.filters)


@pytest.fixture
def agents(folder: Path) -> Iterator[Agents]:
    made = Agents(folder)
    made.fleet.plug("lx1", "tap1", "a1")
    yield made
    made.fleet.close()


def declare(through: Controller) -> None:
    """Declare two Linux hosts and a port, whose interface is on lx1."""
    for number in (1, 2):
        document = {"kind": "linux", "endpoints": [{"address": f"192.0.2.{number}"}]}
        through.put(f"hosts/lx{number}", document)
    through.put("networks/blue", {"vni": 100})
    put_port(through, "a1", 1)


def put_port(through: Controller, name: str, number: int, **query: str) -> dict:
    document = {"network": "blue", "mac": f"02:00:00:00:00:{name[1:]:>02}", "addresses": [f"10.0.0.{number}"]}
    return through.put(f"ports/{name}", document, **query)


def said(through: Controller, of: str = "hosts/lx1") -> dict[str, tuple[str, str, str]]:
    conditions = through.http.get(f"/v1/{of}").json()["status"]["conditions"]
    return {one["type"]: (one["status"], one["reason"], one.get("message", "")) for one in conditions}


def is_served(through: Controller, by: str) -> bool:
    """Tell whether lx1 is said to be served elsewhere, and to have everything."""
    told = said(through)
    message = f"by controller {by}"
    return (
        told["Connected"] == ("Unknown", "ServedElsewhere", message)
        and told["Programmed"] == ("True", "Acknowledged", message)
        and said(through, "ports/a1")["Programmed"][0] == "True"
    )


def is_gone(through: Controller) -> bool:
    told = said(through)
    return (told["Connected"][:2], told["Programmed"][:2]) == (("False", "HostUnreachable"),) * 2


def test_whoever_is_asked_knows_of_the_agent_that_another_hears(world: World, agents: Agents) -> None:
    one, two = world.controller("a", "--store", world.store), world.controller("b", "--store", world.store)
    one.start()
    two.start()
    declare(one)
    assert is_gone(two)
    agents.start("lx1", one)
    until(lambda: is_served(two, one.name), lambda: str(said(two)))
    assert said(one)["Connected"] == ("True", "Connected", "")
    # Who waits here has waited for the kernel that is told there.
    for number in range(2, 12):
        view = put_port(two, "a1", number, wait="programmed", timeout="20s")
        assert agents.holds("lx1", f"10.0.0.{number}")
        assert {c["type"]: c["status"] for c in view["status"]["conditions"]}["Programmed"] == "True"
    put_port(two, "a7", 77)
    assert said(two, "ports/a7")["Bound"][1] == "NotPlugged"
    # What the kernel refuses is known there, too.
    agents.fleet.kernels["lx1"].problems = (PROBLEM,)
    agents.fleet.kernels["lx1"].changed()
    until(lambda: said(two)["Provisioned"][:2] == ("False", "DeviceInTheWay"), "the other one tells")
    assert said(two, "networks/blue")["Programmed"] == (
        "False",
        "DeviceInTheWay",
        "lx1: bridge device og-b000064: EEXIST: it is there",
    )
    agents.fleet.kernels["lx1"].problems = ()
    agents.fleet.kernels["lx1"].changed()
    until(lambda: is_served(two, one.name), "all is well again")
    # It goes to the other controller, and then for good.
    agents.fleet.kill("lx1")
    until(lambda: is_gone(two) and is_gone(one), "the stream ended")
    agents.start("lx1", two)
    until(lambda: is_served(one, two.name), lambda: str(said(one)))
    assert said(two)["Connected"] == ("True", "Connected", "")
    agents.fleet.kill("lx1")
    until(lambda: is_gone(two) and is_gone(one), "the stream ended")
    assert said(one, "ports/a1")["Programmed"][0] == "True", "it had that"
    put_port(one, "a1", 99)
    for asked in (one, two):
        assert said(asked, "ports/a1")["Programmed"] == ("False", "HostUnreachable", "not connected: lx1")


def test_a_controller_that_is_killed_hears_nobody(world: World, agents: Agents) -> None:
    one, two = world.controller("a", "--store", world.store), world.controller("b", "--store", world.store)
    one.start()
    two.start()
    declare(one)
    agents.start("lx1", one)
    until(lambda: is_served(two, one.name), lambda: str(said(two)))
    one.end(signal.SIGKILL)
    until(lambda: is_gone(two), lambda: str(said(two)))


async def change(world: World, *commands: Command) -> None:
    async with serving(world.store, writer="test") as service:
        for command in commands:
            await service.submit(command)


def stored(world: World) -> Intent:
    return asyncio.run(load(world.store))


def test_an_agent_follows_the_store_without_any_controller(world: World, agents: Agents) -> None:
    agents.fleet.plug("lx1", "tap2", "a2")
    central = world.controller("a", "--store", world.store)
    central.start()
    declare(central)
    agents.start("lx1", world)
    until(lambda: is_served(central, "agent-lx1"), lambda: str(said(central)))
    assert said(central, "ports/a1")["Bound"] == ("True", "Plugged", "lx1"), "the agent says where it is"
    assert agents.holds("lx1", "10.0.0.1")
    assert stored(world).capabilities["lx1"].spec.kernel == "6.1"
    for number in range(20, 30):
        put_port(central, "a1", number, wait="programmed", timeout="20s")
        assert agents.holds("lx1", f"10.0.0.{number}")
    central.end(signal.SIGKILL)
    # Nobody is there: a port is bound all the same, and what is stored is followed.
    asyncio.run(change(world, put("a2", port("blue", 2, "10.0.0.42"))))
    until(lambda: stored(world).host_of("a2") == "lx1", "the agent bound it")
    until(lambda: agents.holds("lx1", "10.0.0.42"), "its kernel has it")
    agents.fleet.unplug("lx1", "tap2")
    until(lambda: stored(world).host_of("a2") is None, "the agent says that it went")
    until(lambda: not agents.holds("lx1", "10.0.0.42"), "its kernel lost it")
    # A host that is forgotten keeps what it has.
    asyncio.run(change(world, delete("port/a2"), delete("port/a1"), delete("host/lx1")))
    until(lambda: "lx1" not in stored(world).hosts, "it is gone")
    kept = agents.fleet.observe("lx1", KernelState()).state
    assert any(link.name == "og-geneve" for link in kept.links)


def test_agents_of_the_store_and_of_a_controller_reach_each_other(world: World, agents: Agents) -> None:
    agents.fleet.plug("lx2", "tap2", "a2")
    central = world.controller("a", "--store", world.store)
    central.start()
    declare(central)
    put_port(central, "a2", 2)
    agents.start("lx1", world)
    agents.start("lx2", central)
    until(lambda: agents.holds("lx1", "10.0.0.2") and agents.holds("lx2", "10.0.0.1"), "each knows the other")
    view = put_port(central, "a2", 3, wait="programmed", timeout="20s")
    assert {c["type"]: c["status"] for c in view["status"]["conditions"]}["Programmed"] == "True"
    assert agents.holds("lx1", "10.0.0.3")
    # The port moves from the one to the other, whoever serves them.
    agents.fleet.plug("lx1", "tap2", "a2")
    until(lambda: said(central, "ports/a2")["Bound"][2] == "lx1", "it is where it turned up last")
    agents.fleet.unplug("lx1", "tap2")
    until(lambda: said(central, "ports/a2")["Bound"][2] == "lx2", "it is still there")


def test_a_store_that_is_away_changes_nothing(world: World, agents: Agents) -> None:
    assert world.daemons is not None
    central = world.controller("a", "--store", world.store)
    central.start()
    declare(central)
    agents.start("lx1", world)
    until(lambda: is_served(central, "agent-lx1"), lambda: str(said(central)))
    central.end()
    before = agents.fleet.observe("lx1", KernelState()).state
    world.daemons.end("ovsdb-server")
    agents.fleet.kernels["lx1"].changed()
    # A host that boots meanwhile is as it was.
    agents.fleet.boot("lx1")
    assert not agents.holds("lx1", "10.0.0.1")
    agents.start("lx1", world)
    until(lambda: agents.fleet.observe("lx1", KernelState()).state == before, "it has what was kept")
    world.start_store()
    asyncio.run(change(world, put("a1", port("blue", 1, "10.0.0.43"))))
    until(lambda: agents.holds("lx1", "10.0.0.43"), "it goes on")


def test_a_running_agent_goes_on_when_its_store_is_back(world: World, agents: Agents) -> None:
    assert world.daemons is not None
    central = world.controller("a", "--store", world.store)
    central.start()
    declare(central)
    agents.start("lx1", world)
    until(lambda: is_served(central, "agent-lx1"), lambda: str(said(central)))
    world.daemons.end("ovsdb-server", signal.SIGKILL)
    agents.fleet.unplug("lx1", "tap1")
    world.start_store()
    until(lambda: stored(world).host_of("a1") is None, "what it saw meanwhile is stored")
    put_port(central, "a5", 55)
    agents.fleet.plug("lx1", "tap5", "a5")
    until(lambda: agents.holds("lx1", "10.0.0.55"), "it goes on")
    until(lambda: said(central)["Connected"][2] == "by controller agent-lx1", "it is heard again")


@contextmanager
def process(world: World, host: str, interface_id: str) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-m", "tests.functional.store_agent"]
    running = subprocess.Popen([*command, world.store, host, str(world.folder / "alone"), interface_id])
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def test_an_agent_that_is_killed_is_missed_soon(world: World) -> None:
    central = world.controller("a", "--store", world.store)
    central.start()
    declare(central)
    with process(world, "lx1", "a1") as running:
        until(lambda: is_served(central, "agent-lx1"), lambda: str(said(central)))
        running.send_signal(signal.SIGKILL)
        until(lambda: is_gone(central), lambda: str(said(central)))
        assert said(central, "ports/a1")["Programmed"][1] == "HostUnreachable", "nobody knows any more"
    with process(world, "lx1", "a1"):
        until(lambda: is_served(central, "agent-lx1"), "another one is heard under the same name")


def test_a_host_that_an_agent_is_not_for(world: World, folder: Path) -> None:
    central = world.controller("a", "--store", world.store)
    central.start()
    central.put(
        "hosts/hv1", {"kind": "ovs", "endpoints": [{"address": "192.0.2.9"}], "ovsdb": "tcp:127.0.0.1:1"}
    )
    until(lambda: world.holders() == {"hv1": central.name}, "its controller serves it")
    fleet = SimulatedFleet(folder, ("hv1",), lambda host: StoreSource(BesideStore(world.store, host), host))
    try:
        fleet.start("hv1")
        with pytest.raises(ExceptionGroup) as raised:
            fleet.running("hv1").result(30)
        (error,) = raised.value.exceptions
        assert isinstance(error, SetupError)
        assert "host/hv1 has Open vSwitch" in str(error)
        assert "run no agent beside Open vSwitch" in str(error)
    finally:
        fleet.close()
    assert world.holders() == {"hv1": central.name}, "its controller goes on"


def test_a_store_over_tls(world: World, folder: Path, agents: Agents) -> None:
    assert world.daemons is not None
    world.daemons.end("ovsdb-server")
    authority, at = Authority(folder), free_port()
    theirs, ours = authority.issue("store"), authority.issue("agent")
    files = {"private-key": theirs.key, "certificate": theirs.certificate, "ca-cert": authority.certificate}
    world.daemons.start_ovsdb(
        f"--remote=ptcp:{world.port}:127.0.0.1",
        f"--remote=pssl:{at}:127.0.0.1",
        *(f"--{name}={path}" for name, path in files.items()),
    )
    central = world.controller("a", "--store", world.store)
    central.start()
    declare(central)
    tls = introduced(authority.certificate, ours.certificate, ours.key)
    agents.follow["lx1"] = lambda: StoreSource(BesideStore(f"ssl:127.0.0.1:{at}", "lx1", tls), "lx1")
    agents.fleet.start("lx1")
    until(lambda: is_served(central, "agent-lx1"), lambda: str(said(central)))
