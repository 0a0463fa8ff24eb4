# SPDX-License-Identifier: Apache-2.0
"""Linux hosts in the offload report: what their agents told."""

import pytest

from controller.intent.commands import Bind
from controller.offload.live import EveryEyes

LINUX = {"kind": "linux", "endpoints": [{"address": "192.0.2.21"}], "underlay_mtu": 1600}

UPLINK = {
    "name": "u1",
    "driver": "mlx5_core",
    "features": [{"name": "hw-tc-offload", "active": True, "fixed": False}],
    "tunnel_ports": [{"port": 6081, "kind": "geneve"}],
}


def filters(device, part, number, in_hardware, *, egress=False):
    return {
        "device": device,
        "egress": egress,
        "part": part,
        "filters": number,
        "in_hardware": in_hardware,
    }


SIGHT = {
    "uplinks": [UPLINK],
    "filters": [
        filters("og-geneve", "host", 5, 0),
        filters("og-geneve", "network/blue", 3, 0),
        filters("og-t000064", "network/blue", 4, 0, egress=True),
    ],
}


@pytest.fixture
async def agent(topology, backend):
    """web1, of blue, is on lx1, whose agent is there; a function has it tell what it sees."""
    backend.eyes = EveryEyes(backend.eyes, backend.linux)
    await topology.put("/v1/hosts/lx1", json=LINUX)
    backend.linux.follow("lx1")
    await backend.submit(Bind(port="web1", host="lx1"))

    async def tell(sight):
        report = {"interfaces": [{"interface_id": "web1", "name": "tap1"}], "kernel": "6.1", "sight": sight}
        answer = await topology.post("/v1/hosts/lx1/report", json=report)
        assert answer.status_code == 204, answer.text

    return tell


def codes(view):
    return {reason["code"] for reason in view["reasons"]}


async def reported(client, host="lx1"):
    answer = await client.get("/v1/reports/offload", params={"host": host})
    assert answer.status_code == 200, answer.text
    (one,) = answer.json()["hosts"]
    return one


async def test_what_an_agent_tells_is_shown(topology, agent):
    await agent(SIGHT)
    host = await reported(topology)
    assert (host["seen"], host["note"], host["problems"]) == (True, "", [])
    (nic,) = host["nics"]
    assert (nic["device"], nic["role"], nic["family"]) == ("u1", "uplink", "mlx5")
    assert nic["features"] == {"hw-tc-offload": "on"}
    assert nic["tunnel_ports"] == [{"port": 6081, "kind": "geneve"}]
    assert host["filters"] == [
        {"device": "og-geneve", "direction": "ingress", "filters": 5, "in_hardware": 0}
    ]
    (blue,) = host["networks"]
    assert blue["filters"] == [
        {"device": "og-geneve", "direction": "ingress", "filters": 3, "in_hardware": 0},
        {"device": "og-t000064", "direction": "egress", "filters": 4, "in_hardware": 0},
    ]
    assert (blue["seen"], blue["live"]) == ("none", [])
    assert codes(host) == {"df-lost"}


@pytest.mark.parametrize(
    ("in_hardware", "seen"), [((3, 4), "all"), ((3, 0), "some"), ((1, 0), "some"), ((0, 0), "none")]
)
async def test_how_many_filters_a_nic_has(topology, agent, in_hardware, seen):
    arriving, sent = in_hardware
    told = [
        filters("og-geneve", "host", 5, 5),
        filters("og-geneve", "network/blue", 3, arriving),
        filters("og-t000064", "network/blue", 4, sent, egress=True),
    ]
    await agent(SIGHT | {"filters": told})
    (blue,) = (await reported(topology))["networks"]
    assert blue["seen"] == seen


async def test_what_the_agent_could_not_see_is_said(topology, agent):
    problem = "no device has 192.0.2.21, an endpoint of this host: its NIC is not known"
    await agent({"problems": [problem]})
    host = await reported(topology)
    assert (host["seen"], host["problems"], host["nics"]) == (True, [problem], [])


