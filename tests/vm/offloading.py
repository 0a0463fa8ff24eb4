# SPDX-License-Identifier: Apache-2.0
"""What tests of offload say to hosts, and read of megaflows and of the report."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from controller.intent.model import Kind, OffloadChoice
from controller.lab import LabHost
from tests.patience import patient
from tests.system.overlay import Endpoint, Overlay
from tests.system.test_offload import condition, declare, reported

Found = TypeVar("Found")


def offload(overlay: Overlay, choice: OffloadChoice | None) -> None:
    """Say what all hosts are to hand to traffic control, and wait until they are told."""
    for host in overlay.lab.hosts:
        declare(overlay, host.name, choice)
    overlay.controller.settle(*((Kind.HOST, host.name) for host in overlay.lab.hosts))


def places(view: dict[str, Any], way: str) -> set[str]:
    """Return where a network's megaflows with packets are, of one way."""
    return {each["place"] for each in view["live"] if each["way"] == way and each["packets"]}


def codes(view: dict[str, Any]) -> set[str]:
    """Return the codes of the reasons that a view gives."""
    return {each["code"] for each in view["reasons"]}


def arriving(host: LabHost, kind: str = "tc") -> list[str]:
    """Return the megaflows of IPv4 out of tunnels that are in one place."""
    dump = host.appctl("dpctl/dump-flows", "-m", f"type={kind}")
    return [line for line in dump.splitlines() if _is_ipv4_from_tunnel(line)]


def _is_ipv4_from_tunnel(line: str) -> bool:
    return "in_port(genev_sys_6081)" in line and "eth_type(0x0800)" in line and "packets:0," not in line


def pinged_until(overlay: Overlay, source: Endpoint, target: Endpoint, look: Callable[[], Found]) -> Found:
    """Ping until something is there: a rule is made behind the first packets, and counts none of them."""
    end = time.monotonic() + patient(10)
    while True:
        overlay.ping(source, target.ipv4)
        if found := look():
            return found
        assert time.monotonic() < end, [
            host.appctl("dpctl/dump-flows", "-m")
            for host in overlay.lab.hosts
            if host.vswitchd_pid is not None
        ]


def network_seen(overlay: Overlay, host: str, way: str, place: str) -> Callable[[], dict[str, Any]]:
    """Look whether packets of the one network on a host are in a place: return what the report says of it then."""

    def look() -> dict[str, Any]:
        (one,) = reported(overlay, host)["networks"]
        return one if place in places(one, way) else {}

    return look


def waits(overlay: Overlay, host: str) -> None:
    """Return when a host says that its ovs-vswitchd has to be restarted."""
    end = time.monotonic() + patient(10)
    while condition(overlay, host) != ("False", "OffloadNeedsRestart"):
        assert time.monotonic() < end, condition(overlay, host)
        time.sleep(0.1)


def restarted(overlay: Overlay, name: str) -> None:
    """Start the ovs-vswitchd of a host anew, and wait until its bridge holds everything."""
    host = overlay.lab.host(name)
    host.kill_vswitchd()
    host.start_vswitchd()
    ports = [(Kind.PORT, port.name) for port in overlay.lab.ports]
    overlay.controller.settle((Kind.HOST, name), *ports, timeout=patient(30))
