# SPDX-License-Identifier: Apache-2.0
"""Many documents in one request: each as a PUT of its own would be decided, in their order, in few commits."""

import json

import pytest

from controller.errors import StoreUnavailable
from controller.intent.service import MAX_BATCH
from tests.unit.api.backend import PENDING, TOPOLOGY, without
from tests.unit.api.test_refusals import CONTENT, SHAPE


def named(path, document):
    """Return a document as `ovs-geneve apply` and the bulk request have it."""
    collection, name = path.split("/", 1)
    kind = "option-policy" if collection == "option-policies" else collection.removesuffix("s")
    return {**without(document, "kind"), "kind": kind, "name": name}


EVERYTHING = [named(path, document) for path, document in TOPOLOGY.items()]


def port(number, **changes):
    mac = (2 << 40 | number).to_bytes(6, "big").hex(":")
    return {"kind": "port", "name": f"p{number}", "network": "blue", "mac": mac} | changes


async def apply(client, documents, query=""):
    answer = await client.post(f"/v1/apply{query}", json=documents)
    assert answer.status_code == 200, answer.text
    return answer.json()


def outcomes(view):
    return [one["outcome"] for one in view["items"]]


@pytest.fixture
def commits(backend):
    """Count what is stored: the changes of each commit."""
    sizes = []
    backend.service.on_change = lambda before, after, changes: sizes.append(len(changes))
    return sizes


def nested(path, document):
    """Return a document in the other form: as a GET shows it."""
    return {**named(path, {}), "spec": document}


async def test_what_a_get_shows_can_be_applied(client, backend):
    await apply(client, [nested(path, document) for path, document in TOPOLOGY.items()])
    shown = [(path, (await client.get(f"/v1/{path}")).json()) for path in TOPOLOGY]
    view = await apply(client, [nested(path, one["spec"]) for path, one in shown])
    assert outcomes(view) == ["unchanged"] * len(TOPOLOGY)
    host = {"kind": "linux", "endpoints": [{"address": "192.0.2.77"}]}
    assert outcomes(await apply(client, [nested("hosts/lx1", host)])) == ["created"]
    assert (await client.get("/v1/hosts/lx1")).json()["spec"]["kind"] == "linux"


@pytest.mark.parametrize(
    ("path", "document", "pointer"), [*SHAPE, *((one[0], one[1], one[4]) for one in CONTENT)]
)
async def test_refusals_point_below_spec(client, path, document, pointer):
    await apply(client, EVERYTHING)
    (item,) = (await apply(client, [nested(path, document)]))["items"]
    assert item["outcome"] == "refused"
    assert item["problem"]["pointer"] == f"/0/spec{pointer}"


async def test_keys_in_both_places_are_refused(client):
    document = {"kind": "network", "name": "blue", "vni": 7, "spec": {"vni": 7}}
    (item,) = (await apply(client, [document]))["items"]
    assert (item["problem"]["pointer"], item["problem"]["status"]) == ("/0/vni", 400)


async def test_all_kinds_at_once_become_what_single_puts_make(client, backend):
    view = await apply(client, EVERYTHING)
    assert outcomes(view) == ["created"] * len(TOPOLOGY)
    assert [one["status"] for one in view["items"]] == [201] * len(TOPOLOGY)
    assert [(one["kind"], one["name"]) for one in view["items"]] == [
        (one["kind"], one["name"]) for one in EVERYTHING
    ]
    assert view["revision"] == backend.intent.revision
    for path, one in zip(TOPOLOGY, view["items"], strict=True):
        got = (await client.get(f"/v1/{path}")).json()
        assert got["revision"] == one["revision"]
        answer = await client.put(f"/v1/{path}", json=TOPOLOGY[path])
        assert (answer.status_code, answer.json()["revision"]) == (200, one["revision"])


async def test_again_changes_nothing(client, backend):
    first = await apply(client, EVERYTHING)
    again = await apply(client, EVERYTHING)
    assert outcomes(again) == ["unchanged"] * len(TOPOLOGY)
    assert [one["revision"] for one in again["items"]] == [one["revision"] for one in first["items"]]
    assert again["revision"] == first["revision"] == backend.intent.revision


async def test_a_change_is_told_from_a_creation(topology):
    blue = named("networks/blue", TOPOLOGY["networks/blue"])
    view = await apply(topology, [{**blue, "labels": {"a": "b"}}, {"kind": "network", "name": "red"}])
    assert outcomes(view) == ["configured", "created"]
    assert [one["status"] for one in view["items"]] == [200, 201]


async def test_each_document_stands_for_itself(client, backend):
    documents = [
        {"kind": "network", "name": "blue"},
        port(1),
        port(2, mac=port(1)["mac"]),
        port(3, network="red"),
        port(4, mac="02:00"),
        port(5),
    ]
    view = await apply(client, documents)
    assert outcomes(view) == ["created", "created", "refused", "refused", "refused", "created"]
    problems = [one["problem"] for one in view["items"] if one["outcome"] == "refused"]
    assert [(one["status"], one["type"], one["pointer"]) for one in problems] == [
        (409, "/problems/mac-taken", "/2/mac"),
        (422, "/problems/network-unknown", "/3/network"),
        (422, "/problems/mac-invalid", "/4/mac"),
    ]
    assert problems[0]["holder"] == "port/p1"
    assert "revision" not in view["items"][2]
    assert sorted(backend.intent.ports) == ["p1", "p5"]


async def test_the_order_counts(client, backend):
    view = await apply(client, [port(1), {"kind": "network", "name": "blue"}, port(1)])
    assert outcomes(view) == ["refused", "created", "created"]
    view = await apply(client, [port(1, labels={"a": "1"}), port(1, labels={"a": "2"})])
    assert outcomes(view) == ["configured", "configured"]
    assert backend.intent.ports["p1"].labels == (("a", "2"),)