async def test_nothing_is_seen_without_an_agent_and_of_one_that_went(topology, agent, backend):
    host = await reported(topology)
    assert (host["seen"], host["note"]) == (False, "not seen: its agent does not follow this controller")
    await agent(SIGHT)
    assert (await reported(topology))["seen"]
    feed = backend.linux.follow("lx1")
    backend.linux.left("lx1", feed, feed.turn)
    assert not (await reported(topology))["seen"]
    await agent(None)
    assert not (await reported(topology))["seen"]


async def test_whatever_the_nic_is_none_takes_what_such_a_host_sends(topology, agent):
    await agent(SIGHT)
    (blue,) = (await reported(topology))["networks"]
    assert (blue["sending"], blue["receiving"]) == ("no", "no")
    assert {"behind-bridge", "into-bridge"} <= codes(blue)
    assert not {"oam-bit", "offload-off", "nic-unknown"} & codes(blue)
    await agent(SIGHT | {"uplinks": [UPLINK | {"driver": "veth"}]})
    (blue,) = (await reported(topology))["networks"]
    assert (blue["sending"], blue["receiving"]) == ("no", "unknown")
    assert {"behind-bridge", "nic-unknown"} <= codes(blue)
    off = [UPLINK | {"features": [{"name": "hw-tc-offload", "active": False, "fixed": False}]}]
    await agent(SIGHT | {"uplinks": off})
    (blue,) = (await reported(topology))["networks"]
    assert {one.get("change") for one in blue["reasons"] if one["code"] == "hw-tc-offload"} == {
        "ethtool -K u1 hw-tc-offload on"
    }


async def test_fixed_tunnels_have_nothing_to_offer(topology, agent):
    await agent(SIGHT)
    await topology.delete(
        "/v1/option-policies/tier2-only"
    )  # fixed tunnels send no option that it could match
    answer = await topology.put("/v1/hosts/lx1", json=LINUX | {"tunnels": "fixed"})
    assert answer.is_success, answer.text
    host = await reported(topology)
    (blue,) = host["networks"]
    assert (blue["sending"], blue["receiving"], host["datapath"]) == ("no", "no", "linux")
    assert "no-filters" in codes(blue)
    assert codes(host) == set()
    assert "into-bridge" not in codes(blue)


async def test_by_rules_each_family_and_option_has_a_verdict_for_such_hosts_too(topology, agent):
    answer = (await topology.get("/v1/reports/offload")).json()
    (blue,) = answer["networks"]
    families = {one["family"]: one for one in blue["linux"]}
    assert list(families) == [one["family"] for one in blue["families"]]
    assert (families["tc"]["sending"], families["tc"]["receiving"]) == ("yes", "yes")
    assert (families["mlx5"]["sending"], families["mlx5"]["receiving"]) == ("no", "no")
    assert codes(families["mlx5"]) == {"behind-bridge", "into-bridge"}
    # A policy reads `context` where packets arrive, behind the bridge: no rule at the tunnel does.
    (option,) = families["mlx5"]["options"]
    assert (option["option"], option["verdict"]) == ("context", "yes")
    assert all(one["change"] for one in families["mlx5"]["reasons"])


async def test_a_network_without_ports_on_such_hosts_has_no_verdict_for_them(topology):
    (blue,) = (await topology.get("/v1/reports/offload")).json()["networks"]
    assert blue["linux"] == []


@pytest.mark.parametrize(
    ("sight", "pointer"),
    [
        ({"more": 1}, "/sight/more"),
        ({"filters": [filters("og-geneve", "host", 0, 0)]}, "/sight/filters/0/filters"),
        ({"uplinks": [UPLINK | {"name": ""}]}, "/sight/uplinks/0/name"),
        ({"uplinks": [UPLINK | {"tunnel_ports": [{"port": 70000, "kind": "geneve"}]}]}, None),
    ],
)
async def test_reports_are_refused_clearly(topology, agent, sight, pointer):
    report = {"interfaces": [], "kernel": "6.1", "sight": sight}
    answer = await topology.post("/v1/hosts/lx1/report", json=report)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (400, "/problems/document-invalid")
    if pointer is not None:
        assert problem["pointer"] == pointer
