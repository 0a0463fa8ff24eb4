# SPDX-License-Identifier: Apache-2.0
"""What dies is missed by nobody but those who want something new: the controller, vswitchd, the databases."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.compiler.cookies import is_ours
from controller.intent.model import Kind
from tests.system.overlay import Endpoint, FlowLine, Overlay

pytestmark = pytest.mark.system

AWAY = 60.0
"Seconds without a controller."


@pytest.fixture(scope="module")
def shared(make_overlay: Callable[..., Overlay]) -> Overlay:
    return make_overlay()


@pytest.fixture
def ports(overlay: Overlay) -> list[Endpoint]:
    overlay.network("blue")
    overlay.network("red")
    made = [overlay.port("blue", host, n) for n, host in enumerate(("hv1", "hv1", "hv2", "hv3"), 1)]
    return [*made, overlay.port("red", "hv1", 1), overlay.port("red", "hv3", 2)]


def everything(overlay: Overlay) -> list[tuple[Kind, str]]:
    hosts = [(Kind.HOST, host.name) for host in overlay.lab.hosts]
    return [*hosts, *((Kind.PORT, port.name) for port in overlay.lab.ports)]


def standing(overlay: Overlay) -> dict[str, list[FlowLine]]:
    return {host.name: overlay.flows(host.name) for host in overlay.lab.hosts}


def identities(flows: list[FlowLine]) -> set[tuple[int, int, str]]:
    without_ages = ((flow.cookie, flow.table, flow.rest) for flow in flows)
    return set(without_ages)


def assert_untouched(
    before: dict[str, list[FlowLine]], after: dict[str, list[FlowLine]], seconds: float
) -> None:
    """Same flows, the very same: each as much older as time has passed, none counted anew."""
    for host, flows in before.items():
        assert all(is_ours(flow.cookie) for flow in flows)
        assert identities(after[host]) == identities(flows)
        old = {(flow.table, flow.rest): flow for flow in flows}
        for flow in after[host]:
            was = old[flow.table, flow.rest]
            assert flow.duration - was.duration > seconds, f"{host}: {flow}"
            assert flow.packets >= was.packets, f"{host}: {flow}"


def messages_sent(overlay: Overlay) -> dict[str, int]:
    return {
        host.name: overlay.controller.ask("progress", host.name)["messages_sent"]
        for host in overlay.lab.hosts
    }


def test_the_controller_is_killed_for_a_minute(overlay: Overlay, ports: list[Endpoint]) -> None:
    one, beside, away, far, red, red_far = ports
    pings = [
        overlay.pinging(source, target)
        for source, target in (
            (one, beside.ipv4),
            (one, away.ipv6),
            (away, far.ipv4),
            (far, one.ipv6),
            (red, red_far.ipv4),
        )
    ]
    time.sleep(0.5)
    before = standing(overlay)
    began = time.monotonic()
    overlay.controller.kill()
    time.sleep(AWAY)
    overlay.controller.start()
    overlay.controller.settle(*everything(overlay), timeout=15)
    time.sleep(1)
    seconds = time.monotonic() - began
    after = standing(overlay)
    for ping in pings:
        # 20 a second, of which a busy machine may not send all.
        ping.assert_nothing_lost(at_least=int(seconds * 10))
    assert_untouched(before, after, AWAY)
    assert messages_sent(overlay) == {"hv1": 0, "hv2": 0, "hv3": 0}


def test_what_happened_meanwhile_is_made_good(overlay: Overlay, ports: list[Endpoint]) -> None:
    one, beside, away, *_ = ports
    new = overlay.declare("blue", 9)
    steady = overlay.pinging(one, away.ipv4)
    overlay.controller.kill()
    overlay.plug(new, "hv2", wait=False)
    overlay.lab.unplug(beside.name)
    hv3 = overlay.lab.host("hv3")
    # Somebody deletes what is ours and adds what is not.
    hv3.ofctl("del-flows", "br-int", "table=50")
    hv3.ofctl("add-flow", "br-int", "cookie=0x1234,table=200,priority=7,ip,actions=drop")
    assert overlay.ping(one, new.ipv4, count=2, wait=0.3) == 0
    overlay.controller.start()
    left = [name for name in everything(overlay) if name[1] != beside.name]
    overlay.controller.settle(*left, timeout=15)
    assert overlay.ping(one, new.ipv4) == 3
    assert overlay.ping(ports[3], one.ipv4) == 3, "hv3 believes its peers again"
    assert overlay.controller.ask("host_of", beside.name) is None
    assert any(flow.cookie == 0x1234 for flow in overlay.flows("hv3")), "a flow of somebody else's"
    hv3.ofctl("del-flows", "br-int", "cookie=0x1234/-1")
    steady.assert_nothing_lost(at_least=10)
    assert overlay.controller.ask("incremental_equals_whole")


def test_killed_again_and_again(overlay: Overlay, ports: list[Endpoint]) -> None:
    one, _, away, far, *_ = ports
    pings = [overlay.pinging(one, away.ipv4), overlay.pinging(far, one.ipv6)]
    before = standing(overlay)
    for moment in (0.0, 0.05, 0.1, 0.2, 0.3):
        overlay.controller.kill()
        overlay.controller.start()
        time.sleep(moment)
    overlay.controller.settle(*everything(overlay), timeout=15)
    assert_untouched(before, standing(overlay), 0)
    assert messages_sent(overlay) == {"hv1": 0, "hv2": 0, "hv3": 0}
    for ping in pings:
        ping.assert_nothing_lost(at_least=20)


def test_it_stops_when_asked_and_takes_nothing_along(overlay: Overlay, ports: list[Endpoint]) -> None:
    one, _, away, *_ = ports
    ping = overlay.pinging(one, away.ipv4)
    before = standing(overlay)
    overlay.controller.stop()
    time.sleep(0.3)
    assert_untouched(before, standing(overlay), 0)
    overlay.controller.start()
    overlay.controller.settle(*everything(overlay), timeout=15)
    ping.assert_nothing_lost(at_least=10)


def test_vswitchd_is_killed(overlay: Overlay, ports: list[Endpoint]) -> None:
    one, beside, away, far, *_ = ports
    bystander = overlay.pinging(away, far.ipv4)
    host = overlay.lab.host("hv1")
    before = identities(overlay.flows("hv1"))
    groups = sorted(host.ofctl("dump-groups", "br-int").splitlines()[1:])
    host.kill_vswitchd()
    assert overlay.ping(one, away.ipv4, count=1, wait=0.3) == 0
    host.start_vswitchd()
    began = time.monotonic()
    while overlay.ping(one, away.ipv4, count=1, wait=0.3) == 0:
        assert time.monotonic() - began < 8, "no traffic after vswitchd came back"
    overlay.controller.settle(*everything(overlay))
    for target in (beside, away, far):
        assert overlay.ping(one, target.ipv4) == overlay.ping(target, one.ipv6) == 3
    assert identities(overlay.flows("hv1")) == before
    assert sorted(host.ofctl("dump-groups", "br-int").splitlines()[1:]) == groups
    bystander.assert_nothing_lost(at_least=10)


def test_a_host_s_database_is_killed(overlay: Overlay, ports: list[Endpoint]) -> None:
    one, _, away, far, *_ = ports
    bystander = overlay.pinging(away, far.ipv4)
    host = overlay.lab.host("hv1")
    before, sent = standing(overlay), messages_sent(overlay)
    host.kill_ovsdb()
    host.start_ovsdb()
    overlay.controller.settle(*everything(overlay), timeout=15)
    assert overlay.ping(one, away.ipv4) == 3
    assert_untouched(before, standing(overlay), 0)
    assert messages_sent(overlay) == sent
    bystander.assert_nothing_lost(at_least=5)


def test_the_intent_s_database_is_killed(overlay: Overlay, ports: list[Endpoint]) -> None:
    one, _, away, *_ = ports
    ping = overlay.pinging(one, away.ipv4)
    before = standing(overlay)
    overlay.controller.provoked.append("ovsdb-server")
    os.kill(intent_database(overlay.controller.state), signal.SIGKILL)
    time.sleep(0.5)
    assert_untouched(before, standing(overlay), 0)
    new = overlay.port("blue", "hv2", 9)
    assert overlay.ping(one, new.ipv4) == 3
    ping.assert_nothing_lost(at_least=10)


def intent_database(state: Path) -> int:
    """Find the controller's ovsdb-server by the files that it names."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if re.search(r"(^|/)ovsdb-server$", words[0]) and any(str(state) in word for word in words):
            return int(process.name)
    raise AssertionError("the controller has no ovsdb-server")
