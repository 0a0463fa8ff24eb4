# SPDX-License-Identifier: Apache-2.0
"""What restarts while the kernel forwards: the controller, and ovs-vswitchd as an operator restarts it."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from controller.intent.model import Kind
from controller.lab import Datapath, LabHost, Underlay
from controller.lab.lab import FABRIC
from tests.patience import patient
from tests.system.overlay import Overlay, Pinging
from tests.system.test_options import CONTEXT
from tests.vm.conftest import Prove

pytestmark = pytest.mark.system

SAVE = "/usr/share/openvswitch/scripts/ovs-save"
KEY = "flow-restore-wait"
MISSED = re.compile(r"^\[([\d.]+)\] no answer yet", re.MULTILINE)
PACKETS = re.compile(r"packets:(\d+)")


BESIDE = ("test_vswitchd_gets_its_flows_from_the_controller",)
"With hosts that the controller dials, on sockets of its own machine; over IPv6."


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    beside = metafunc.function.__name__ in BESIDE
    metafunc.parametrize(
        "shared", [beside], indirect=True, ids=["dialled" if beside else "called-in"], scope="module"
    )


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest, make_overlay: Callable[..., Overlay]) -> Overlay:
    if request.param:
        overlay = make_overlay(hosts=2, underlay=Underlay.IPV6, datapath=Datapath.SYSTEM)
    else:
        # Hosts that call in and whose bridges dial the controller, as on separate machines.
        listen = ("--ovsdb", "ptcp:6640:10.8.0.254", "--openflow", "10.8.0.254:6653")
        overlay = make_overlay(*listen, hosts=2, datapath=Datapath.SYSTEM, where=FABRIC, enrol=False)
        for host in overlay.lab.hosts:
            host.set_manager(f"tcp:{overlay.lab.controller_address}:6640")
            overlay.enrol(host, dialled=False, wait=False)
    overlay.schema(CONTEXT)
    return overlay


@pytest.fixture
def pings(overlay: Overlay) -> list[Pinging]:
    """Pings between two hosts, both ways, over both families, that were answered at least once."""
    overlay.network("blue", options=("context",))
    one = overlay.port("blue", "hv1", 1, values={"context.tier": 2})
    two = overlay.port("blue", "hv2", 2)
    for source, target in ((one, two), (two, one)):
        for address in target.addresses:
            assert overlay.ping(source, address, wait=patient(1)) == 3
    return [overlay.pinging(one, two.ipv4), overlay.pinging(two, one.ipv6)]


def settle(overlay: Overlay) -> None:
    hosts = [(Kind.HOST, host.name) for host in overlay.lab.hosts]
    overlay.controller.settle(*hosts, *((Kind.PORT, port.name) for port in overlay.lab.ports))


def nothing_lost(pings: list[Pinging], seconds: float) -> str:
    for ping in pings:
        ping.assert_nothing_lost(at_least=int(seconds))
    return ", ".join(f"{ping.what}: {len(ping.times())} answered, 0 lost" for ping in pings)


def test_the_controller_is_killed(overlay: Overlay, pings: list[Pinging], prove: Prove) -> None:
    before = {host.name: len(overlay.flows(host.name)) for host in overlay.lab.hosts}
    began = time.monotonic()
    overlay.controller.kill()
    time.sleep(3)
    overlay.controller.start()
    settle(overlay)
    seconds = time.monotonic() - began
    lost = nothing_lost(pings, seconds)
    sent = {name: overlay.controller.ask("progress", name)["messages_sent"] for name in before}
    assert sent == {"hv1": 0, "hv2": 0}
    prove("the controller is killed and started again without a lost ping or a message to a bridge", lost)


def restart_as_ovs_ctl_does(host: LabHost) -> Alone:
    """The steps of `ovs-ctl restart`, which cannot be told of a host's own folder (OVS utilities/ovs-lib.in)."""
    script = host.run(SAVE, "save-flows", "br-int", timeout=patient(20))
    alone = stop_and_start(host)
    host.run("sh", "-c", script, timeout=patient(20))
    host.vsctl("--if-exists", "remove", "Open_vSwitch", ".", "other_config", KEY)
    return alone


