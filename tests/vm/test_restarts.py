# SPDX-License-Identifier: Apache-2.0
"""What restarts while the kernel forwards: the controller, and ovs-vswitchd as an operator restarts it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from controller.intent.model import Kind
from controller.lab import Datapath, LabHost
from controller.lab.lab import FABRIC
from tests.patience import patient
from tests.system.overlay import Overlay, Pinging
from tests.system.test_options import CONTEXT
from tests.vm.conftest import Prove

pytestmark = pytest.mark.system

SAVE = "/usr/share/openvswitch/scripts/ovs-save"
WAIT = "other_config:flow-restore-wait=true"


@pytest.fixture(scope="module")
def shared(make_overlay: Callable[..., Overlay]) -> Overlay:
    """Hosts that call in and whose bridges dial the controller, as on separate machines."""
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


def restart_as_ovs_ctl_does(host: LabHost) -> None:
    """The steps of `ovs-ctl restart`, which cannot be told of a host's own folder (OVS utilities/ovs-lib.in)."""
    script = host.run(SAVE, "save-flows", "br-int", timeout=patient(20))
    host.kill_vswitchd(signal.SIGTERM)
    host.vsctl("--no-wait", "set", "Open_vSwitch", ".", WAIT)
    host.start_vswitchd()
    host.run("sh", "-c", script, timeout=patient(20))
    host.vsctl("--if-exists", "remove", "Open_vSwitch", ".", "other_config", "flow-restore-wait")


def test_vswitchd_is_restarted_by_ovs_ctl(overlay: Overlay, pings: list[Pinging], prove: Prove) -> None:
    host = overlay.lab.host("hv1")
    pid, before = host.vswitchd_pid, {flow.rest for flow in overlay.flows("hv1")}
    began = time.monotonic()
    restart_as_ovs_ctl_does(host)
    settle(overlay)
    time.sleep(2)
    seconds = time.monotonic() - began
    assert host.vswitchd_pid not in (pid, None)
    assert {flow.rest for flow in overlay.flows("hv1")} == before
    lost = nothing_lost(pings, seconds)
    prove("ovs-ctl restart (flow-restore-wait): vswitchd comes back without a lost ping", lost)