@pytest.mark.parametrize(("path", "document", "pointer"), SHAPE)
async def test_wrong_shapes(topology, backend, path, document, pointer):
    if not isinstance(document, dict) or "kind" in document:
        pytest.skip("a bulk document has a kind of its own")
    before = backend.intent
    (one,) = (await apply(topology, [named(path, document)]))["items"]
    assert (one["status"], one["problem"]["type"]) == (400, "/problems/document-invalid")
    assert one["problem"]["pointer"] == "/0" + pointer
    assert "$" not in one["problem"]["detail"]
    assert backend.intent is before


@pytest.mark.parametrize(("path", "document", "status", "code", "pointer", "holder"), CONTENT)
async def test_wrong_contents(topology, backend, path, document, status, code, pointer, holder):
    before = backend.intent
    (one,) = (await apply(topology, [named(path, document)]))["items"]
    problem = one["problem"]
    assert (one["status"], problem["status"], problem["type"]) == (status, status, f"/problems/{code}")
    assert (problem["pointer"], problem.get("holder", "")) == ("/0" + pointer, holder)
    assert backend.intent is before


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        (7, "/1"),
        (None, "/1"),
        ("port", "/1"),
        ([], "/1"),
        ({}, "/1/kind"),
        ({"kind": "port"}, "/1/name"),
        ({"name": "x"}, "/1/kind"),
        ({"kind": "flow", "name": "x"}, "/1/kind"),
        ({"kind": "binding", "name": "x"}, "/1/kind"),
        ({"kind": 7, "name": "x"}, "/1/kind"),
        ({"kind": "network", "name": 7}, "/1/name"),
        ({"kind": "network", "name": "../hosts/x"}, "/1/name"),
    ],
)
async def test_what_is_no_document_keeps_no_other_from_being_stored(client, backend, document, pointer):
    around = [{"kind": "network", "name": name} for name in ("a", "b")]
    view = await apply(client, [around[0], document, around[1]])
    assert outcomes(view) == ["created", "refused", "created"]
    assert view["items"][1]["problem"]["pointer"] == pointer
    assert sorted(backend.intent.networks) == ["a", "b"]


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b'"x"', b"null", b"[" * 100_000, b'[{"a": "\xff"}]'])
async def test_what_is_no_array_is_refused_whole(client, body):
    answer = await client.post("/v1/apply", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


async def test_nothing_to_do(client, backend):
    assert await apply(client, []) == {"revision": 0, "items": []}


async def test_other_content_types_are_refused(client):
    answer = await client.post("/v1/apply", content=b"[]", headers={"Content-Type": "text/yaml"})
    assert answer.status_code == 415


@pytest.mark.parametrize("query", ["?wait=forever", "?timeout=soon"])
async def test_bad_parameters_store_nothing(client, backend, query):
    answer = await client.post(f"/v1/apply{query}", json=[{"kind": "network", "name": "a"}])
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/parameter-invalid")
    assert not backend.intent.networks


async def test_one_request_takes_few_commits(client, commits):
    network = {"kind": "network", "name": "blue"}
    view = await apply(client, [network, *(port(number) for number in range(2 * MAX_BATCH))])
    assert set(outcomes(view)) == {"created"}
    assert commits == [MAX_BATCH, MAX_BATCH, 1]


async def test_schemas_are_stored_before_what_speaks_of_them(client, commits):
    await apply(client, EVERYTHING)
    assert commits == [2, 3]  # host and schema; network, port, policy


async def test_waiting_covers_all(client, backend):
    view = await apply(client, EVERYTHING, "?wait=programmed")
    assert [one["status"] for one in view["items"]] == [201] * len(TOPOLOGY)
    assert [revision for _, revision, _ in backend.waited_for] == [
        backend.intent.hosts["hv1"].revision,
        backend.intent.option_schemas["context"].revision,
        backend.intent.networks["blue"].revision,
        backend.intent.ports["web1"].revision,
        backend.intent.option_policies["tier2-only"].revision,
    ]
    await apply(client, EVERYTHING)
    assert len(backend.waited_for) == len(TOPOLOGY)


async def test_waiting_ends(client, backend):
    backend.acknowledges, backend.programmed = False, PENDING
    documents = [{"kind": "network", "name": "a"}, {"kind": "network", "name": "b", "vni": 0}]
    view = await apply(client, documents, "?wait=programmed&timeout=20ms")
    assert [(one["status"], one["outcome"]) for one in view["items"]] == [(202, "created"), (422, "refused")]


async def test_a_store_that_does_not_answer(client, backend):
    backend.refusal = StoreUnavailable("no connection")
    (one,) = (await apply(client, [{"kind": "network", "name": "a"}]))["items"]
    assert (one["status"], one["problem"]["type"]) == (503, "/problems/store-unavailable")
    assert one["problem"]["pointer"] == "/0"


async def test_a_fault_tells_nothing_of_our_insides(client, backend, caplog):
    backend.refusal = ZeroDivisionError("secret thing")
    view = await apply(client, [{"kind": "network", "name": "a"}])
    assert view["items"][0]["status"] == 500
    assert "secret" not in json.dumps(view)
    assert "secret thing" in caplog.text


async def test_the_description_has_it(client):
    description = (await client.get("/v1/openapi.json")).json()
    operation = description["paths"]["/v1/apply"]["post"]
    assert {one["name"] for one in operation["parameters"]} == {"wait", "timeout"}
    assert operation["requestBody"]["content"]["application/json"]["schema"]["type"] == "array"
    assert set(operation["responses"]) >= {"200", "400"}
