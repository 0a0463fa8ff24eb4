# SPDX-License-Identifier: Apache-2.0
"""The four methods of each kind: what is put is what is got."""

import pytest

from tests.unit.api.backend import HOST, NETWORK, PORT, SCHEMA, TOPOLOGY

PATHS = list(TOPOLOGY)


@pytest.mark.parametrize("path", PATHS)
async def test_what_is_put_is_what_is_got(topology, path):
    answer = await topology.get(f"/v1/{path}")
    view = answer.json()
    assert answer.status_code == 200
    assert view["name"] == path.partition("/")[2]
    said = {key: view["spec"][key] for key in TOPOLOGY[path]}
    expected = dict(TOPOLOGY[path])
    if "match" in expected:
        expected["match"] = {"option": {"context.tier": said["match"]["option"]["context.tier"]}}
    assert said == expected
    assert [condition["type"] for condition in view["status"]["conditions"]] == ["Accepted", "Programmed"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_spec_got_can_be_put_back_and_changes_nothing(topology, path):
    before = (await topology.get(f"/v1/{path}")).json()
    answer = await topology.put(f"/v1/{path}", json=before["spec"])
    before["status"].pop("counters", None)  # shown to who asks for one object by name
    assert (answer.status_code, answer.json()) == (200, before)


@pytest.mark.parametrize("path", PATHS)
async def test_put_twice_keeps_the_revision(topology, path, backend):
    revision = backend.intent.revision
    first = await topology.get(f"/v1/{path}")
    answer = await topology.put(f"/v1/{path}", json=TOPOLOGY[path])
    assert answer.status_code == 200
    assert answer.headers["etag"] == first.headers["etag"] == f'"{first.json()["revision"]}"'
    assert backend.intent.revision == revision


async def test_create_is_201_and_replace_200(client):
    assert (await client.put("/v1/networks/blue", json={"vni": 7})).status_code == 201
    answer = await client.put("/v1/networks/blue", json={"vni": 8})
    assert (answer.status_code, answer.json()["spec"]["vni"]) == (200, 8)


async def test_spellings_become_the_canonical_one(client):
    schema = {**SCHEMA, "class": 0xFF00, "type": "0x01"}
    spec = (await client.put("/v1/option-schemas/context", json=schema)).json()["spec"]
    assert (spec["class"], spec["type"]) == ("0xff00", 1)
    await client.put("/v1/networks/blue", json=NETWORK)
    port = {**PORT, "mac": "02-00-00-00-00-0A", "addresses": ["2001:DB8:0::1"]}
    port["options"] = {"context": {"tier": "0x2", "zone": "7"}}
    spec = (await client.put("/v1/ports/web1", json=port)).json()["spec"]
    assert (spec["mac"], spec["addresses"]) == ("02:00:00:00:00:0a", ["2001:db8::1"])
    assert spec["options"] == {"context": {"tier": 2, "zone": 7}}


NAMED = {
    **SCHEMA,
    "fields": [
        {"name": "grade", "type": "enum", "offset": 0, "bits": 8, "values": {"gold": 1, "silver": 2}},
        {"name": "marks", "type": "flags", "offset": 8, "bits": 8, "flags": ["urgent", "", "test"]},
        {"name": "plain", "type": "flags", "offset": 16, "bits": 8},
    ],
}


async def test_names_of_values_and_bits(client):
    spec = (await client.put("/v1/option-schemas/context", json=NAMED)).json()["spec"]
    assert spec["fields"] == NAMED["fields"]
    await client.put("/v1/networks/blue", json=NETWORK)
    said = {"grade": 2, "marks": ["test", "urgent"], "plain": "0b11"}
    spec = (await client.put("/v1/ports/web1", json={**PORT, "options": {"context": said}})).json()["spec"]
    shown = {"grade": "silver", "marks": "urgent|test", "plain": "0x3"}
    assert spec["options"] == {"context": shown}
    again = await client.put("/v1/ports/web1", json=spec)
    assert again.json()["spec"] == spec
    match = {"option": {"context.grade": "gold", "context.marks": "urgent/urgent|test"}}
    policy = {"network": "blue", "match": match, "action": "drop"}
    spec = (await client.put("/v1/option-policies/p", json=policy)).json()["spec"]
    assert spec["match"]["option"] == {"context.grade": "gold", "context.marks": "urgent/0x5"}


async def test_an_option_of_a_profile(client):
    said = {"class": "0x0102", "type": 0x80, "length": 4, "profile": "ovn"}
    answer = await client.put("/v1/option-schemas/neighbour", json=said)
    spec = answer.json()["spec"]
    assert answer.status_code == 201
    assert [field["name"] for field in spec["fields"]] == ["ingress", "egress"]
    again = await client.put("/v1/option-schemas/neighbour", json=spec)
    assert (again.status_code, again.json()) == (200, answer.json())
    for document in (
        spec | {"profile": None, "allow_registered": True},
        spec | {"fields": spec["fields"][:1]},
    ):
        assert (await client.put("/v1/option-schemas/neighbour", json=document)).status_code in (409, 422)
    assert (await client.get("/v1/option-schemas/neighbour")).json() == answer.json()


async def test_what_lint_says(topology):
    schema = (await topology.get("/v1/option-schemas/context")).json()["status"]["lint"]
    assert [finding["code"] for finding in schema] == ["class-experimental", "unclaimed-bits", "offload-ice"]
    large = {"class": "0xff01", "type": 1, "length": 28}
    lint = (await topology.put("/v1/option-schemas/large", json=large)).json()["status"]["lint"]
    said = {finding["code"]: finding["message"] for finding in lint}
    assert said["offload-mlx5"].startswith(
        "this schema will not offload on NVIDIA ConnectX and BlueField (mlx5): large: the compared data is one field"
    )
    assert "28 here, 4 at most" in said["offload-mlx5"]
    assert said["offload-nfp"].startswith("this schema will not offload on Netronome")
    view = await topology.put("/v1/networks/red", json={"options": ["context", "large"]})
    said = {finding["code"]: finding["message"] for finding in view.json()["status"]["lint"]}
    assert said.keys() == {"offload-mlx5", "offload-ice", "offload-nfp"}
    assert "the driver hands the first option of a rule to the NIC and no other" in said["offload-mlx5"]


async def test_profiles_are_listed(client):
    items = (await client.get("/v1/option-profiles")).json()["items"]
    assert {"ovn", "aws-gwlb", "google-nsi", "cilium", "int", "linux", "oxide"} <= {i["name"] for i in items}
    gwlb = (await client.get("/v1/option-profiles/aws-gwlb")).json()
    shapes = [(option["class"], option["type"], option["length"]) for option in gwlb["options"]]
    assert shapes == [("0x0108", 1, 8), ("0x0108", 2, 8), ("0x0108", 3, 4)]
    assert gwlb in items
    missing = await client.get("/v1/option-profiles/nothing")
    assert (missing.status_code, missing.json()["type"]) == (404, "/problems/not-found")


async def test_the_allocator_gives_a_vni_and_keeps_it(client):
    vni = (await client.put("/v1/networks/blue", json={})).json()["spec"]["vni"]
    assert 1 <= vni < 1 << 24
    answer = await client.put("/v1/networks/blue", json={"labels": {"tenant": "a"}})
    assert answer.json()["spec"]["vni"] == vni


async def test_delete(topology, backend):
    answer = await topology.delete("/v1/option-policies/tier2-only")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await topology.get("/v1/option-policies/tier2-only")).status_code == 404
    assert (await topology.delete("/v1/option-policies/tier2-only")).status_code == 404
    assert "tier2-only" not in backend.intent.option_policies


