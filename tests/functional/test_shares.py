# SPDX-License-Identifier: Apache-2.0
"""Controllers as they are started, on one store, and real Open vSwitch: who serves which host, and that it is right."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from controller.shares.decide import Session, preference
from tests.functional.controllers import Controller, World, store_server, until
from tests.functional.ovsdb.conftest import free_port


@pytest.fixture
def folder():
    path = Path(tempfile.mkdtemp(prefix="shares-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def world(folder):
    """A store of its own, which outlives controllers."""
    made = store_server(folder)
    yield made
    made.close()


def names_shared_by(one: Controller, other: Controller) -> list[str]:
    """Choose names of hosts such that each controller gets two."""
    prefer = preference([Session(name=one.name), Session(name=other.name)])
    names = [f"hv{number}" for number in range(1, 100)]
    return [host for who in (one, other) for host in [n for n in names if prefer(n) == who.name][:2]]


def declare(world: World, *through: Controller) -> None:
    """Declare hosts, a network and a port on each host, in turn through the controllers; plug the ports in."""
    through[0].put("networks/blue", {"vni": 100})
    for number, (name, host) in enumerate(world.hosts.items(), start=1):
        to = through[number % len(through)]
        document = {"kind": "ovs", "endpoints": [{"address": f"192.0.2.{number}"}], "datapath": "system"}
        to.put(f"hosts/{name}", {**document, "ovsdb": host.daemons.remote})
        put_port(to, f"p-{name}", number)
    for name, host in world.hosts.items():
        until(host.bridge_is_there, f"{name} has its bridge")
        host.plug(f"p-{name}")


def put_port(to: Controller, name: str, number: int, **query: str) -> dict:
    mac = f"02:00:00:00:00:{number:02x}"
    document = {"network": "blue", "mac": mac, "addresses": [f"10.0.0.{number}"]}
    return to.put(f"ports/{name}", document, **query)


async def test_two_share_hosts_and_one_takes_over_from_one_that_is_killed(world):
    one = world.controller("a", "--store", world.store)
    two = world.controller("b", "--store", world.store)
    names = names_shared_by(one, two)
    shares = dict.fromkeys(names[:2], one.name) | dict.fromkeys(names[2:], two.name)
    for name in names:
        world.host(name)
    one.start()
    two.start()
    declare(world, one, two)
    await world.settle()
    assert world.holders() == shares
    for number, (name, through) in enumerate(zip(names, (two, one, one, two), strict=True), start=50):
        view = put_port(through, f"p-{name}", number, wait="programmed")
        conditions = {condition["type"]: condition["status"] for condition in view["status"]["conditions"]}
        assert conditions["Programmed"] == "True"
        assert await world.difference() == "", "who waits has waited for the bridges of both"

    one.end(signal.SIGKILL)
    put_port(two, "moved", 77)
    two.delete(f"ports/p-{names[2]}")
    world.hosts[names[2]].unplug(f"p-{names[2]}")
    world.hosts[names[0]].plug("moved")
    until(lambda: set(world.holders().values()) == {two.name}, "all hosts are held by the one that is left")
    await world.settle()

    one.start()
    until(lambda: world.holders() == shares, "each has its share again")
    put_port(one, "late", 88)
    world.hosts[names[3]].plug("late")
    world.hosts[names[0]].unplug("moved")
    world.hosts[names[1]].plug("moved")
    await world.settle()


async def test_whoever_is_asked_waits_for_hosts_that_another_serves(world):
    one = world.controller("a", "--store", world.store)
    two = world.controller("b", "--store", world.store)
    names = names_shared_by(one, two)
    for name in (names[0], names[2]):
        world.host(name)
    one.start()
    two.start()
    declare(world, one, two)
    await world.settle()
    document = {"network": "blue", "mac": "02:00:00:00:00:77", "addresses": ["10.0.0.77"]}
    for asked in (one, two):
        answer = asked.http.put("/v1/ports/late?wait=programmed&timeout=10s", json=document)
        assert answer.status_code in (200, 201), answer.text
        for host in world.hosts.values():
            assert "arp_tpa=10.0.0.77" in host.daemons.tool("ovs-ofctl", "dump-flows", "br-int"), host.name
        answer = asked.http.delete("/v1/ports/late?wait=programmed&timeout=10s")
        assert answer.status_code == 204
        for host in world.hosts.values():
            assert "arp_tpa=10.0.0.77" not in host.daemons.tool("ovs-ofctl", "dump-flows", "br-int"), (
                host.name
            )

    def elsewhere():
        return one.http.get(f"/v1/hosts/{names[2]}").json()["status"]["conditions"]

    # That it has the last revision too is told a moment after others may know that there is one.
    statuses = ["True", "Unknown", "Unknown", "True"]
    until(lambda: [c["status"] for c in elsewhere()] == statuses, elsewhere)
    assert all(two.name in c["message"] for c in elsewhere()[1:])


async def test_one_joins_the_store_of_another_and_leaves(folder):
    port = free_port()
    world = World(folder, f"tcp:127.0.0.1:{port}", port)
    try:
        one = world.controller("a", "--store-listen", f"ptcp:{port}:127.0.0.1")
        two = world.controller("b", "--store", world.store)
        names = names_shared_by(one, two)
        for name in (names[0], names[2]):
            world.host(name)
        one.start()
        declare(world, one)
        await world.settle()
        two.start()
        until(lambda: world.holders()[names[2]] == two.name, "the one that joined has its share")
        put_port(two, "late", 88)
        world.hosts[names[2]].plug("late")
        await world.settle()
        two.end()
        assert world.holders()[names[2]] in ("", one.name), "it left at once"
        world.hosts[names[2]].unplug("late")
        until(lambda: set(world.holders().values()) == {one.name}, "its hosts are taken back")
        one.delete("ports/late")
        await world.settle()
    finally:
        world.close()


async def test_an_agent_serves_its_host_over_its_own_sockets(world):
    world.host("hv1")
    world.host("hv2")
    central = world.controller("a", "--store", world.store)
    agent = world.controller(
        "c", "--store", world.store, "--host", "hv2", "--local-ovsdb", world.hosts["hv2"].daemons.remote
    )
    central.start()
    agent.start()
    central.put(
        "hosts/hv2",
        # Nobody is there: the agent alone can reach this host.
        {
            "kind": "ovs",
            "endpoints": [{"address": "192.0.2.2"}],
            "datapath": "system",
            "ovsdb": "tcp:127.0.0.1:1",
        },
    )
    reachable = {"hv1": world.hosts["hv1"]}
    world.hosts, everyone = reachable, world.hosts
    declare(world, central)
    world.hosts = everyone
    put_port(agent, "p-hv2", 2)
    until(world.hosts["hv2"].bridge_is_there, "the agent made its bridge")
    world.hosts["hv2"].plug("p-hv2")
    await world.settle()
    assert world.holders() == {"hv1": central.name, "hv2": agent.name}
    agent.end(signal.SIGKILL)
    until(lambda: world.holders()["hv2"] == central.name, "its host is taken over")
    put_port(central, "late", 88)
    agent.start()
    world.hosts["hv2"].plug("late")
    await world.settle()
    assert world.holders()["hv2"] == agent.name


def test_a_port_that_is_taken_is_told(folder):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "controller", "controller", "--state", str(folder / "state")]
        command += ["--store-listen", f"ptcp:{port}:127.0.0.1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "cannot listen" in done.stderr


def carried(through: Controller, option: str) -> list[dict]:
    """Have blue carry an option, and return the rollouts that this began."""
    through.put("networks/blue", {"vni": 100, "options": [option]})
    return through.http.get("/v1/rollouts").json()["items"]


def stamps(host, slot: int) -> bool:
    return f"->tun_metadata{slot}" in host.daemons.tool("ovs-ofctl", "dump-flows", "br-int", "table=20")


async def test_whoever_is_left_carries_a_rollout_on(world):
    one = world.controller("a", "--store", world.store)
    two = world.controller("b", "--store", world.store)
    names = names_shared_by(one, two)
    for name in (names[0], names[2]):
        world.host(name)
    one.start()
    two.start()
    declare(world, one, two)
    await world.settle()
    schema = {"class": "0xff00", "length": 4, "fields": []}
    one.put("option-schemas/first", {**schema, "type": 1})
    two.put("option-schemas/second", {**schema, "type": 2})
    # The first goes in with both at work, through the one that does not act as well as through the other.
    assert [item["name"] for item in carried(two, "first")] == ["blue:first"]
    until(lambda: not one.http.get("/v1/rollouts").json()["items"], "it is over")
    assert all(stamps(host, 0) for host in world.hosts.values())
    # With the second, a host is down, and then so is the controller that acts: the one with the first host.
    acts, other = (one, two) if min(world.hosts) == names[0] else (two, one)
    down = world.hosts[max(world.hosts)]
    down.daemons.end("ovs-vswitchd", signal.SIGKILL)
    until(lambda: carried(other, "second")[-1]["status"]["reason"], "it says what it waits for")
    acts.end(signal.SIGKILL)
    until(lambda: set(world.holders().values()) == {other.name}, "all hosts are held by the one that is left")
    assert not any(stamps(host, 1) for name, host in world.hosts.items() if host is not down)
    for left in ("vswitchd.ctl", "br-int.mgmt"):
        (down.daemons.folder / left).unlink(missing_ok=True)
    down.daemons.start_vswitchd()
    until(lambda: not other.http.get("/v1/rollouts").json()["items"], "it is over")
    assert all(stamps(host, 1) for host in world.hosts.values())
    await world.settle()
