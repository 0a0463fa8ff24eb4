# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve offload report, as typed."""

import json

import pytest
import yaml

from controller.intent.model import HostKind
from controller.southbound.ports import HostReport, LinkState, OffloadState
from ovs_geneve.offload.nic import HW_TC, Feature, Nic
from ovs_geneve.offload.sight import FilterCount, HostSight
from ovs_geneve.ovsdb.offload import OffloadSetting
from tests.builders import bind, host, port, put

ON = OffloadSetting(enabled=True)

DOCUMENTS = """
{kind: host, name: hv1, offload: on, endpoints: [{address: 192.0.2.1}]}
---
{kind: host, name: hv2, endpoints: [{address: 192.0.2.2}]}
---
{kind: option-schema, name: context, class: 0xff00, type: 1, length: 4, fields: []}
---
{kind: network, name: blue, options: [context]}
---
{kind: network, name: red}
"""


@pytest.fixture
def fabric(run, served, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    text = DOCUMENTS.replace("offload: on", 'offload: "on"')
    assert run("apply", "-f", "-", text=text).exit_code == 0
    served.backend.reports["hv1"] = HostReport(
        state=LinkState.CONNECTED, datapath="system", offload=OffloadState(ON, ON, ON)
    )
    nic = Nic(device="u1", driver="standin_nic", features={HW_TC: Feature(active=False, fixed=False)})
    served.backend.eyes.sights["hv1"] = HostSight(uplinks=(nic,))
    return run


def words(output, start):
    return next(line for line in output.splitlines() if line.startswith(start)).split()


def test_the_tables(fabric):
    answer = fabric("offload", "report")
    assert answer.exit_code == 0, answer.output
    assert words(answer.output, "NETWORK") == ["NETWORK", "OPTIONS", "tc", "mlx5", "ice", "bnxt", "nfp"]
    assert words(answer.output, "red")[:5] == ["red", "-", "yes", "/", "yes"]
    assert "stand-in, no hardware figure" in answer.output
    assert "not seen: run the agent there" in answer.output
    assert "ethtool -K u1 hw-tc-offload on" in answer.output
    assert "the outer DF bit is lost" in answer.output
    (taken,) = [
        line for line in answer.output.splitlines() if "the O bit of declared peers are not dropped" in line
    ]
    assert taken.startswith("hv1 "), "hv2 drops them"


def test_a_host_without_open_vswitch_is_beside_them(fabric, served):
    for command in (
        put("lx1", host("192.0.2.9", kind=HostKind.LINUX)),
        put("web1", port("blue", 1, "10.0.0.1")),
        bind("web1", "lx1"),
    ):
        served.submit(command)
    seen = FilterCount(network="blue", device="og-geneve", egress=False, filters=3, in_hardware=1)
    served.backend.eyes.sights["lx1"] = HostSight(filters=(seen,))
    output = fabric("offload", "report").output
    assert "By rules, on hosts without Open vSwitch" in output
    assert words(output, "lx1") == ["lx1", "-", "-", "linux", "none"]
    (row,) = [line for line in output.splitlines() if line.startswith("lx1") and "blue" in line]
    assert row.split()[:5] == ["lx1", "blue", "no", "unknown", "some"]
    assert "og-geneve ingress: 1 of 3 filters in a NIC" in row
    (why,) = [
        line for line in output.splitlines() if "the rule that chooses their tunnel is behind it" in line
    ]
    assert "blue on lx1" in why
    assert "blue on mlx5 without Open vSwitch" in why
    assert "have Open vSwitch on this host" in why


def test_filters_and_formats(fabric):
    found = json.loads(fabric("offload", "report", "--network", "red", "--host", "hv2", "-o", "json").output)
    assert [one["network"] for one in found["networks"]] == ["red"]
    assert [one["host"] for one in found["hosts"]] == ["hv2"]
    again = yaml.safe_load(
        fabric("offload", "report", "--network", "red", "--host", "hv2", "-o", "yaml").output
    )
    assert again == found


def test_a_filter_that_names_nothing(fabric):
    answer = fabric("offload", "report", "--host", "nobody")
    assert answer.exit_code == 1
    assert "there is no host/nobody" in answer.output


def test_the_setting_is_shown(fabric):
    assert '"offload": "on"' in fabric("get", "hosts", "hv1", "-o", "json").output
