# SPDX-License-Identifier: Apache-2.0
"""Requests that are wrong before anybody reads the document, faults of ours, and headers of all answers."""

import httpx
import pytest

from controller.api.server import MAX_BODY, create_app
from controller.errors import StoreUnavailable

PROBLEM = "application/problem+json"
JSON = {"Content-Type": "application/json"}


def refused(answer, status, code):
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    assert (answer.json()["status"], answer.json()["type"]) == (status, f"/problems/{code}")
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("body", [b"", b"{", b'{"vni": 1,}', b'{"vni": 01}', b"vni: 1", b'{"vni": 1} x'])
async def test_malformed_json(client, backend, body):
    answer = await client.put("/v1/networks/blue", content=body, headers=JSON)
    assert (answer.status_code, answer.headers["content-type"]) == (400, PROBLEM)
    assert backend.intent.revision == 0


@pytest.mark.parametrize("body", [b'{"labels": {"a": "\xff"}}', b"\xff\xfe{\x00}\x00", b"\x00"])
async def test_a_body_that_is_no_text(client, backend, body):
    answer = await client.put("/v1/networks/blue", content=body, headers=JSON)
    assert (answer.status_code, answer.headers["content-type"]) == (400, PROBLEM)
    assert backend.intent.revision == 0


async def test_json_nested_without_end(client):
    answer = await client.put("/v1/networks/blue", content=b"[" * 100_000, headers=JSON)
    assert (answer.status_code, answer.headers["content-type"]) == (400, PROBLEM)


@pytest.mark.parametrize("kind", ["text/yaml", "application/x-www-form-urlencoded", "application/msgpack"])
async def test_another_content_type(client, backend, kind):
    answer = await client.put("/v1/networks/blue", content=b"{}", headers={"Content-Type": kind})
    refused(answer, 415, "unsupported-media-type")
    assert backend.intent.revision == 0


async def test_a_charset_beside_the_content_type(client):
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert (await client.put("/v1/networks/blue", content=b"{}", headers=headers)).status_code == 201


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v2/networks", "/v1/flows", "/v1/networks/a/b", "/v1/status/x"]
)
async def test_no_such_path(client, path):
    refused(await client.get(path), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/networks"),
        ("PATCH", "/v1/networks/blue"),
        ("PUT", "/v1/tunnels"),
        ("DELETE", "/healthz"),
    ],
)
async def test_no_such_method(client, method, path):
    answer = await client.request(method, path)
    refused(answer, 405, "method-not-allowed")
    assert "GET" in answer.headers["allow"]


