# SPDX-License-Identifier: Apache-2.0
"""The life of an option, told over REST alone: declared, planned, rolled out, used, verified, replaced, taken away.

A ping runs across the fabric all along, and loses nothing while options come and go.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.lab import Lab, LabError
from controller.lab.beside import ControllerBeside
from controller.lab.waiting import wait_until
from tests.system.overlay import Endpoint, Pinging

pytestmark = pytest.mark.system

CONTEXT = {
    "class": "0xff00",
    "type": 1,
    "length": 4,
    "fields": [
        {"name": "tier", "type": "enum", "offset": 0, "bits": 8, "values": {"none": 0, "web": 1, "db": 2}},
        {"name": "zone", "type": "uint", "offset": 8, "bits": 16},
    ],
}
NEXT = {
    "class": "0xff00",
    "type": 2,
    "length": 8,
    "replaces": "context",
    "fields": [
        *CONTEXT["fields"],
        {"name": "owner", "type": "ipv4", "offset": 32, "bits": 32},
    ],
}
ANOTHER = {"class": "0xff01", "type": 7, "length": 4, "fields": [{"name": "hue", "offset": 0, "bits": 8}]}

PORTS = {"web": ("hv1", 1), "db": ("hv2", 2), "guest": ("hv3", 3)}


@pytest.fixture(scope="module")
def lab(bring_up) -> Lab:
    return bring_up(hosts=3)


@pytest.fixture
def controller(lab: Lab, tmp_path: Path) -> Iterator[ControllerBeside]:
    with ControllerBeside(tmp_path / "controller") as beside:
        for host in lab.hosts:
            endpoints = [{"address": str(host.endpoint)}]
            document = {"ovsdb": host.ovsdb, "endpoints": endpoints, "underlay_mtu": host.mtu}
            beside.put("hosts", host.name, document, wait=True)
        yield beside


def port(number: int, **options: Any) -> dict[str, Any]:
    mac, addresses = f"02:00:00:00:00:{number:02x}", [f"10.0.0.{number}"]
    return {"network": "blue", "mac": mac, "addresses": addresses, "options": options}


def plug(lab: Lab, controller: ControllerBeside) -> dict[str, Endpoint]:
    endpoints = {}
    for name, (host, number) in PORTS.items():
        document = port(number)
        controller.put("ports", name, document)
        lab.plug(host, name, document["mac"], [f"10.0.0.{number}/24"])
        controller.put("ports", name, document, wait=True)
        endpoints[name] = Endpoint(name, document["mac"], tuple(document["addresses"]))
    return endpoints


def pings(lab: Lab, source: str, target: str) -> bool:
    line = ["ping", "-n", "-q", "-c", "2", "-i", "0.2", "-W", "1", target]
    return lab.exec(source, line, timeout=15).returncode == 0


def rolled_out(controller: ControllerBeside) -> bool:
    return not controller.get("rollouts")["items"]


def verified(controller: ControllerBeside) -> dict[str, Any]:
    probe = controller.post("probes", {"network": "blue"})
    path = f"probes/{probe['id']}"
    wait_until(lambda: controller.get(path)["state"] == "done", 20, "the probes")
    return controller.get(path)


def test_the_life_of_an_option(lab: Lab, controller: ControllerBeside) -> None:
    controller.put("networks", "blue", {"vni": 100})
    ends = plug(lab, controller)
    wait_until(lambda: pings(lab, "web", "10.0.0.2"), 10, "the first answer")
    ping = Pinging(lab, ends["web"], "10.0.0.2")

    # Declared, and looked at before anything is done.
    controller.put("option-schemas", "context", CONTEXT)
    plan = controller.plan("networks", "blue", {"vni": 100, "options": ["context"]})
    (network,) = plan["networks"]
    assert network["mtu_after"] == network["mtu_before"] - 8
    assert plan["rollouts"] == [{"network": "blue", "schema": "context", "direction": "in"}]
    assert controller.get("networks/blue")["spec"]["options"] == []

    # Rolled out while traffic flows.
    controller.put("networks", "blue", {"vni": 100, "options": ["context"]}, wait=True)
    wait_until(lambda: rolled_out(controller), 30, "the rollout")
    for name, tier in (("web", "web"), ("db", "db"), ("guest", "none")):
        number = PORTS[name][1]
        controller.put("ports", name, port(number, context={"tier": tier, "zone": 7}), wait=True)

    # Used.
    rule = {
        "network": "blue",
        "to": {"port": "db"},
        "match": {"option": {"context.tier": "web"}},
        "action": "allow",
    }
    assert pings(lab, "guest", "10.0.0.2")
    controller.put("option-policies", "web-only", rule, wait=True)
    assert pings(lab, "web", "10.0.0.2")
    assert not pings(lab, "guest", "10.0.0.2")

    # Proved on the wire, between every two hosts.
    matrix = verified(controller)
    assert len(matrix["results"]) == 6
    assert all(one["reached"] for one in matrix["results"])

    # A new version beside the old one, and over to it.
    with pytest.raises(LabError, match="immutable"):
        controller.put("option-schemas", "context", CONTEXT | {"length": 8})
    controller.put("option-schemas", "context2", NEXT)
    controller.put("networks", "blue", {"vni": 100, "options": ["context", "context2"]}, wait=True)
    wait_until(lambda: rolled_out(controller), 30, "the new version")
    for name, tier in (("web", "web"), ("db", "db"), ("guest", "none")):
        both = {"context": {"tier": tier, "zone": 7}, "context2": {"tier": tier, "owner": "192.0.2.7"}}
        controller.put("ports", name, port(PORTS[name][1], **both), wait=True)
    controller.put(
        "option-policies", "web-only", rule | {"match": {"option": {"context2.tier": "web"}}}, wait=True
    )
    assert pings(lab, "web", "10.0.0.2")
    assert not pings(lab, "guest", "10.0.0.2")

    # The old one goes: not while anything speaks of it, then senders first.
    with pytest.raises(LabError, match="in-use"):
        controller.put("networks", "blue", {"vni": 100, "options": ["context2"]})
    for name, tier in (("web", "web"), ("db", "db"), ("guest", "none")):
        controller.put("ports", name, port(PORTS[name][1], context2={"tier": tier}), wait=True)
    controller.put("networks", "blue", {"vni": 100, "options": ["context2"]}, wait=True)
    wait_until(lambda: rolled_out(controller), 30, "the old version to go")
    slot = controller.get("option-schemas/context")["status"]["slot"]
    controller.delete("option-schemas", "context")

    # Its slot rests, and then means something else, which nobody misreads.
    first = controller.put("option-schemas", "early", ANOTHER | {"type": 6})
    assert first["status"]["slot"] != slot
    wait_until(lambda: not maps_option(lab, "0xff00,type=0x1,"), 30, "the old option to be unmapped")
    wait_until(
        lambda: controller.plan("option-schemas", "colour", ANOTHER)["slots"]["slot"] == slot,
        40,
        "the slot to be free",
    )
    controller.put("option-schemas", "colour", ANOTHER)
    controller.put("networks", "blue", {"vni": 100, "options": ["context2", "colour"]}, wait=True)
    wait_until(lambda: rolled_out(controller), 30, "the option in the old one's slot")
    assert pings(lab, "web", "10.0.0.2")
    assert not pings(lab, "guest", "10.0.0.2")
    assert all(one["reached"] for one in verified(controller)["results"])

    ping.assert_nothing_lost(100)


def maps_option(lab: Lab, what: str) -> bool:
    return any(what in host.ofctl("dump-tlv-map", "br-int") for host in lab.hosts)
