# SPDX-License-Identifier: Apache-2.0
"""The offload report: rules beside what is seen, with honest labels."""

from dataclasses import replace

import pytest

from controller.intent.commands import Bind
from controller.southbound.ports import HostReport, LinkState, OffloadState
from ovs_geneve.megaflow import OptionHeader
from ovs_geneve.offload.nic import FEATURES, HW_TC, Feature, Nic, TunnelPort
from ovs_geneve.offload.placement import Place, Way
from ovs_geneve.offload.sight import FlowCount, HostSight
from ovs_geneve.ovsdb.offload import OffloadSetting

ON, OFF = OffloadSetting(enabled=True), OffloadSetting(enabled=False)
UP = HostReport(state=LinkState.CONNECTED, datapath="system", offload=OffloadState(ON, ON, ON))

MLX5 = Nic(
    device="u1",
    driver="mlx5_core",
    features={name: Feature(active=True, fixed=False) for name in FEATURES},
    tunnel_ports=(TunnelPort(6081, "geneve"),),
)
CONTEXT = OptionHeader(0xFF00, 1, 4)


def flows(place, *keeps, way=Way.FROM_TUNNEL, vni=100, number=2):
    return FlowCount(
        way=way, vnis=(vni,), options=(CONTEXT,), place=place, keeps=keeps, flows=number, packets=10 * number
    )


@pytest.fixture
def report(topology, backend):
    async def ask(**filters):
        answer = await topology.get("/v1/reports/offload", params=filters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return ask


@pytest.fixture
async def plugged(topology, backend):
    """web1, of blue, is on hv1."""
    await backend.submit(Bind(port="web1", host="hv1"))


def on(found, host="hv1", network="blue"):
    (one,) = [one for one in found["hosts"] if one["host"] == host]
    (view,) = [each for each in one["networks"] if each["network"] == network]
    return view


def codes(view):
    return {reason["code"] for reason in view["reasons"]}


async def test_by_rules_every_family_has_its_verdict(report):
    (blue,) = (await report(network="blue"))["networks"]
    families = {one["family"]: one for one in blue["families"]}
    assert list(families) == ["tc", "mlx5", "ice", "bnxt", "nfp"]
    assert (families["tc"]["sending"], families["tc"]["receiving"]) == ("yes", "yes")
    assert "oam-bit" not in codes(families["tc"])
    assert families["tc"]["hardware"] is False
    assert (families["ice"]["sending"], families["ice"]["receiving"]) == ("no", "no")
    (option,) = families["mlx5"]["options"]
    assert (option["option"], option["verdict"]) == ("context", "unknown")
    assert all(reason.get("source") for reason in families["bnxt"]["reasons"])
    assert [caveat["code"] for caveat in blue["caveats"]] == ["df-lost"]


async def test_a_host_that_nobody_sees_says_what_to_do(report):
    (host, *_) = (await report())["hosts"]
    assert (host["seen"], host["note"]) == (False, "not seen: run the agent there")
    assert (host["nics"], host["declared"], host["running"]) == ([], None, None)


async def test_what_a_nic_took_is_seen(report, backend, plugged):
    backend.reports["hv1"] = UP
    backend.eyes.sights["hv1"] = HostSight(uplinks=(MLX5,), flows=(flows(Place.HARDWARE),))
    found = await report(host="hv1")
    (host,) = found["hosts"]
    (nic,) = host["nics"]
    assert (nic["family"], nic["label"], nic["role"]) == ("mlx5", "NVIDIA ConnectX and BlueField", "uplink")
    assert nic["features"][HW_TC] == "on"
    assert nic["tunnel_ports"] == [{"port": 6081, "kind": "geneve"}]
    assert on(found)["seen"] == "all"
    assert on(found)["live"] == [{"way": "from-tunnel", "place": "hardware", "flows": 2, "packets": 20}]


async def test_traffic_control_in_software_is_no_hardware(report, backend, plugged):
    backend.reports["hv1"] = UP
    backend.eyes.sights["hv1"] = HostSight(
        uplinks=(MLX5,), flows=(flows(Place.TC), flows(Place.OPENVSWITCH, "userspace"))
    )
    view = on(await report())
    assert view["seen"] == "none"
    assert "userspace" in codes(view)
    backend.eyes.sights["hv1"] = HostSight(uplinks=(MLX5,), flows=(flows(Place.TC), flows(Place.HARDWARE)))
    assert on(await report())["seen"] == "some"


@pytest.mark.parametrize(
    ("driver", "label"),
    [
        ("standin_nic", "stand-in, no hardware figure"),
        ("netdevsim", "stand-in, no hardware figure"),
        ("veth", "no NIC that is known (veth): no hardware figure"),
        ("", "no NIC that is known (no driver): no hardware figure"),
    ],
)
async def test_what_is_no_known_nic_is_labelled(report, backend, plugged, driver, label):
    backend.reports["hv1"] = UP
    backend.eyes.sights["hv1"] = HostSight(
        uplinks=(replace(MLX5, driver=driver),), flows=(flows(Place.HARDWARE),)
    )
    found = await report(host="hv1")
    (nic,) = found["hosts"][0]["nics"]
    assert (nic["family"], nic["label"]) == (None, label)
    view = on(found)
    assert (view["sending"], view["receiving"]) == ("unknown", "unknown")
    assert "nic-unknown" in codes(view)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"offload": OffloadState(OFF, OFF, OFF)}, "offload-off"),
        ({"offload": OffloadState(ON, ON, OFF)}, "offload-off"),
        ({"offload": OffloadState(None, OffloadSetting(True, "skip_hw"), None)}, "skip-hw"),
        ({"datapath": "netdev"}, "userspace-datapath"),
    ],
)
async def test_a_host_s_settings_stand_in_the_way(report, backend, plugged, change, code):
    backend.reports["hv1"] = replace(UP, **change)
    backend.eyes.sights["hv1"] = HostSight(uplinks=(MLX5,), flows=(flows(Place.OPENVSWITCH, "refused"),))
    found = await report(host="hv1")
    assert code in codes(found["hosts"][0])
    assert code in codes(on(found))
    assert ("refused" in codes(on(found))) == (code != "offload-off")


