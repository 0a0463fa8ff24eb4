# SPDX-License-Identifier: Apache-2.0
"""The life of an option, told over REST alone: declared, planned, rolled out, used, verified, replaced, taken away.

A ping runs across the fabric all along, and loses nothing while options come and go.
"""

from __future__ import annotations

import tempfile
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
def controller(lab: Lab, unused_tcp_port: int) -> Iterator[ControllerBeside]:
    with (
        tempfile.TemporaryDirectory(prefix="life") as directory,  # sockets need short paths
        ControllerBeside(Path(directory) / "controller", f"127.0.0.1:{unused_tcp_port}") as beside,
    ):
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
    wait_until(lambda: controller.get(path)["state"] == "finished", 20, "the probes")
    return controller.get(path)


RULE = {
    "network": "blue",
    "to": {"port": "db"},
    "match": {"option": {"context.tier": "web"}},
    "action": "allow",
}
NEXT_RULE = RULE | {"match": {"option": {"context2.tier": "web"}}}


def carry(controller: ControllerBeside, *options: str) -> None:
    """Have the network carry options, and return once they are rolled out."""
    controller.put("networks", "blue", {"vni": 100, "options": list(options)}, wait=True)
    wait_until(lambda: rolled_out(controller), 30, f"{options} to be rolled out")


def stamp(controller: ControllerBeside, **options: dict[str, Any]) -> None:
    """Have every port stamp these options, with the tier that its name says."""
    for name, (_, number) in PORTS.items():
        tier = {"tier": name if name != "guest" else "none"}
        stamped = {schema: values | tier for schema, values in options.items()}
        controller.put("ports", name, port(number, **stamped), wait=True)


def assert_only_web_reaches_db(lab: Lab) -> None:
    assert pings(lab, "web", "10.0.0.2")
    assert not pings(lab, "guest", "10.0.0.2")


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

    # Rolled out while traffic flows, used, and proved on the wire between every two hosts.
    carry(controller, "context")
    stamp(controller, context={"zone": 7})
    assert pings(lab, "guest", "10.0.0.2")
    controller.put("option-policies", "web-only", RULE, wait=True)
    assert_only_web_reaches_db(lab)
    matrix = verified(controller)
    assert len(matrix["results"]) == 6
    assert matrix["failed"] == 0, matrix
    for one in matrix["results"]:
        assert [proved["option"] for proved in one["options"]] == ["context"]
        assert one["proved_mtu"] == one["wanted_mtu"] == network["mtu_after"]

    replace_version(lab, controller)
    reuse_slot(lab, controller)
    ping.assert_nothing_lost(100)


def replace_version(lab: Lab, controller: ControllerBeside) -> None:
    """A new version comes beside the old one, all go over to it, and the old one leaves the network."""
    with pytest.raises(LabError, match="immutable"):
        controller.put("option-schemas", "context", CONTEXT | {"length": 8})
    controller.put("option-schemas", "context2", NEXT)
    carry(controller, "context", "context2")
    stamp(controller, context={"zone": 7}, context2={"owner": "192.0.2.7"})
    controller.put("option-policies", "web-only", NEXT_RULE, wait=True)
    assert_only_web_reaches_db(lab)

    # Not while anything speaks of it; then senders first.
    with pytest.raises(LabError, match="in-use"):
        controller.put("networks", "blue", {"vni": 100, "options": ["context2"]})
    stamp(controller, context2={"owner": "192.0.2.7"})
    carry(controller, "context2")


def reuse_slot(lab: Lab, controller: ControllerBeside) -> None:
    """The old version's slot rests, and then means something else, which nobody misreads."""
    slot = controller.get("option-schemas/context")["status"]["slot"]
    controller.delete("option-schemas", "context")
    early = controller.put("option-schemas", "early", ANOTHER | {"type": 6})
    assert early["status"]["slot"] != slot
    wait_until(lambda: not maps_option(lab, "0xff00,type=0x1,"), 30, "the old option to be unmapped")
    wait_until(
        lambda: controller.plan("option-schemas", "colour", ANOTHER)["slots"]["slot"] == slot,
        40,
        "the slot to be free",
    )
    controller.put("option-schemas", "colour", ANOTHER)
    carry(controller, "context2", "colour")
    assert_only_web_reaches_db(lab)
    matrix = verified(controller)
    assert matrix["failed"] == 0, matrix


def maps_option(lab: Lab, what: str) -> bool:
    return any(what in host.ofctl("dump-tlv-map", "br-int") for host in lab.hosts)