async def test_status_says_what_the_kind_has(topology):
    assert (await topology.get("/v1/networks/blue")).json()["status"]["overhead"] == 58
    assert (await topology.get("/v1/option-schemas/context")).json()["status"]["slot"] == 0
    assert (await topology.get("/v1/ports/web1")).json()["status"]["host"] is None
    host = (await topology.get("/v1/hosts/hv1")).json()["status"]
    assert (host["ovs_version"], host["progress"]["flows"]) == ("3.1.0", 12)
    assert host["guarded"] is True


async def test_pages_hold_every_object_once(client):
    names = [f"n{number:02}" for number in range(25)]
    for name in reversed(names):
        await client.put(f"/v1/networks/{name}", json={})
    seen, cursor, sizes = [], "", []
    while cursor is not None:
        page = (await client.get("/v1/networks", params={"limit": 10, "cursor": cursor})).json()
        seen += [item["name"] for item in page["items"]]
        sizes.append(len(page["items"]))
        cursor = page["next"]
    assert (seen, sizes) == (names, [10, 10, 5])


async def test_an_exact_page_is_the_last(client):
    for name in ("a", "b"):
        await client.put(f"/v1/networks/{name}", json={})
    page = (await client.get("/v1/networks?limit=2")).json()
    assert (len(page["items"]), page["next"]) == (2, None)


