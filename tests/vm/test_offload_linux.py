# SPDX-License-Identifier: Apache-2.0
"""Hosts without Open vSwitch in the offload report: their filters in software, then over the stand-in for a NIC.

The stand-in takes rules and forwards nothing: it is no hardware.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.rig.kernel_hosts import ip
from controller.api.offload_views import STAND_IN
from controller.intent.model import GroupSpec, Kind
from controller.lab import LinuxHost
from controller.lab.settings import fabric_namespace, underlay_network
from controller.lab.underlay import UNDERLAY_SWITCH
from controller.linux.layout import TUNNEL_DEVICE
from tests.patience import patient
from tests.system.overlay import Endpoint, Overlay
from tests.system.test_offload import reported
from tests.system.test_options import CONTEXT
from tests.vm.conftest import Prove
from tests.vm.offloading import codes
from tests.vm.standin.nic import StandIn, lacking, load

pytestmark = pytest.mark.system

ICMP = 1

Host = dict[str, Any]
Ports = tuple[Endpoint, Endpoint]


@pytest.fixture(scope="module")
def overlay(make_overlay: Callable[..., Overlay]) -> Overlay:
    overlay = make_overlay(hosts=0, linux_hosts=2)
    overlay.schema(CONTEXT)
    for name in ("web", "db"):
        overlay.controller.put(Kind.GROUP, name, GroupSpec())
    return overlay


@pytest.fixture(scope="module")
def ports(overlay: Overlay) -> Ports:
    """web on lx1 and db on lx2, which lets web ping it: rules at lx2's tunnels read the sender's group."""
    overlay.network("blue", options=("identity", "context"))
    web = overlay.port("blue", "lx1", 1, group="web", values={"context.tier": 2})
    db = overlay.port("blue", "lx2", 2, group="db")
    overlay.rule("web-db", "blue", "db", from_group="web", protocol=ICMP)
    return web, db


def seen(overlay: Overlay, host: str, what: Callable[[Host], bool]) -> Host:
    """Return the report of a host once its agent has looked again, which it does at least every half a minute."""
    end = time.monotonic() + patient(10)
    while not what(found := reported(overlay, host)):
        assert time.monotonic() < end, found
        time.sleep(0.2)
    return found


def counts(host: Host) -> dict[str, tuple[int, int]]:
    """Return, by device and direction, how many filters of network blue are there and how many in a NIC."""
    (blue,) = host["networks"]
    return {
        f"{one['device']} {one['direction']}": (one["filters"], one["in_hardware"]) for one in blue["filters"]
    }


def at_tunnels(host: Host) -> tuple[int, int]:
    """Return how many filters are at the device for tunnels, of networks or not, and how many in a NIC."""
    every = (*host["filters"], *host["networks"][0]["filters"])
    found = [(one["filters"], one["in_hardware"]) for one in every if one["device"] == TUNNEL_DEVICE]
    return sum(number for number, _ in found), sum(taken for _, taken in found)


def shown(host: LinuxHost, word: str) -> int:
    """Count the filters of the device for tunnels that tc(8) shows with a word."""
    return host.run("tc", "filter", "show", "dev", TUNNEL_DEVICE, "ingress").split().count(word)


def test_filters_in_software_are_told_as_such(overlay: Overlay, ports: Ports, prove: Prove) -> None:
    web, db = ports
    assert overlay.ping(web, db.ipv4) == 3
    lx2 = overlay.lab.linux_host("lx2")
    host = seen(
        overlay,
        "lx2",
        lambda one: len(one["networks"]) == 1 and at_tunnels(one)[0] == shown(lx2, "not_in_hw"),
    )
    (blue,) = host["networks"]
    assert (host["seen"], host["problems"], host["datapath"]) == (True, [], "linux")
    assert (blue["sending"], blue["receiving"], blue["seen"]) == ("no", "no", "none")
    assert {"behind-bridge", "hw-tc-offload", "nic-unknown"} <= codes(blue)
    assert not shown(lx2, "in_hw")
    assert {f"{TUNNEL_DEVICE} ingress", f"og-t{overlay.vni('blue'):06x} egress"} <= counts(host).keys()
    (uplink,) = host["nics"]
    assert (uplink["device"], uplink["driver"]) == ("u0", "veth")
    assert uplink["features"]["hw-tc-offload"] == "off [fixed]"
    (network,) = overlay.controller.ask("offload")["networks"]
    by_rules = {one["family"]: one for one in network["linux"]}
    assert (by_rules["tc"]["sending"], by_rules["tc"]["receiving"]) == ("yes", "yes")
    assert (by_rules["mlx5"]["sending"], by_rules["mlx5"]["receiving"]) == ("no", "no")
    prove("filters of a Linux host are reported to be in no NIC", f"{counts(host)}, {uplink['label']}")


@pytest.fixture(scope="module")
def nic(overlay: Overlay, ports: Ports) -> StandIn:
    """The stand-in, which no host uses yet. It stays until the kernel ends."""
    if problem := lacking():
        pytest.skip(problem)
    return load(pairs=1)


def test_a_stand_in_takes_the_rules_of_the_tunnel_device_and_no_others(
    overlay: Overlay, ports: Ports, nic: StandIn, prove: Prove
) -> None:
    web, db = ports
    host = overlay.lab.linux_host("lx2")
    ip(host.namespace, "link del u0")
    gone = seen(overlay, "lx2", lambda one: bool(one["problems"]))
    assert gone["nics"] == []
    assert any(f"no device has {host.endpoint}" in problem for problem in gone["problems"])
    prove("an endpoint that no device has is named", "; ".join(gone["problems"]))

    fabric = fabric_namespace(overlay.lab.state.name)
    nic.cable(host.namespace, "u0", fabric, "lx2-u")
    ip(fabric, f"link set lx2-u mtu {host.mtu} master {UNDERLAY_SWITCH} up")
    prefix = underlay_network(host.underlay).prefixlen
    mine = [f"link set u0 address {host.endpoint_mac} mtu {host.mtu} up"]
    ip(host.namespace, *mine, f"addr add {host.endpoint}/{prefix} dev u0")
    # A driver that comes later is offered none of the rules that are there (seen with Linux 6.1), so they come anew.
    ip(host.namespace, f"link del {TUNNEL_DEVICE}")
    told = seen(overlay, "lx2", lambda one: bool(one["nics"]) and at_tunnels(one)[1] > 0)
    number, taken = at_tunnels(told)
    assert number == taken == shown(host, "in_hw")
    (blue,) = told["networks"]
    assert all(inside == 0 for place, (_, inside) in counts(told).items() if TUNNEL_DEVICE not in place)
    assert blue["seen"] == "some"
    (uplink,) = told["nics"]
    assert (uplink["label"], uplink["family"]) == (STAND_IN, None)
    assert uplink["tunnel_ports"] == [{"port": 6081, "kind": "geneve"}]
    assert {"behind-bridge", "nic-unknown"} <= codes(blue)
    assert overlay.ping(web, db.ipv4, wait=patient(1)) == 3
    prove(
        "a stand-in NIC is offered the rules of a Linux host's tunnel device, and no others",
        f"{counts(told)}",
    )

    nic.limit("options_max", 1)
    overlay.rule("web-db", "blue", "db", from_group="db", protocol=ICMP)
    assert overlay.ping(web, db.ipv4, count=2, wait=0.3) == 0
    fewer = seen(overlay, "lx2", lambda one: at_tunnels(one)[1] < at_tunnels(one)[0])
    assert shown(host, "not_in_hw") == at_tunnels(fewer)[0] - at_tunnels(fewer)[1] > 0
    prove(
        "what a stand-in NIC refuses for its options is told of a Linux host",
        f"{counts(fewer)} {nic.refused()}",
    )
