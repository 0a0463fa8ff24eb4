# SPDX-License-Identifier: Apache-2.0
"""Option policies as documents: what is put comes back, what is wrong is named, what was counted is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.api.rule_documents import option_policy_document, option_policy_spec
from controller.intent.model import Direction, OptionMatch, OptionPolicySpec, PolicyAction
from controller.intent.rules import FieldName
from tests.unit.api.backend import NETWORK, POLICY, PORT, put_all
from tests.unit.intent.builders import fabric
from tests.unit.intent.rule_strategies import PACKETS, actions

INTENT = fabric()
NAMES = st.sampled_from([FieldName("context", "tier"), FieldName("context", "zone")])
MATCHES = st.dictionaries(NAMES, st.tuples(st.integers(0, 255), st.integers(1, 255)), max_size=2).map(
    lambda said: tuple(
        sorted(
            OptionMatch(schema=name.schema, field=name.field, value=value & mask, mask=mask)
            for name, (value, mask) in said.items()
        )
    )
)


@given(
    st.builds(
        OptionPolicySpec,
        network=st.just("blue"),
        priority=st.integers(0, 10_000),
        direction=st.sampled_from(Direction),
        from_port=st.none() | st.just("web1"),
        from_group=st.none() | st.just("web"),
        to_port=st.none() | st.just("db1"),
        to_group=st.none() | st.just("db"),
        match=MATCHES,
        packet=PACKETS,
        actions=actions(NAMES, st.integers(0, 255), "db1"),
        action=st.none() | st.sampled_from(PolicyAction),
    )
)
def test_a_spec_is_its_document(spec: OptionPolicySpec):
    document = option_policy_document(spec, {}, INTENT)
    assert option_policy_spec(document, INTENT) == spec


FULL = {
    "network": "blue",
    "priority": 300,
    "direction": "egress",
    "from": {"port": "web1"},
    "to": {"port": "db1"},
    "match": {
        "option": {"context.tier": "2/0x0f"},
        "protocol": "tcp",
        "source": "10.0.0.0/24",
        "destination_ports": [443, "8000-8100"],
        "dscp": 46,
    },
    "actions": [
        {"stamp": {"context.tier": 3}},
        {"stamp_from": {"context.zone": "dscp"}},
        {"copy": {"context.zone": "context.tier"}},
        {"mirror": {"port": "tap1"}},
        {"steer": {"ports": ["fw1", "fw2"], "position": "context.tier"}},
        {"queue": 3},
        {"dscp": 12},
        {"strip": "context"},
    ],
    "action": "allow",
}


def beside(number: int, **rest):
    return {"network": "blue", "mac": f"02:00:00:00:01:{number:02x}", **rest}


@pytest.fixture
async def peopled(topology):
    ports = {f"ports/{name}": beside(number) for number, name in enumerate(("db1", "tap1", "fw1", "fw2"))}
    await put_all(topology, ports)
    return topology


async def test_everything_at_once(peopled):
    answer = await peopled.put("/v1/option-policies/full", json=FULL)
    assert answer.status_code == 201, answer.text
    shown = (await peopled.get("/v1/option-policies/full")).json()["spec"]
    assert [list(action) for action in shown["actions"]] == [list(action) for action in FULL["actions"]]
    match = {**FULL["match"], "option": {"context.tier": "2/0xf"}}
    assert shown == {**FULL, "labels": {}, "match": match, "actions": shown["actions"]}
    assert (await peopled.put("/v1/option-policies/full", json=shown)).status_code == 200


def said(**rest):
    return {"network": "blue", "action": None, **rest}


WRONG = [
    (said(direction="sideways"), 400, "/direction"),
    (said(actions=[{}]), 422, "/actions/0"),
    (said(actions=[{"queue": 1, "dscp": 1}]), 422, "/actions/0"),
    (said(actions=[{"stamp": {"context.tier": 999}}]), 422, "/actions/0/stamp/context.tier"),
    (said(actions=[{"stamp": {"tier": 9}}]), 422, "/actions/0/stamp"),
    (said(actions=[{"stamp_from": {"context.zone": "colour"}}]), 400, "/actions/0/stamp_from/context.zone"),
    (said(actions=[{"steer": {"ports": ["fw1"]}}]), 422, "/direction"),
    (said(actions=[{"mirror": {"port": "nobody"}}]), 422, "/actions/0/mirror"),
    (said(match={"source": "10.0.0.1/24"}), 422, "/match/source"),
    (
        said(match={"protocol": "tcp", "destination_ports": ["1-65534"], "source_ports": ["1-65534"]}),
        409,
        "/match",
    ),
    (said(match={"destination_ports": [80]}), 422, "/match/destination_ports"),
    (said(match={"source_mac": "02:00"}), 422, "/match/source_mac"),
]


@pytest.mark.parametrize(("document", "status", "pointer"), WRONG)
async def test_what_is_wrong_is_named(peopled, document, status, pointer):
    answer = await peopled.put("/v1/option-policies/new", json=document)
    assert (answer.status_code, answer.json().get("pointer", "")) == (status, pointer), answer.text


async def test_what_was_counted(topology, backend):
    status = (await topology.get("/v1/option-policies/tier2-only")).json()["status"]
    assert backend.counted == [("option-policy/tier2-only", "POLICY")]
    assert status["counters"] == {
        "packets": 4,
        "bytes": 240,
        "hosts": {"hv1": {"packets": 3, "bytes": 180}, "hv2": {"packets": 1, "bytes": 60}, "hv3": None},
    }
    assert "counters" not in (await topology.get("/v1/option-policies")).json()["items"][0]["status"]
    assert "counters" not in (await topology.get("/v1/ports/web1")).json()["status"]


async def test_a_network_that_strips_tags(topology):
    document = {**NETWORK, "inner_vlan": "strip"}
    assert (await topology.put("/v1/networks/blue", json=document)).status_code == 200
    assert (await topology.get("/v1/networks/blue")).json()["spec"]["inner_vlan"] == "strip"
    assert PORT["network"] == POLICY["network"] == "blue"
