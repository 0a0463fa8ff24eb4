# SPDX-License-Identifier: Apache-2.0
"""The guard on the kernel's datapath: drops that OVS caches there, and upcalls that nobody takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.intent.model import Kind
from controller.lab import Datapath, LabHost, Underlay
from tests.patience import patient
from tests.system.frames import send
from tests.system.overlay import Endpoint, Overlay
from tests.system.packets import Wires, token
from tests.system.test_guard import BAD, STOPPED, faults, frames, last_event
from tests.system.test_options import CONTEXT, TRAIL
from tests.vm.conftest import Prove
from tests.vm.datapath import megaflow

pytestmark = pytest.mark.system

HV2 = (Kind.HOST, "hv2")


@pytest.fixture(scope="module", params=[Underlay.IPV4, Underlay.IPV6], ids=str)
def shared(request: pytest.FixtureRequest, make_overlay: Callable[..., Overlay]) -> Overlay:
    overlay = make_overlay(hosts=3, underlay=request.param, datapath=Datapath.SYSTEM)
    overlay.schema(CONTEXT)
    overlay.schema(TRAIL)
    return overlay


@pytest.fixture
def ports(overlay: Overlay) -> list[Endpoint]:
    """As in tests/system/test_guard.py: a target on hv2, the culprit's own port on hv1, somebody else's on hv3."""
    overlay.network("blue", options=("context",))
    return [overlay.port("blue", host, number) for number, host in ((1, "hv2"), (2, "hv1"), (3, "hv3"))]


def until(what: Callable[[], object], seconds: float, why: str) -> float:
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < seconds, why
        time.sleep(0.2)
    return time.monotonic() - began


def test_a_cached_drop_is_found_and_healed(overlay: Overlay, ports: list[Endpoint], prove: Prove) -> None:
    """First without the guard, to see what it is for."""
    target, source, other = ports
    hv1, hv2 = overlay.lab.host("hv1"), overlay.lab.host("hv2")
    overlay.controller.stop()
    hv2.appctl("revalidator/purge")
    steady = overlay.pinging(other, target.ipv4)
    send(hv1, frames(overlay, ports, BAD["unknown-critical"]), 3)
    poison = megaflow(hv2, f"src={hv1.endpoint}", "actions:drop", "type=0x99")
    ping = overlay.pinging(source, target.ipv4)
    assert overlay.ping(source, target.ipv4) == 0
    prove(f"{hv1.underlay}: without the guard one bad packet cuts its peer off", poison)
    overlay.controller.start()
    overlay.controller.settle(HV2)
    began = time.time()
    until(lambda: overlay.ping(source, target.ipv4, count=1) == 1, patient(5), "nothing heals it")
    degraded = overlay.controller.ask("conditions", *HV2)["Degraded"]
    assert (degraded[:2], "hv1" in degraded[2]) == (("True", "BadOptions"), True)
    healed = f"{degraded[2]}; answered {ping.times()[0] - began:.1f} s after the guard began"
    prove(f"{hv1.underlay}: the guard finds the cached drop and takes it out", healed)
    steady.assert_nothing_lost(at_least=5)


def test_every_kind_of_bad_option_is_told_of_and_hurts_nobody(
    overlay: Overlay, ports: list[Endpoint], prove: Prove
) -> None:
    target, source, other = ports
    hv1, hv2 = overlay.lab.host("hv1"), overlay.lab.host("hv2")
    for fault, options in BAD.items():
        hv2.appctl("revalidator/purge")
        since, mark = last_event(overlay), token()
        with Wires(overlay.lab, [target.name]) as wires:
            send(hv1, frames(overlay, ports, options, mark=mark), 3)
            until(lambda since=since, fault=fault: fault in faults(overlay, since), patient(5), fault)  # type: ignore[misc]
            assert wires[target.name].count(mark) == (0 if fault in STOPPED else 3), fault
        assert overlay.ping(source, target.ipv4, wait=patient(1)) == 3, fault
        assert overlay.ping(other, target.ipv4) == 3, fault
    prove(f"{hv1.underlay}: bad options are dropped and attributed, good packets pass", ", ".join(BAD))


def start_deaf(host: LabHost) -> None:
    """Start ovs-vswitchd as if the machine had just booted: OVS 3.1 then counts 0 processors."""
    uptime = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    line = ["unshare", "-T", "--monotonic", str(int(2 - uptime)), "ovs-vswitchd", host.ovsdb, "--detach"]
    file = host.directory / "ovs-vswitchd"
    files = (f"--pidfile={file}.pid", f"--unixctl={file}.ctl", f"--log-file={file}.log")
    host.run(*line, "--no-chdir", *files, timeout=patient(20))


def test_lost_upcalls_are_told_of(overlay: Overlay, ports: list[Endpoint], prove: Prove) -> None:
    target, source, _ = ports
    host = overlay.lab.host("hv2")
    if host.underlay is not Underlay.IPV4:
        pytest.skip("once is enough: the underlay has no part in it")
    overlay.controller.provoked.append("controller.guard")
    host.vsctl("remove", "Open_vSwitch", ".", "other_config", "n-handler-threads")
    host.kill_vswitchd()
    start_deaf(host)
    overlay.controller.settle(HV2)

    def told() -> bool:
        overlay.ping(source, target.ipv4, count=2, wait=0.2)
        return "Degraded" in overlay.controller.ask("conditions", *HV2)

    until(told, patient(10), host.appctl("dpctl/show"))
    _, reason, message = overlay.controller.ask("conditions", *HV2)["Degraded"]
    assert reason == "UpcallsLost", message
    assert "restart ovs-vswitchd" in message
    shown = host.appctl("dpctl/show").splitlines()[1].strip()
    host.kill_vswitchd()
    host.start_vswitchd()
    overlay.controller.settle(HV2)
    until(lambda: overlay.ping(source, target.ipv4) == 3, patient(5), "the restart does not help")
    prove("a vswitchd that takes no upcall is named, and a restart cures it", f"{shown}: {message}")
