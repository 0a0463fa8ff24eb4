# SPDX-License-Identifier: Apache-2.0
"""?dry_run=true: the plan of a change, and nothing of it stored."""

import pytest

from controller.intent.commands import Record
from controller.intent.model import CapabilitySpec

LONG = {"class": "0xff00", "type": 9, "length": 16, "fields": []}


@pytest.fixture
async def planned(topology, backend):
    async def ask(path, document, **query):
        before = backend.intent
        answer = await topology.put(f"/v1/{path}", json=document, params={"dry_run": "true", **query})
        assert backend.intent is before
        return answer

    return ask


async def test_a_new_option_schema(planned):
    answer = await planned("option-schemas/long", LONG)
    assert answer.status_code == 200
    plan = answer.json()
    assert plan["dry_run"] is True
    assert plan["changes"] == [{"change": "create", "object": "option-schema/long"}]
    assert plan["slots"] == {
        "before": {"used": 1, "bytes": 4},
        "after": {"used": 2, "bytes": 20},
        "slot": 1,
        "most": 64,
        "most_bytes": 256,
    }
    assert plan["offload"]["verdict"] == "some-nics"
    assert plan["refusing"] == plan["networks"] == plan["rollouts"] == []


async def test_another_option_on_a_network_with_ports(planned, topology):
    await topology.put("/v1/option-schemas/long", json=LONG)
    network = (await topology.get("/v1/networks/blue")).json()["spec"]
    plan = (await planned("networks/blue", network | {"options": [*network["options"], "long"]})).json()
    (one,) = plan["networks"]
    assert (one["option_bytes_before"], one["option_bytes_after"]) == (8, 28)
    assert (one["mtu_before"], one["mtu_after"]) == (1442, 1422)
    assert one["offload"]["verdict"] == "software"
    assert "nfp does not: the options that a rule sets have 32 bytes" in one["offload"]["reason"]
    assert plan["rollouts"] == [{"network": "blue", "schema": "long", "direction": "in"}]
    assert {change["object"] for change in plan["changes"]} == {"network/blue", "rollout/blue:long"}


async def test_hosts_that_would_not_take_a_critical_option(planned, backend):
    plan = (await planned("option-schemas/must", LONG | {"type": 0x89})).json()
    (one,) = plan["refusing"]
    assert one["host"] == "hv1"
    assert "has not told" in one["reason"]
    await backend.submit(Record(name="hv1", spec=CapabilitySpec(critical=True)))
    assert (await planned("option-schemas/must", LONG | {"type": 0x89})).json()["refusing"] == []


async def test_a_refusal_is_the_same_as_without(planned, topology):
    document = {"vni": 100, "mtu": 9000}
    problem = (await planned("networks/green", document)).json()
    assert problem["status"] == 409
    stored = (await topology.put("/v1/networks/green", json=document)).json()
    assert problem == stored


async def test_a_narrower_host_makes_every_network_narrower(planned):
    host = {"endpoints": [{"address": "192.0.2.77"}], "underlay_mtu": 1400}
    plan = (await planned("hosts/narrow", host)).json()
    assert [(one["name"], one["mtu_before"], one["mtu_after"]) for one in plan["networks"]] == [
        ("blue", 1442, 1342)
    ]


async def test_a_deletion(topology, backend):
    before = backend.intent
    answer = await topology.delete("/v1/option-policies/tier2-only", params={"dry_run": "true"})
    assert answer.status_code == 200
    assert answer.json()["changes"] == [{"change": "delete", "object": "option-policy/tier2-only"}]
    refused = await topology.delete("/v1/networks/blue", params={"dry_run": "true"})
    assert refused.status_code == 409
    assert backend.intent is before
