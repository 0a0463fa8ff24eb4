# SPDX-License-Identifier: Apache-2.0
"""What restarts while the kernel forwards."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from controller.intent.model import Kind
from controller.lab import Datapath
from controller.lab.lab import FABRIC
from tests.patience import patient
from tests.system.overlay import Overlay, Pinging
from tests.system.test_options import CONTEXT
from tests.vm.conftest import Prove

pytestmark = pytest.mark.system


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
