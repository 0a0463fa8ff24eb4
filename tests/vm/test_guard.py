# SPDX-License-Identifier: Apache-2.0
"""The guard on the kernel's datapath: what the kernel drops itself, drops that OVS caches, upcalls that nobody takes.

Over IPv6: that of other tests here is IPv4.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from controller.events import EventKind
from controller.intent.model import Kind
from controller.lab import Datapath, LabHost, Underlay
from tests.patience import patient, until
from tests.system.frames import send, tunnelled
from tests.system.overlay import Endpoint, Overlay
from tests.system.packets import Wires, token
from tests.system.test_guard import BAD, STOPPED, frames, last_event
from tests.system.test_options import CONTEXT, TRAIL
from tests.vm.conftest import Prove
from tests.vm.datapath import dump, megaflow, start_vswitchd_by

pytestmark = pytest.mark.system

HV2 = (Kind.HOST, "hv2")

TOLD = {
    "unknown-critical": "8 bytes of options that Open vSwitch refuses",
    "wrong-length": "12 bytes of options that Open vSwitch refuses",
    "malformed": "20 bytes of options that Open vSwitch refuses",
    "not-carried": "option trail (0xff00/0x02) of 12 bytes, which the network does not carry",
    "duplicate": "option context (0xff00/0x01) of 4 bytes twice in a packet",
}
"What events say of each kind; of options that no flow saw the kernel's datapath tells but how long they are."


@pytest.fixture(scope="module")
def shared(make_overlay: Callable[..., Overlay]) -> Overlay:
    overlay = make_overlay(hosts=3, underlay=Underlay.IPV6, datapath=Datapath.SYSTEM)
    overlay.schema(CONTEXT)
    overlay.schema(TRAIL)
    return overlay


@pytest.fixture
def ports(overlay: Overlay) -> list[Endpoint]:
    """As in tests/system/test_guard.py: a target on hv2, the culprit's own port on hv1, somebody else's on hv3."""
    overlay.network("blue", options=("context",))
    return [overlay.port("blue", host, number) for number, host in ((1, "hv2"), (2, "hv1"), (3, "hv3"))]


def test_a_cached_drop_is_found_and_healed(overlay: Overlay, ports: list[Endpoint], prove: Prove) -> None:
    """First without the guard, to see what it is for."""
    target, source, other = ports
    hv1, hv2 = overlay.lab.host("hv1"), overlay.lab.host("hv2")
    bad = frames(overlay, ports, BAD["unknown-critical"])
    overlay.controller.stop()
    hv2.appctl("revalidator/purge")
    steady = overlay.pinging(other, target.ipv4)
    send(hv1, bad, 3)
    poison = megaflow(hv2, f"src={hv1.endpoint}", "actions:drop")
    ping = overlay.pinging(source, target.ipv4)
    assert overlay.ping(source, target.ipv4) == 0
    prove("without the guard one packet with an unknown critical option cuts its peer off", poison)
    overlay.controller.start()
    overlay.controller.settle(HV2)
    began = time.time()
    until(lambda: overlay.ping(source, target.ipv4, count=1) == 1, patient(5), "nothing heals it")
    degraded = overlay.controller.ask("conditions", *HV2)["Degraded"]
    assert (degraded[:2], "hv1" in degraded[2]) == (("True", "BadOptions"), True)
    healed = f"{degraded[2]}; answered {ping.times()[0] - began:.1f} s after the guard began"
    prove("the guard finds the drop in the kernel's datapath and takes it out", healed)
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
            until(partial(is_told, overlay, fault, since), patient(5), f"no event tells of {fault}")
            assert wires[target.name].count(mark) == (0 if fault in STOPPED else 3), fault
        kinds = {event["kind"] for event in overlay.controller.ask("events", since)}
        # A kernel's megaflow matches on the length of all options: of these only the first have that of good ones.
        assert (EventKind.PEER_CUT_OFF in kinds) == (fault == "unknown-critical"), fault
        assert overlay.ping(source, target.ipv4, wait=patient(1)) == 3, fault
        assert overlay.ping(other, target.ipv4, wait=patient(1)) == 3, fault
    prove("every kind of bad option is told of, and good packets of the peer and of others pass", f"{TOLD}")


def is_told(overlay: Overlay, fault: str, since: int) -> bool:
    """Tell whether an event does, since then; nobody but hv1 may be named, and of nothing that was not sent."""
    events = overlay.controller.ask("events", since)
    for event in events:
        assert (event["host"], event["peer"], event["network"]) == ("hv2", "hv1", "blue"), event
        assert any(what in event["message"] for what in TOLD.values()), event
    return any(event["kind"] == EventKind.BAD_OPTIONS and TOLD[fault] in event["message"] for event in events)


def test_what_the_kernel_drops_itself(overlay: Overlay, ports: list[Endpoint], prove: Prove) -> None:
    """Headers that geneve.ko refuses never reach OVS: no upcall, no megaflow, no drop that could be cached."""
    target, source, _ = ports
    hv1, hv2 = overlay.lab.host("hv1"), overlay.lab.host("hv2")
    assert overlay.ping(source, target.ipv4) == 3
    vni = overlay.vni("blue").to_bytes(3) + b"\0"
    inner = bytes(Ether(src=source.mac, dst=target.mac) / IP(src=source.ipv4, dst=target.ipv4) / UDP(dport=9))
    bad = {
        "another version": bytes((0x40, 0, 0x65, 0x58)) + vni + inner,
        "options longer than the packet": bytes((63, 0, 0x65, 0x58)) + vni + inner,
        "no Ethernet inside": bytes((0, 0, 0x08, 0x00)) + vni + inner[14:],
    }
    counted = []
    before = dropped(hv2)
    with Wires(overlay.lab, [target.name]) as wires:
        for what, payload in bad.items():
            mark = token()
            send(hv1, [tunnelled(hv1, hv2, payload + mark)], 4)
            time.sleep(patient(0.1))
            assert wires[target.name].count(mark) == 0, what
            after = dropped(hv2)
            counted.append(f"{what}: {after - before}")
            before = after
    assert counted == ["another version: 0", "options longer than the packet: 4", "no Ethernet inside: 4"]
    assert not [flow for flow in dump(hv2) if "actions:drop" in flow and f"src={hv1.endpoint}" in flow]
    assert overlay.ping(source, target.ipv4) == 3
    prove("bad headers are dropped by geneve.ko before OVS", f"4 each, rx_dropped {', '.join(counted)}")


def dropped(host: LabHost) -> int:
    shown = host.run("ip", "-j", "-s", "link", "show", "genev_sys_6081")
    return int(json.loads(shown)[0]["stats64"]["rx"]["dropped"])


def start_deaf(host: LabHost) -> None:
    """Start ovs-vswitchd as if the machine had just booted: OVS 3.1 then counts 0 processors."""
    uptime = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    start_vswitchd_by(host, "unshare", "-T", "--monotonic", str(int(2 - uptime)), "ovs-vswitchd")


def test_lost_upcalls_are_told_of(overlay: Overlay, ports: list[Endpoint], prove: Prove) -> None:
    target, source, _ = ports
    host = overlay.lab.host("hv2")
    overlay.controller.provoked.append("controller.guard")
    host.vsctl("remove", "Open_vSwitch", ".", "other_config", "n-handler-threads")
    host.kill_vswitchd()
    start_deaf(host)
    overlay.controller.settle(HV2)

    def told() -> bool:
        overlay.ping(source, target.ipv4, count=2, wait=0.2)
        degraded = overlay.controller.ask("conditions", *HV2).get("Degraded")
        return degraded is not None and degraded[1] == "UpcallsLost"

    until(told, patient(10), host.appctl("dpctl/show"))
    message = overlay.controller.ask("conditions", *HV2)["Degraded"][2]
    assert "restart ovs-vswitchd" in message
    shown = host.appctl("dpctl/show").splitlines()[1].strip()
    host.kill_vswitchd()
    host.start_vswitchd()
    overlay.controller.settle(HV2)
    until(lambda: overlay.ping(source, target.ipv4) == 3, patient(5), "the restart does not help")
    prove("a vswitchd that takes no upcall is named, and a restart cures it", f"{shown}: {message}")
