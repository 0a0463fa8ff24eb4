# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve offload report, as typed."""

import json

import pytest
import yaml

from controller.southbound.ports import HostReport, LinkState, OffloadState
from ovs_geneve.offload.nic import HW_TC, Feature, Nic
from ovs_geneve.offload.sight import HostSight
from ovs_geneve.ovsdb.offload import OffloadSetting

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
