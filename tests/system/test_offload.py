# SPDX-License-Identifier: Apache-2.0
"""Offload is declared, takes effect, waits for a restart, and is reported, on hosts in network namespaces."""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest

from controller.intent.model import HostSpec, Kind, OffloadChoice
from controller.lab import Datapath
from tests.system.overlay import Overlay
from tests.system.test_options import CONTEXT

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def shared(make_overlay: Callable[..., Overlay]) -> Overlay:
    overlay = make_overlay(hosts=2)
    overlay.schema(CONTEXT)
    return overlay


def declare(overlay: Overlay, host: str, choice: OffloadChoice | None) -> None:
    there = overlay.lab.host(host)
    endpoint = ip_address(str(there.endpoint))
    spec = HostSpec(ovsdb=there.ovsdb, endpoints=(endpoint,), underlay_mtu=there.mtu, offload=choice)
    overlay.controller.put(Kind.HOST, host, spec)


def condition(overlay: Overlay, host: str) -> tuple[str, str]:
    status, reason, _ = overlay.controller.ask("conditions", Kind.HOST, host).get("Offload", ("", "", ""))
    return status, reason


def becomes(overlay: Overlay, host: str, expected: tuple[str, str]) -> None:
    end = time.monotonic() + 10
    while condition(overlay, host) != expected:
        assert time.monotonic() < end, condition(overlay, host)
        time.sleep(0.05)


def setting(overlay: Overlay, host: str) -> str:
    return overlay.lab.host(host).vsctl("--if-exists", "get", "Open_vSwitch", ".", "other_config:hw-offload")


def reported(overlay: Overlay, host: str) -> dict[str, Any]:
    (one,) = [one for one in overlay.controller.ask("offload")["hosts"] if one["host"] == host]
    return one


def test_a_host_s_setting_over_its_life(overlay: Overlay) -> None:
    assert condition(overlay, "hv1") == ("", "")
    declare(overlay, "hv1", OffloadChoice.ON)
    becomes(overlay, "hv1", ("True", "Running"))
    assert "true" in setting(overlay, "hv1")
    assert reported(overlay, "hv1")["running"] == "hw-offload=true tc-policy=none"

    declare(overlay, "hv1", OffloadChoice.OFF)
    becomes(overlay, "hv1", ("False", "OffloadNeedsRestart"))
    assert reported(overlay, "hv1")["configured"] == "hw-offload=false"
    assert reported(overlay, "hv1")["running"] == "hw-offload=true tc-policy=none"
    host = overlay.lab.host("hv1")
    host.kill_vswitchd()
    host.start_vswitchd()
    becomes(overlay, "hv1", ("True", "Running"))

    declare(overlay, "hv1", None)
    becomes(overlay, "hv1", ("", ""))
    end = time.monotonic() + 10
    while setting(overlay, "hv1").strip():
        assert time.monotonic() < end, "what was there before did not come back"
        time.sleep(0.05)


def test_devices_are_those_of_the_host_s_namespace(overlay: Overlay) -> None:
    overlay.network("blue", options=("context",))
    overlay.port("blue", "hv2", 2)
    host = reported(overlay, "hv2")
    assert (host["seen"], host["problems"], host["unread"]) == (True, [], 0)
    uplink = next(nic for nic in host["nics"] if nic["role"] == "uplink")
    # br-phy, a tap of ovs-vswitchd's own, or u0, an end of a veth: no NIC, and not called one.
    assert uplink["label"].startswith("no NIC that is known")
    assert uplink["features"]["hw-tc-offload"] == "off [fixed]"
    (blue,) = host["networks"]
    reasons = {reason["code"] for reason in blue["reasons"]}
    assert {"nic-unknown", "hw-tc-offload"} <= reasons
    assert ("userspace-datapath" in reasons) == (overlay.lab.state.datapath is Datapath.NETDEV)


def test_a_host_that_is_let_go_is_as_it_was(overlay: Overlay) -> None:
    host = overlay.lab.host("hv2")
    host.vsctl("set", "Open_vSwitch", ".", "other_config:tc-policy=skip_sw")
    declare(overlay, "hv2", OffloadChoice.SKIP_HW)
    becomes(overlay, "hv2", ("True", "Running"))
    overlay.expel("hv2")
    end = time.monotonic() + 10
    while "skip_sw" not in host.vsctl("get", "Open_vSwitch", ".", "other_config"):
        assert time.monotonic() < end, host.vsctl("get", "Open_vSwitch", ".", "other_config")
        time.sleep(0.05)
    assert "hw-offload" not in host.vsctl("get", "Open_vSwitch", ".", "other_config")
    assert "offload" not in host.vsctl("get", "Open_vSwitch", ".", "external_ids")
