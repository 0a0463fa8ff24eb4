# SPDX-License-Identifier: Apache-2.0
"""Hosts join and leave while traffic flows, whether they are dialled or call in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from controller.compiler.cookies import is_ours
from controller.intent.model import Kind
from controller.lab import FABRIC, Datapath, LabHost
from tests.system.overlay import Endpoint, Overlay, Pinging

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def shared(make_overlay: Callable[..., Overlay]) -> Overlay:
    # In the fabric, where hosts reach it over TCP.
    listen = ("--ovsdb", "ptcp:6640:10.8.0.254", "--openflow", "10.8.0.254:6653")
    return make_overlay(*listen, hosts=2, where=FABRIC)


@pytest.fixture
def residents(overlay: Overlay) -> list[Endpoint]:
    overlay.network("blue")
    return [overlay.port("blue", host, n) for n, host in enumerate(("hv1", "hv2"), 1)]


@pytest.fixture
def flow_between(overlay: Overlay, residents: list[Endpoint]) -> Iterator[list[Pinging]]:
    """Traffic of the residents; that none of it is lost is checked at the end of the test."""
    one, two = residents
    pings = [overlay.pinging(one, two.ipv4), overlay.pinging(two, one.ipv6)]
    began = time.monotonic()
    yield pings
    for ping in pings:
        ping.assert_nothing_lost(at_least=int((time.monotonic() - began) * 10))


@pytest.fixture
def newcomer(overlay: Overlay) -> Iterator[LabHost]:
    host = overlay.lab.add_host()
    yield host
    if host in overlay.lab.hosts:
        overlay.lab.remove_host(host.name)


def talks(overlay: Overlay, guest: Endpoint, residents: list[Endpoint]) -> None:
    for resident in residents:
        assert overlay.ping(guest, resident.ipv4) == overlay.ping(resident, guest.ipv6) == 3


def is_gone(overlay: Overlay, host: LabHost) -> bool:
    return not host.vsctl("--no-wait", "list-br").split().count("br-int")


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 8) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)


def leave(overlay: Overlay, guest: Endpoint, host: LabHost, residents: list[Endpoint]) -> None:
    """Take a host out in good order: nothing of ours stays on it, and nobody believes it any longer."""
    overlay.remove(guest)
    overlay.expel(host.name)
    wait_until(lambda: is_gone(overlay, host), f"{host.name} without br-int")
    assert overlay.ping(residents[0], guest.ipv4, count=1, wait=0.3) == 0
    for other in ("hv1", "hv2"):
        wait_until(lambda other=other: not names(overlay, other, host), f"{other} without {host.name}")  # type: ignore[misc]  # mypy cannot type a lambda's default


def names(overlay: Overlay, where: str, host: LabHost) -> bool:
    """Tell whether flows or groups on a host speak of another one's endpoint."""
    groups = overlay.lab.host(where).ofctl("dump-groups", "br-int")
    flows = (f"{flow.rest}," for flow in overlay.flows(where) if is_ours(flow.cookie))
    return any(f"{host.endpoint}," in text or f"{host.endpoint}->" in text for text in (*flows, groups))


def test_a_host_joins_and_leaves(
    overlay: Overlay, residents: list[Endpoint], flow_between: list[Pinging], newcomer: LabHost
) -> None:
    overlay.enrol(newcomer)
    guest = overlay.port("blue", newcomer.name, 3)
    assert names(overlay, "hv1", newcomer)
    talks(overlay, guest, residents)
    leave(overlay, guest, newcomer, residents)


def test_a_host_is_torn_out(
    overlay: Overlay, residents: list[Endpoint], flow_between: list[Pinging], newcomer: LabHost
) -> None:
    overlay.enrol(newcomer)
    guest = overlay.port("blue", newcomer.name, 3)
    talks(overlay, guest, residents)
    overlay.lab.remove_host(newcomer.name)

    def noticed() -> bool:
        return bool(overlay.controller.ask("conditions", Kind.HOST, newcomer.name)["Connected"][0] == "False")

    wait_until(noticed, "the controller to notice")
    time.sleep(0.5)
    overlay.remove(guest)
    overlay.expel(newcomer.name)
    for other in ("hv1", "hv2"):
        wait_until(lambda other=other: not names(overlay, other, newcomer), f"{other} to forget")  # type: ignore[misc]  # mypy cannot type a lambda's default


@pytest.mark.parametrize("way", ["unix", "tcp"])
def test_a_host_calls_in(
    overlay: Overlay,
    residents: list[Endpoint],
    flow_between: list[Pinging],
    newcomer: LabHost,
    way: str,
) -> None:
    socket = f"unix:{overlay.controller.state}/ovsdb.sock"
    newcomer.set_manager(socket if way == "unix" else f"tcp:{overlay.lab.controller_address}:6640")
    wait_until(lambda: overlay.controller.ask("strangers") == [newcomer.name], "a stranger")
    assert is_gone(overlay, newcomer), "nobody has enrolled it"
    overlay.enrol(newcomer, dialled=False)
    assert overlay.controller.ask("strangers") == []
    targets = newcomer.vsctl("get-controller", "br-int").split()
    assert targets == ([] if way == "unix" else ["tcp:10.8.0.254:6653"])
    guest = overlay.port("blue", newcomer.name, 3)
    talks(overlay, guest, residents)

    # It hangs up and calls again: nothing is done anew.
    before = overlay.controller.ask("progress", newcomer.name)["messages_sent"]
    newcomer.kill_ovsdb()
    if newcomer.datapath is Datapath.SYSTEM:
        # Without its database ovs-vswitchd runs no datapath of its own (OVS vswitchd/bridge.c, bridge_run).
        assert overlay.ping(guest, residents[0].ipv4) == 3
    newcomer.start_ovsdb()
    overlay.controller.settle((Kind.HOST, newcomer.name), (Kind.PORT, guest.name), timeout=15)
    assert overlay.ping(guest, residents[0].ipv4) == 3
    assert overlay.controller.ask("progress", newcomer.name)["messages_sent"] == before
    leave(overlay, guest, newcomer, residents)


def test_a_pulled_cable_harms_only_its_host(
    overlay: Overlay, residents: list[Endpoint], flow_between: list[Pinging], newcomer: LabHost
) -> None:
    overlay.enrol(newcomer)
    guest = overlay.port("blue", newcomer.name, 3)
    assert overlay.ping(guest, residents[0].ipv4) == 3
    overlay.lab.set_cable(newcomer, up=False)
    assert overlay.ping(guest, residents[0].ipv4, count=2, wait=0.3) == 0
    overlay.lab.set_cable(newcomer, up=True)
    wait_until(lambda: overlay.ping(guest, residents[0].ipv4, count=1, wait=0.5) == 1, "traffic")
    overlay.remove(guest)
    overlay.expel(newcomer.name)
    wait_until(lambda: is_gone(overlay, newcomer), "the host to be released")