async def test_skip_sw_says_what_becomes_of_what_a_nic_refuses(report, backend, plugged):
    skip_sw = OffloadSetting(True, "skip_sw")
    backend.reports["hv1"] = replace(UP, offload=OffloadState(skip_sw, skip_sw, skip_sw))
    backend.eyes.sights["hv1"] = HostSight(uplinks=(MLX5,), flows=(flows(Place.OPENVSWITCH, "refused"),))
    found = await report(host="hv1")
    (why,) = [one for one in found["hosts"][0]["reasons"] if one["code"] == "skip-sw"]
    assert why["verdict"] == "yes"
    assert "stays in Open vSwitch" in why["message"]
    assert "refused" in codes(on(found))
    backend.reports["hv1"] = UP
    assert "skip-sw" not in codes((await report(host="hv1"))["hosts"][0])


@pytest.mark.parametrize("wanted", [None, OFF])
async def test_a_process_that_goes_on_with_what_it_was_started_with_is_said(report, backend, plugged, wanted):
    backend.reports["hv1"] = replace(UP, offload=OffloadState(wanted, OFF, ON))
    backend.eyes.sights["hv1"] = HostSight(uplinks=(MLX5,), flows=(flows(Place.OPENVSWITCH, "refused"),))
    found = await report(host="hv1")
    (host,) = found["hosts"]
    assert (host["configured"], host["running"]) == ("hw-offload=false", "hw-offload=true tc-policy=none")
    (why,) = [one for one in host["reasons"] if one["code"] == "needs-restart"]
    assert why["change"] == "systemctl reload ovs-vswitchd"
    assert "offload-off" not in codes(host)
    assert "refused" in codes(on(found))


async def test_a_feature_that_is_off_is_said_with_the_command(report, backend, plugged):
    backend.reports["hv1"] = UP
    off = replace(MLX5, features={HW_TC: Feature(active=False, fixed=False)})
    backend.eyes.sights["hv1"] = HostSight(uplinks=(off,))
    view = on(await report())
    (reason,) = [one for one in view["reasons"] if one["code"] == "hw-tc-offload"]
    assert reason["change"] == "ethtool -K u1 hw-tc-offload on"
    assert (view["sending"], view["receiving"]) == ("no", "no")


@pytest.mark.parametrize(
    ("choice", "drops"), [(None, True), ("off", True), ("on", False), ("skip-hw", False)]
)
async def test_a_host_drops_oam_packets_or_says_that_it_does_not(
    topology, report, backend, plugged, choice, drops
):
    spec = (await topology.get("/v1/hosts/hv1")).json()["spec"]
    assert (await topology.put("/v1/hosts/hv1", json=spec | {"offload": choice})).status_code == 200
    backend.reports["hv1"] = UP
    backend.eyes.sights["hv1"] = HostSight(uplinks=(MLX5,))
    found = await report(host="hv1")
    assert ("oam-bit" in codes(on(found))) == drops
    assert ("oam-taken" in codes(found["hosts"][0])) == (not drops)
    assert on(found)["receiving"] == ("no" if drops else "unknown")


async def test_what_could_not_be_seen_is_said(report, backend):
    backend.eyes.sights["hv1"] = HostSight(unread=3, problems=("devices: Operation not permitted",))
    host = (await report(host="hv1"))["hosts"][0]
    assert (host["unread"], host["problems"]) == (3, ["devices: Operation not permitted"])


@pytest.mark.parametrize("filters", [{"host": "nobody"}, {"network": "nowhere"}])
async def test_a_filter_that_names_nothing_is_refused(topology, filters):
    answer = await topology.get("/v1/reports/offload", params=filters)
    assert answer.status_code == 404
    assert answer.json()["type"] == "/problems/not-found"


async def test_the_setting_of_a_host(topology):
    view = await topology.get("/v1/hosts/hv1")
    spec = view.json()["spec"]
    assert spec["offload"] is None
    for choice in ("off", "on", "skip-hw", "skip-sw"):
        answer = await topology.put("/v1/hosts/hv1", json=spec | {"offload": choice})
        assert answer.json()["spec"]["offload"] == choice
    refused = await topology.put("/v1/hosts/hv1", json=spec | {"offload": "maybe"})
    assert refused.status_code == 400
    assert "offload" in refused.text
    linux = {"kind": "linux", "endpoints": [{"address": "192.0.2.99"}], "offload": "on"}
    refused = await topology.put("/v1/hosts/lx1", json=linux)
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/field-of-other-kind")