async def test_labels_select(client):
    for name, tenant in (("a", "x"), ("b", "y"), ("c", "x")):
        await client.put(f"/v1/networks/{name}", json={"labels": {"tenant": tenant}})
    page = (await client.get("/v1/networks", params={"label": "tenant=x", "limit": 1})).json()
    assert ([item["name"] for item in page["items"]], page["next"]) == (["a"], "a")
    page = (await client.get("/v1/networks", params={"label": "tenant=x", "cursor": "a"})).json()
    assert ([item["name"] for item in page["items"]], page["next"]) == (["c"], None)
    assert (await client.get("/v1/networks?label=tenant=z")).json()["items"] == []


async def test_stale_revisions(client):
    first = await client.put("/v1/networks/blue", json={"vni": 1})
    etag = first.headers["etag"]
    second = await client.put("/v1/networks/blue", json={"vni": 2}, headers={"If-Match": etag})
    assert second.status_code == 200
    assert second.headers["etag"] != etag
    for method, arguments in (("PUT", {"json": {"vni": 3}}), ("DELETE", {})):
        answer = await client.request(method, "/v1/networks/blue", headers={"If-Match": etag}, **arguments)
        problem = answer.json()
        assert (answer.status_code, problem["type"]) == (412, "/problems/revision-stale")
        assert problem["holder"] == "network/blue"
    assert (await client.get("/v1/networks/blue")).json()["spec"]["vni"] == 2


@pytest.mark.parametrize("header", ["*", '"1"', 'W/"1"', "1", '"abc"', '""'])
async def test_if_match_never_creates(client, backend, header):
    answer = await client.put("/v1/networks/blue", json={}, headers={"If-Match": header})
    assert answer.status_code == 412
    assert not backend.intent.networks


async def test_if_none_match_only_creates(client):
    headers = {"If-None-Match": "*"}
    assert (await client.put("/v1/hosts/hv1", json=HOST, headers=headers)).status_code == 201
    answer = await client.put("/v1/hosts/hv1", json=HOST, headers=headers)
    assert (answer.status_code, answer.json()["holder"]) == (412, "host/hv1")


async def test_a_schema_names_the_versions_after_it(topology):
    document = {"class": "0xff00", "type": 2, "length": 8, "replaces": "context"}
    assert (await topology.put("/v1/option-schemas/context2", json=document)).status_code == 201
    first = (await topology.get("/v1/option-schemas/context")).json()
    assert first["status"]["replaced_by"] == ["context2"]
    assert "replaced_by" not in (await topology.get("/v1/option-schemas/context2")).json()["status"]
