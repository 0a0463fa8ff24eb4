# SPDX-License-Identifier: Apache-2.0
"""/v1/probes: begin a run, watch it, read what it proved."""

import asyncio

import pytest

from controller.intent.commands import Bind
from controller.prober.prober import KEPT, MAX_WAITING
from tests.unit.api.backend import SCHEMA, put_all

FABRIC = {
    "hosts/hv1": {"endpoints": [{"address": "192.0.2.1"}]},
    "hosts/hv2": {"endpoints": [{"address": "192.0.2.2"}]},
    "hosts/hv3": {"endpoints": [{"address": "192.0.2.3"}]},
    "option-schemas/context": SCHEMA,
    "networks/blue": {"options": ["context"], "vni": 100},
    "ports/b1": {"network": "blue", "mac": "02:00:00:00:00:01"},
    "ports/b2": {"network": "blue", "mac": "02:00:00:00:00:02"},
}


@pytest.fixture
async def fabric(client, backend):
    await put_all(client, FABRIC)
    await backend.submit(Bind(port="b1", host="hv1"))
    await backend.submit(Bind(port="b2", host="hv2"))
    return client


async def finished(client, location, **query):
    # A client has nothing to wait for but another look.
    while (view := (await client.get(location, params=query)).json())["state"] != "finished":  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return view


async def test_a_run_from_request_to_result(fabric):
    answer = await fabric.post("/v1/probes", json={})
    assert answer.status_code == 202
    assert answer.headers["Location"] == "/v1/probes/00000000000000a1"
    begun = answer.json()
    assert begun["state"] == "waiting"
    assert begun["progress"] == {"directions": 2, "done": 0, "sent": 0, "seen": 0}
    assert "results" not in begun

    view = await finished(fabric, answer.headers["Location"])
    assert view["progress"] == {"directions": 2, "done": 2, "sent": 4, "seen": 4}
    assert (view["verdicts"], view["failed"], view["asked_at"]) == ({"ok": 2}, 0, 1_000_000.0)
    first = view["results"][0]
    assert first.pop("rtt_ms")["min"] >= 0
    assert first == {
        "network": "blue",
        "source": "hv1",
        "destination": "hv2",
        "underlay": "ipv4",
        "address": "192.0.2.2",
        "verdict": "ok",
        "reason": "",
        "reached": True,
        "sent": 2,
        "seen": 2,
        "lost": 0,
        "options": [{"option": "context", "verified": True}],
        "wanted_mtu": 1442,
        "proved_mtu": 1442,
    }


async def test_runs_are_listed_the_latest_first_without_results(fabric):
    for _ in range(2):
        location = (await fabric.post("/v1/probes", json={})).headers["Location"]
        await finished(fabric, location)
    items = (await fabric.get("/v1/probes")).json()["items"]
    assert [one["id"] for one in items] == ["00000000000000a2", "00000000000000a1"]
    assert not any("results" in one for one in items)


async def test_so_many_runs_are_kept(fabric):
    locations = []
    for _ in range(KEPT + 1):
        locations.append((await fabric.post("/v1/probes", json={})).headers["Location"])
        await finished(fabric, locations[-1])
    assert len((await fabric.get("/v1/probes")).json()["items"]) == KEPT
    assert (await fabric.get(locations[0])).status_code == 404
    assert (await fabric.get(locations[1])).status_code == 200


async def test_what_failed_only_and_no_results_at_all(fabric, backend):
    backend.bridges.away.add("hv1")
    location = (await fabric.post("/v1/probes", json={})).headers["Location"]
    view = await finished(fabric, location, failed="true")
    assert [(one["source"], one["verdict"]) for one in view["results"]] == [("hv1", "skipped")]
    assert view["failed"] == 1
    assert "results" not in (await fabric.get(location, params={"results": "false"})).json()


async def test_pairs_and_all_hosts(fabric):
    request = {"network": "blue", "pairs": [["hv1", "hv3"]]}
    view = await finished(fabric, (await fabric.post("/v1/probes", json=request)).headers["Location"])
    assert [(one["source"], one["destination"]) for one in view["results"]] == [("hv1", "hv3")]
    request = {"all_hosts": True}
    view = await finished(fabric, (await fabric.post("/v1/probes", json=request)).headers["Location"])
    assert len(view["results"]) == 6


async def test_runs_take_turns(fabric, backend):
    backend.bridges.holds = True
    first, *others = [
        (await fabric.post("/v1/probes", json={})).headers["Location"] for _ in range(MAX_WAITING)
    ]
    await asyncio.sleep(0.02)
    states = [(await fabric.get(one)).json()["state"] for one in (first, *others)]
    assert states == ["running", *["waiting"] * (MAX_WAITING - 1)]
    assert (await fabric.post("/v1/probes", json={})).status_code == 202
    refused = await fabric.post("/v1/probes", json={})
    assert refused.status_code == 409
    assert refused.json()["type"] == "/problems/probes-waiting"
    assert refused.json()["holder"] == "probes/00000000000000a2"
    await backend.prober.stop()


@pytest.mark.parametrize(
    ("document", "status", "pointer"),
    [
        ({"network": "green"}, 404, "/network"),
        ({"pairs": [["hv1", "hv9"]]}, 422, "/pairs/0/1"),
        ({"pairs": [["hv1", "hv1"]]}, 422, "/pairs/0"),
        ({"pairs": [["hv1"]]}, 400, "/pairs/0"),
        ({"pairs": "all"}, 400, "/pairs"),
        ({"timeout": "soon"}, 400, ""),
        ({"hosts": []}, 400, "/hosts"),
    ],
)
async def test_what_is_refused(fabric, document, status, pointer):
    answer = await fabric.post("/v1/probes", json=document)
    assert answer.status_code == status
    assert answer.json().get("pointer", "") == pointer
    assert (await fabric.get("/v1/probes")).json()["items"] == []


async def test_a_run_that_is_not_there(client):
    answer = await client.get("/v1/probes/1234")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
