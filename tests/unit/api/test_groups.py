# SPDX-License-Identifier: Apache-2.0
"""Groups and policies between them as documents: what is put comes back, and what is wrong is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.api.rule_documents import policy_document, policy_spec
from controller.intent.model import PolicySpec
from controller.intent.rules import PortRange
from tests.unit.api.backend import NETWORK, PORT, put_all, without

POLICY = {
    "network": "blue",
    "from": {"group": "web"},
    "to": {"group": "db"},
    "priority": 200,
    "protocol": "tcp",
    "ports": [5432, "8000-8100"],
    "action": "allow",
    "stateful": True,
    "log": True,
}
GROUPED = {
    "groups/web": {},
    "groups/db": {"identity": 77},
    "networks/blue": {**NETWORK, "options": ["context", "identity"]},
    "ports/web1": {**PORT, "group": "web"},
    "policies/web-db": POLICY,
}

PORT_RANGES = st.lists(
    st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)).map(lambda pair: PortRange(*sorted(pair))),
    max_size=4,
)


@pytest.fixture
async def grouped(topology):
    """What the design has, and two groups on its network with a policy between them."""
    await put_all(topology, GROUPED)
    return topology


@given(
    st.builds(
        PolicySpec,
        network=st.just("blue"),
        to_group=st.just("db"),
        from_group=st.none() | st.just("web"),
        priority=st.integers(0, 10_000),
        protocol=st.none() | st.integers(0, 255),
        ports=PORT_RANGES.map(tuple),
        allow=st.booleans(),
        stateful=st.booleans(),
        log=st.booleans(),
    )
)
def test_a_spec_is_its_document(spec: PolicySpec):
    assert policy_spec(policy_document(spec, {})) == spec


async def test_what_was_put_comes_back(grouped):
    shown = (await grouped.get("/v1/policies/web-db")).json()
    assert shown["spec"] == {**POLICY, "labels": {}}
    again = await grouped.put("/v1/policies/web-db", json=shown["spec"])
    assert again.json()["revision"] == shown["revision"]
    assert (await grouped.get("/v1/groups/db")).json()["spec"] == {"labels": {}, "identity": 77}
    assert (await grouped.get("/v1/groups/web")).json()["spec"]["identity"] == 1
    port = (await grouped.get("/v1/ports/web1")).json()["spec"]
    assert port["group"] == "web"


async def test_the_first_group_brings_the_option(topology):
    assert (await topology.get("/v1/option-schemas/identity")).status_code == 404
    await topology.put("/v1/groups/web", json={})
    schema = (await topology.get("/v1/option-schemas/identity")).json()["spec"]
    assert (schema["class"], schema["type"], schema["length"]) == ("0xff6e", 1, 4)


async def test_a_policy_that_says_little(grouped):
    spec = (await grouped.put("/v1/policies/p", json={"network": "blue", "to": {"group": "web"}})).json()[
        "spec"
    ]
    said = {"labels": {}, "network": "blue", "from": None, "to": {"group": "web"}, "priority": 100}
    assert spec == {**said, "protocol": None, "ports": [], "action": "allow", "stateful": False, "log": False}


REFUSED = [
    ("policies/p", without(POLICY, "to"), 400, "/to"),
    ("policies/p", {**POLICY, "to": {"port": "web1"}}, 400, "/to/port"),
    ("policies/p", {**POLICY, "from": "web"}, 400, "/from"),
    ("policies/p", {**POLICY, "action": "drop"}, 400, "/action"),
    ("policies/p", {**POLICY, "stateful": "yes"}, 400, "/stateful"),
    ("policies/p", {**POLICY, "protocol": "gre"}, 422, "/protocol"),
    ("policies/p", {**POLICY, "ports": ["80-"]}, 422, "/ports/0"),
    ("policies/p", {**POLICY, "ports": [443, "9-1"]}, 422, "/ports/1"),
    ("policies/p", {**POLICY, "to": {"group": "nobody"}}, 422, "/to/group"),
    ("policies/p", {**POLICY, "network": "red"}, 422, "/network"),
    ("policies/p", POLICY, 409, ""),
    ("policies/p", {**POLICY, "ports": [number * 2 for number in range(200)]}, 409, "/ports"),
    ("groups/g", {"identity": "7"}, 400, "/identity"),
    ("groups/g", {"identity": 0}, 422, "/identity"),
    ("groups/g", {"identity": 77}, 409, "/identity"),
]


@pytest.mark.parametrize(("path", "document", "status", "pointer"), REFUSED)
async def test_refusals_point_into_the_document(grouped, path, document, status, pointer):
    answer = await grouped.put(f"/v1/{path}", json=document)
    assert (answer.status_code, answer.json().get("pointer", "")) == (status, pointer), answer.json()


async def test_who_uses_a_group_holds_it(grouped):
    answer = await grouped.delete("/v1/groups/db")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/in-use")
    assert answer.json()["holder"] == "policy/web-db"
    await grouped.delete("/v1/policies/web-db")
    assert (await grouped.delete("/v1/groups/db")).status_code == 204
