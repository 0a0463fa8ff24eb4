# SPDX-License-Identifier: Apache-2.0
"""What is only read: tunnels, status, the description of the API; and parameters by themselves."""

import json

import pytest

from controller.api.parameters import (
    MAX_WAIT,
    NO_REVISION,
    BadParameter,
    etag,
    parse_duration,
    parse_etag,
    parse_label,
    parse_none_match,
    parse_wait,
)
from controller.compiler.recompute import Disagreement, Fault
from controller.events import EventKind
from controller.intent.commands import Bind
from tests.unit.api.backend import STRANGER, put_all

FABRIC = {
    "hosts/hv1": {"endpoints": [{"address": "2001:db8::1"}, {"address": "192.0.2.1"}]},
    "hosts/hv2": {"endpoints": [{"address": "192.0.2.2"}]},
    "hosts/hv3": {"endpoints": [{"address": "2001:db8::3"}]},
    "networks/blue": {},
    "networks/red": {},
    "ports/b1": {"network": "blue", "mac": "02:00:00:00:00:01"},
    "ports/b2": {"network": "blue", "mac": "02:00:00:00:00:02"},
    "ports/b3": {"network": "blue", "mac": "02:00:00:00:00:03"},
    "ports/r1": {"network": "red", "mac": "02:00:00:00:00:01"},
}


async def test_tunnels_join_hosts_with_a_network_and_a_family_in_common(client, backend):
    await put_all(client, FABRIC)
    for port, host in (("b1", "hv1"), ("b2", "hv2"), ("b3", "hv3"), ("r1", "hv1")):
        await backend.submit(Bind(port=port, host=host))
    backend.behind = {"hv3"}
    assert (await client.get("/v1/ports/b2")).json()["status"]["host"] == "hv2"
    assert (await client.get("/v1/tunnels")).json()["items"] == [
        {
            "source": {"host": "hv1", "address": "192.0.2.1"},
            "destination": {"host": "hv2", "address": "192.0.2.2"},
            "networks": ["blue"],
            "programmed": True,
        },
        {
            "source": {"host": "hv1", "address": "2001:db8::1"},
            "destination": {"host": "hv3", "address": "2001:db8::3"},
            "networks": ["blue"],
            "programmed": False,
        },
    ]


async def test_status(topology, backend):
    backend.strangers = (STRANGER,)
    view = (await topology.get("/v1/status")).json()
    assert (view["version"], view["revision"]) == ("1.2.3", backend.intent.revision)
    assert view["objects"] == {
        **dict.fromkeys(("host", "network", "port", "option-schema", "option-policy"), 1),
        **dict.fromkeys(("group", "policy"), 0),
    }
    assert view["hosts"]["hv1"]["progress"]["messages_sent"] == 40
    assert view["waiting"] == [{"system_id": "hv9", "remote": "tcp:192.0.2.9:40000", "ovs_version": "3.1.0"}]


async def test_the_api_describes_itself(client):
    answer = await client.get("/v1/openapi.json")
    description = json.loads(answer.content)
    assert answer.headers["content-type"].startswith("application/json")
    assert description["openapi"].startswith("3.1")
    paths = description["paths"]
    for collection in (
        *("hosts", "networks", "ports", "option-schemas", "option-policies", "groups", "policies"),
    ):
        assert set(paths[f"/v1/{collection}"]) == {"get"}
        assert set(paths[f"/v1/{collection}/{{name}}"]) == {"get", "put", "delete"}
        parameters = {
            one["name"]: one["in"] for one in paths[f"/v1/{collection}/{{name}}"]["put"]["parameters"]
        }
        assert parameters == {
            "name": "path",
            "wait": "query",
            "timeout": "query",
            "dry_run": "query",
            "If-Match": "header",
            "If-None-Match": "header",
        }
    assert {"/v1/tunnels", "/v1/status", "/healthz", "/readyz"} <= set(paths)
    _check_references(description, description)


