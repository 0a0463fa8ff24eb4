# SPDX-License-Identifier: Apache-2.0
"""A port follows its interface, within a second, and its network hears of nothing but that."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from controller.intent.model import Kind
from tests.patience import patient
from tests.system.overlay import Endpoint, Overlay

pytestmark = pytest.mark.system

WITHIN = 1.0
"Seconds from the plug until packets flow."


@pytest.fixture(scope="module")
def shared(make_overlay: Callable[..., Overlay]) -> Overlay:
    return make_overlay()


@pytest.fixture
def three(overlay: Overlay) -> list[Endpoint]:
    """A mover on hv1, and who talks with it: on hv3, and on the host that it moves to."""
    overlay.network("blue")
    return [overlay.port("blue", host, n) for n, host in enumerate(("hv1", "hv3", "hv2"), 1)]


def ask_often(overlay: Overlay, mover: Endpoint) -> None:
    """Have a workload repeat its questions for neighbours every 100 ms.

    Unlike one that is migrated live, it loses its carrier, and with that what it knew of neighbours. What it asks
    before its port is programmed nobody answers; that it asks again a second later is not for us to measure.
    """
    for family in ("ipv4", "ipv6"):
        key = f"net.{family}.neigh.eth0.retrans_time_ms=100"
        assert overlay.lab.exec(mover.name, ["sysctl", "-w", key]).returncode == 0


def first_after(times: list[float], moment: float) -> float:
    return next((at - moment for at in times if at > moment), float("inf"))


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_port_moves_while_others_ping_it(overlay: Overlay, three: list[Endpoint], family: str) -> None:
    mover, third, beside = three
    ask_often(overlay, mover)
    targets = [(third, mover), (beside, mover), (mover, third), (third, beside)]
    pings = [overlay.pinging(source, getattr(target, family)) for source, target in targets]
    time.sleep(0.6)
    overlay.lab.move(mover.name, "hv2")
    plugged = time.time()
    time.sleep(1.5)
    overlay.lab.move(mover.name, "hv1")
    back = time.time()
    time.sleep(1.5)
    *moved, bystander = pings
    for ping in moved:
        times = ping.times()
        assert len(times) > 40, ping.stop()
        assert first_after(times, plugged) < WITHIN, ping.what
        assert first_after(times, back) < WITHIN, ping.what
        assert ping.longest_gap() < 1.5, ping.what
    bystander.assert_nothing_lost(at_least=60)
    assert overlay.controller.ask("incremental_equals_whole")


def test_the_last_plug_wins(overlay: Overlay, three: list[Endpoint]) -> None:
    """Live migration: the interface is there already before it goes here."""
    mover, third, _ = three
    second = overlay.lab.host("hv2")
    # An interface of the same iface-id, as libvirt makes it on the target before the guest runs there.
    second.vsctl(
        *("add-port", "br-int", "twin", "--", "set", "Interface", "twin", "type=internal"),
        f"external_ids:iface-id={mover.name}",
    )
    try:
        wait_for_host(overlay, mover.name, "hv2")
        assert overlay.ping(third, mover.ipv4, count=2, wait=0.3) == 0
    finally:
        second.vsctl("del-port", "br-int", "twin")
    wait_for_host(overlay, mover.name, "hv1")
    overlay.controller.settle((Kind.PORT, mover.name))
    assert overlay.ping(third, mover.ipv4) == 3


def test_a_port_may_be_declared_after_it_is_plugged(overlay: Overlay) -> None:
    overlay.network("blue")
    one = overlay.port("blue", "hv1", 1)
    late = Endpoint("blue2", "02:00:00:00:00:02", ("10.0.0.2", "2001:db8::2"))
    overlay.plug(late, "hv2", wait=False)
    assert overlay.ping(one, late.ipv4, count=2, wait=0.3) == 0
    assert overlay.declare("blue", 2) == late
    overlay.controller.settle((Kind.PORT, late.name))
    assert overlay.ping(one, late.ipv4) == overlay.ping(late, one.ipv6) == 3


def test_an_unplugged_port_is_nowhere(overlay: Overlay, three: list[Endpoint]) -> None:
    mover, third, _ = three
    overlay.lab.unplug(mover.name)
    wait_for_host(overlay, mover.name, None)
    told = overlay.controller.ask("conditions", Kind.PORT, mover.name)
    assert told["Bound"][:2] == ("False", "NotPlugged")
    assert overlay.ping(third, mover.ipv4, count=2, wait=0.3) == 0
    overlay.plug(mover, "hv2")
    assert overlay.ping(third, mover.ipv4) == 3


def wait_for_host(overlay: Overlay, port: str, host: str | None) -> None:
    end = time.monotonic() + patient(20)
    while overlay.controller.ask("host_of", port) != host:
        assert time.monotonic() < end, f"{port} is at {overlay.controller.ask('host_of', port)}"
        time.sleep(0.02)