async def test_too_large_a_body(client, backend):
    body = b'{"labels": {"a": "' + b"x" * MAX_BODY + b'"}}'
    refused(await client.put("/v1/networks/blue", content=body, headers=JSON), 413, "content-too-large")
    assert backend.intent.revision == 0


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("timeout=soon", "timeout"),
        ("timeout=-1s", "timeout"),
        ("timeout=5h", "timeout"),
        ("wait=forever", "wait"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_bad_parameters_of_writes(client, backend, query, named, method):
    await client.put("/v1/networks/blue", json={"vni": 1})
    arguments = {"json": {"vni": 2}} if method == "PUT" else {}
    answer = await client.request(method, f"/v1/networks/blue?{query}", **arguments)
    refused(answer, 400, "parameter-invalid")
    assert named in answer.json()["detail"]
    assert backend.intent.networks["blue"].spec.vni == 1


@pytest.mark.parametrize("query", ["label=tenant", "limit=0", "limit=1001", "limit=x", "limit=-1"])
async def test_bad_parameters_of_lists(client, query):
    refused(await client.get(f"/v1/networks?{query}"), 400, "parameter-invalid")


async def test_if_none_match_takes_no_etag(client):
    answer = await client.put("/v1/networks/blue", json={}, headers={"If-None-Match": '"1"'})
    refused(answer, 400, "parameter-invalid")


async def test_a_store_that_does_not_answer(client, backend):
    backend.refusal = StoreUnavailable("no connection")
    for answer in (
        await client.put("/v1/networks/blue", json={}),
        await client.put("/v1/networks/blue", json={}),
    ):
        refused(answer, 503, "store-unavailable")
        assert int(answer.headers["retry-after"]) >= 1


async def test_a_fault_tells_nothing_of_our_insides(client, backend, caplog):
    backend.refusal = ZeroDivisionError("secret thing in /some/path")
    answer = await client.put("/v1/networks/blue", json={})
    refused(answer, 500, "internal-error")
    assert "secret" not in answer.text
    assert "ZeroDivision" not in answer.text
    assert "secret thing" in caplog.text


async def test_request_ids(client):
    given = await client.get("/healthz", headers={"X-Request-Id": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    first, second = [(await client.get("/healthz")).headers["x-request-id"] for _ in range(2)]
    assert first != second
    long = await client.get("/healthz", headers={"X-Request-Id": "x" * 1000})
    assert len(long.headers["x-request-id"]) == 128


async def test_waiting_until_programmed(client, backend):
    answer = await client.put("/v1/hosts/hv1?wait=programmed", json={"endpoints": [{"address": "192.0.2.1"}]})
    assert answer.status_code == 201
    host = backend.intent.hosts["hv1"]
    assert backend.waited_for == [(frozenset({"hv1"}), host.revision, host.key)]
    answer = await client.put("/v1/hosts/hv1?wait=programmed", json=answer.json()["spec"])
    assert answer.status_code == 200


async def test_no_wait_unless_asked(client, backend):
    await client.put("/v1/networks/blue", json={})
    await client.delete("/v1/networks/blue")
    assert backend.waited_for == []


async def test_waiting_ends(client, backend):
    from tests.unit.api.backend import PENDING

    backend.acknowledges, backend.programmed = False, PENDING
    answer = await client.put("/v1/networks/blue?wait=programmed&timeout=20ms", json={"vni": 5})
    assert answer.status_code == 202
    assert answer.json()["status"]["conditions"][1]["reason"] == "Pending"
    assert backend.intent.networks["blue"].spec.vni == 5
    answer = await client.delete("/v1/networks/blue?wait=programmed&timeout=20ms")
    assert answer.status_code == 202
    assert len(backend.waited_for) == 2
    assert not backend.intent.networks


async def test_a_refusal_by_a_bridge_is_no_success(client, backend):
    from tests.unit.api.backend import PENDING

    backend.programmed = PENDING
    assert (await client.put("/v1/networks/blue?wait=programmed", json={})).status_code == 202


async def test_deleting_waits(client, backend):
    key = (await client.put("/v1/hosts/hv1", json={"endpoints": [{"address": "192.0.2.1"}]})).json()[
        "revision"
    ]
    answer = await client.delete("/v1/hosts/hv1?wait=programmed")
    assert answer.status_code == 204
    ((hosts, revision, _),) = backend.waited_for
    assert hosts == {"hv1"}
    assert revision == backend.intent.revision > key


async def test_readiness(client, backend):
    assert (await client.get("/readyz")).json() == {"status": "ok"}
    backend.readiness = (False, "the intent store does not answer")
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, "the intent store does not answer")
    assert (await client.get("/healthz")).status_code == 200


async def test_one_application_a_backend(backend):
    """Two controllers in one process do not share anything."""
    apps = [create_app(backend), create_app(type(backend)())]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=apps[0]), base_url="http://c") as one:
        await one.put("/v1/networks/blue", json={})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=apps[1]), base_url="http://c") as other:
        assert (await other.get("/v1/networks")).json()["items"] == []


async def test_a_client_that_goes_while_it_sends_is_no_fault_of_ours(backend, caplog):
    sent = []

    async def gone():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"content-length", b"9")]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "PUT"}
    scope |= {"path": "/v1/networks/blue", "raw_path": b"/v1/networks/blue", "query_string": b""}
    scope |= {"root_path": "", "scheme": "http", "server": ("it", 80), "client": None, "headers": headers}
    await create_app(backend)(scope, gone, send)
    assert sent[0]["status"] == 400
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
