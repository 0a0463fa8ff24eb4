# SPDX-License-Identifier: Apache-2.0
"""Rollouts and what hosts can do, over REST."""

import pytest

from controller.intent.commands import Record
from controller.intent.model import CapabilitySpec, RolloutSpec, RolloutStage
from ovs_geneve.openflow.tlv_table import TlvMap
from tests.unit.api.backend import NETWORK, SCHEMA, without

ROLLOUT = RolloutSpec(
    network="blue", schema="trail", stage=RolloutStage.ROLLED_BACK, reason="canary failed: got 0"
)


@pytest.fixture
async def under_way(topology, backend):
    trail = {**SCHEMA, "type": 2, "length": 4}
    assert (await topology.put("/v1/option-schemas/trail", json=trail)).status_code == 201
    both = {**NETWORK, "options": ["context", "trail"]}
    assert (await topology.put("/v1/networks/blue", json=both)).status_code == 200
    return topology


async def test_a_rollout_is_listed_and_read(under_way, backend):
    listed = (await under_way.get("/v1/rollouts")).json()
    assert listed["revision"] == backend.intent.revision
    (one,) = listed["items"]
    assert one == (await under_way.get("/v1/rollouts/blue:trail")).json()
    assert one == {
        "kind": "rollout",
        "name": "blue:trail",
        "revision": backend.intent.revision,
        "spec": {"network": "blue", "schema": "trail", "direction": "in"},
        "status": {"stage": "receivers", "reason": ""},
    }
    await backend.service.submit(Record(name="blue:trail", spec=ROLLOUT))
    view = (await under_way.get("/v1/rollouts/blue:trail")).json()
    assert view["status"] == {"stage": "rolled-back", "reason": "canary failed: got 0"}
    status = (await under_way.get("/v1/networks/blue")).json()["status"]
    assert status["rollouts"] == [
        {"schema": "trail", "direction": "in", "stage": "rolled-back", "reason": "canary failed: got 0"}
    ]


async def test_rollouts_are_read_only(under_way):
    for method in (under_way.put, under_way.delete, under_way.post):
        assert (await method("/v1/rollouts/blue:trail")).status_code == 405
    answer = await under_way.get("/v1/rollouts/blue:context")
    assert answer.status_code == 404
    assert answer.json()["type"] == "/problems/not-found"


async def test_waiting_for_a_network_waits_for_its_rollouts(under_way, backend):
    backend.rolled_out_for.clear()
    assert (await under_way.put("/v1/networks/blue?wait=programmed", json=NETWORK)).status_code == 200
    assert backend.rolled_out_for == ["blue"]
    answer = await under_way.post(
        "/v1/apply?wait=programmed", json=[{"kind": "network", "name": "blue", **NETWORK}]
    )
    assert answer.status_code == 200
    assert backend.rolled_out_for == ["blue", "blue"]


async def test_what_a_host_can_do_is_shown(topology, backend):
    async def shown():
        return (await topology.get("/v1/hosts/hv1")).json()["status"]["capabilities"]

    assert await shown() is None
    told = CapabilitySpec(
        ovs_version="3.1.0",
        datapath="netdev",
        kernel="6.1.0",
        max_option_bytes=256,
        max_options=64,
        critical=True,
        foreign=(TlvMap(0x0102, 0x80, 4, 63),),
    )
    await backend.service.submit(Record(name="hv1", spec=told))
    view = await shown()
    assert without(view, "foreign") == {
        "ovs_version": "3.1.0",
        "datapath": "netdev",
        "kernel": "6.1.0",
        "max_option_bytes": 256,
        "max_options": 64,
        "critical": True,
        "lacks": [],
    }
    assert view["foreign"] == [{"slot": 63, "class": "0x0102", "type": 128, "length": 4}]