@dataclass(frozen=True)
class Alone:
    """The time in which the kernel had no ovs-vswitchd."""

    began: float
    ended: float
    "Seconds since 1970."
    packets: int
    "That megaflows passed."


def stop_and_start(host: LabHost) -> Alone:
    """Start ovs-vswitchd anew and have it wait."""
    host.kill_vswitchd(signal.SIGTERM)
    began = time.time()
    host.vsctl("--no-wait", "set", "Open_vSwitch", ".", f"other_config:{KEY}=true")
    before = carried(host)
    time.sleep(1)
    alone = Alone(began, time.time(), carried(host) - before)
    host.start_vswitchd()
    return alone


def carried(host: LabHost) -> int:
    """How many packets the kernel's megaflows passed from and to the tunnel; it answers without ovs-vswitchd too."""
    lines = host.run("ovs-dpctl", "dump-flows", "-m").splitlines()
    return sum(int(found[1]) for line in lines if "tunnel(" in line and (found := PACKETS.search(line)))


def held(overlay: Overlay, name: str) -> tuple[object, ...]:
    """All that a bridge holds, as it prints it."""
    host = overlay.lab.host(name)
    flows = {(flow.cookie, flow.table, flow.rest) for flow in overlay.flows(name)}
    commands = ("dump-tlv-map", "dump-groups", "dump-meters")
    return flows, *(sorted(host.ofctl(command, "br-int").splitlines()[1:]) for command in commands)


def assert_restarted(overlay: Overlay, pid: int | None, before: tuple[object, ...]) -> None:
    host = overlay.lab.host("hv1")
    settle(overlay)
    assert host.vswitchd_pid not in (pid, None)
    assert KEY not in host.vsctl("get", "Open_vSwitch", ".", "other_config")
    assert held(overlay, "hv1") == before


def assert_carried(pings: list[Pinging], alone: Alone) -> str:
    """The kernel loses nothing alone; what the new process loses, because it makes its tunnel device anew, is told."""
    assert alone.packets > 0
    time.sleep(1)
    for ping in pings:
        missed = [at for at in map(float, MISSED.findall(ping.stop())) if alone.began < at < alone.ended]
        assert not missed, f"{ping.what}: {missed} in {alone}"
        assert ping.times()[-1] > alone.ended, f"{ping.what}: {ping.stop()[-500:]}"
    said = ", ".join(
        f"{ping.what}: {len(ping.times())} answered, {ping.lost()} lost in all" for ping in pings
    )
    return f"{alone.packets} packets by megaflows in {alone.ended - alone.began:.1f} s without ovs-vswitchd; {said}"


def test_vswitchd_is_restarted_by_ovs_ctl(overlay: Overlay, pings: list[Pinging], prove: Prove) -> None:
    host = overlay.lab.host("hv1")
    pid, before = host.vswitchd_pid, held(overlay, "hv1")
    alone = restart_as_ovs_ctl_does(host)
    assert_restarted(overlay, pid, before)
    evidence = assert_carried(pings, alone)
    prove(
        "ovs-ctl restart of a host that calls in: kernel forwards without ovs-vswitchd, all flows are back",
        evidence,
    )


def test_vswitchd_gets_its_flows_from_the_controller(
    overlay: Overlay, pings: list[Pinging], prove: Prove
) -> None:
    """Where the controller dials the bridge's own socket nobody has to save anything."""
    host = overlay.lab.host("hv1")
    pid, before = host.vswitchd_pid, held(overlay, "hv1")
    alone = stop_and_start(host)
    assert_restarted(overlay, pid, before)
    evidence = assert_carried(pings, alone)
    prove(
        "flow-restore-wait of a dialled host: kernel forwards, the controller restores and ends the wait",
        evidence,
    )