async def test_the_description_has_the_keys_of_documents(client):
    description = (await client.get("/v1/openapi.json")).json()
    body = description["paths"]["/v1/option-schemas/{name}"]["put"]["requestBody"]
    schema = _resolve(description, body["content"]["application/json"]["schema"])
    assert {
        *("class", "type", "length", "fields", "allow_registered", "labels"),
        *("direction", "replaces", "profile"),
    } == set(schema["properties"])
    assert {"class", "type", "length"} <= set(schema["required"])
    identifiers = [one["operationId"] for path in description["paths"].values() for one in path.values()]
    assert len(set(identifiers)) == len(identifiers)


def _resolve(description, schema):
    for step in schema.get("$ref", "").split("/")[1:]:
        description = description[step]
    return description if "$ref" in schema else schema


def _check_references(description, part):
    if isinstance(part, dict):
        if "$ref" in part:
            assert _resolve(description, part)
        for value in part.values():
            _check_references(description, value)
    elif isinstance(part, list):
        for value in part:
            _check_references(description, value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), ("5s", 5), ("500ms", 0.5), ("1m", 60), ("0", 0), ("1.5s", 1.5), ("99m", MAX_WAIT)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "5 s", "-5", "5h", "1e3", "\u0665", "5s\n", "inf", "nan", "0x5"])
def test_what_is_no_duration(text):
    with pytest.raises(BadParameter):
        parse_duration(text)


@pytest.mark.parametrize(
    ("header", "revision"),
    [
        (None, None),
        ("*", None),
        ('"12"', 12),
        ("12", NO_REVISION),
        ('W/"12"', NO_REVISION),
        ('"x"', NO_REVISION),
        ('"', NO_REVISION),
        ('"\u0663"', NO_REVISION),
    ],
)
def test_etags(header, revision):
    assert parse_etag(header) == revision


def test_an_etag_reads_as_its_revision():
    assert parse_etag(etag(77)) == 77


def test_the_other_parameters():
    assert (parse_wait(None), parse_wait("programmed")) == (False, True)
    assert (parse_none_match(None), parse_none_match("*")) == (False, True)
    assert (parse_label(None), parse_label("a=b=c"), parse_label("a=")) == (None, ("a", "b=c"), ("a", ""))
    with pytest.raises(BadParameter):
        parse_label("a")


async def test_recomputation_names_what_differs(client, backend):
    wrong = Disagreement(fault=Fault.MISSING, what="remote web1 of remote blue", hosts=("hv1",))
    backend.disagreements = (wrong,)
    answer = await client.post("/v1/debug/recompute")
    assert answer.status_code == 200
    assert answer.json() == {
        "revision": 7,
        "hosts": 2,
        "parts": 70,
        "disagreements": [{"fault": "missing", "what": "remote web1 of remote blue", "hosts": ["hv1"]}],
    }


async def test_status_says_what_changes_cost(client):
    work = (await client.get("/v1/status")).json()["work"]
    assert (work["parts_compiled"], work["messages_sent"]) == (70, 40)
    assert (work["last_revision"], work["last_parts"], work["last_hosts"]) == (7, 3, 2)


async def test_events_are_read_on_from_where_one_was(client, backend):
    for number in range(3):
        backend.log.add(
            EventKind.BAD_OPTIONS,
            host="hv2",
            peer="hv1",
            network="blue",
            message=f"hv1 sent {number}",
            now=1_700_000_000.25 + number,
            count=7,
        )
    answer = (await client.get("/v1/events", params={"limit": 2})).json()
    assert [item["message"] for item in answer["items"]] == ["hv1 sent 0", "hv1 sent 1"]
    assert answer["items"][0] == {
        "number": 1,
        "first": "2023-11-14T22:13:20.250Z",
        "last": "2023-11-14T22:13:20.250Z",
        "kind": "bad-options",
        "host": "hv2",
        "peer": "hv1",
        "network": "blue",
        "message": "hv1 sent 0",
        "count": 7,
    }
    rest = (await client.get("/v1/events", params={"since": answer["next"]})).json()
    assert [item["number"] for item in rest["items"]] == [3]
    assert (await client.get("/v1/events", params={"since": 3})).json() == {"items": [], "next": 3}
    assert (await client.get("/v1/events", params={"limit": 0})).status_code == 400
