# SPDX-License-Identifier: Apache-2.0
"""Bad documents: a problem that names the field and the holder, and nothing stored."""

import pytest

from tests.unit.api.backend import HOST, POLICY, PORT, SCHEMA, TOPOLOGY, put_all, without

PROBLEM = "application/problem+json"


def field(**changes):
    return {"name": "tier", "type": "uint", "offset": 0, "bits": 8} | changes


def schema(**changes):
    return SCHEMA | {"class": "0xff01"} | changes


def port(**changes):
    return without(PORT, "interface_id") | {"mac": "02:00:00:00:00:02", "addresses": []} | changes


def host(**changes):
    return {"endpoints": [{"address": "192.0.2.12"}]} | changes


SHAPE = [
    ("hosts/new", host(colour="red"), "/colour"),
    ("hosts/new", host(endpoints=[{"address": "192.0.2.12", "port": 1}]), "/endpoints/0/port"),
    ("hosts/new", host(endpoints=[{"address": 7}]), "/endpoints/0/address"),
    ("hosts/new", host(endpoints=[{}]), "/endpoints/0/address"),
    ("hosts/new", host(endpoints={"address": "192.0.2.12"}), "/endpoints"),
    ("hosts/new", {}, "/endpoints"),
    ("hosts/new", host(kind="windows"), "/kind"),
    ("hosts/new", host(tunnel={"csum": "yes"}), "/tunnel/csum"),
    ("hosts/new", host(tunnel={"ttl": "half"}), "/tunnel/ttl"),
    ("hosts/new", host(labels={"a": 1}), "/labels/a"),
    ("networks/new", {"vni": "7"}, "/vni"),
    ("networks/new", {"vni": 7.5}, "/vni"),
    ("networks/new", {"vni": True}, "/vni"),
    ("networks/new", {"options": ["context", 5]}, "/options/1"),
    ("networks/new", {"values": {"context": {"tier": [1]}}}, "/values/context/tier/0"),
    ("networks/new", {"values": {"context": {"tier": 1.5}}}, "/values/context/tier"),
    ("networks/new", {"a/b~c": 1}, "/a~1b~0c"),
    ("networks/new", ["vni"], ""),
    ("ports/new", without(port(), "mac"), "/mac"),
    ("option-schemas/new", schema(fields=[field(), field(name="b", bits="8")]), "/fields/1/bits"),
    ("option-schemas/new", schema(fields=[field(), field(name="b", type="float")]), "/fields/1/type"),
    ("option-schemas/new", schema(fields=[field(type="enum", values={"a": "1"})]), "/fields/0/values/a"),
    ("option-schemas/new", schema(fields=[field(type="flags", flags="a|b")]), "/fields/0/flags"),
    ("option-schemas/new", without(schema(), "class"), "/class"),
    ("option-schemas/new", schema(length="4"), "/length"),
    ("option-policies/new", POLICY | {"action": "reject"}, "/action"),
    ("option-policies/new", POLICY | {"match": {"options": {}}}, "/match/options"),
    ("option-policies/new", POLICY | {"direction": "sideways"}, "/direction"),
]

CONTENT = [
    ("networks/new", {"vni": 0}, 422, "vni-out-of-range", "/vni", ""),
    ("networks/new", {"vni": -1}, 422, "vni-out-of-range", "/vni", ""),
    ("networks/new", {"vni": 1 << 24}, 422, "vni-out-of-range", "/vni", ""),
    ("networks/new", {"vni": 100}, 409, "vni-taken", "/vni", "network/blue"),
    ("networks/new", {"options": ["nothing"]}, 422, "option-schema-unknown", "/options/0", ""),
    ("networks/new", {"options": ["context"] * 2}, 422, "option-duplicate", "/options/1", ""),
    ("networks/Blue", {}, 422, "name-invalid", "/name", ""),
    ("networks/new", {"labels": {"": "x"}}, 422, "label-invalid", "/labels/", ""),
    ("hosts/new", host(endpoints=[]), 422, "endpoint-missing", "/endpoints", ""),
    ("hosts/new", host(endpoints=[{"address": "x"}]), 422, "address-invalid", "/endpoints/0/address", ""),
    (
        "hosts/new",
        host(endpoints=HOST["endpoints"]),
        409,
        "endpoint-taken",
        "/endpoints/0/address",
        "host/hv1",
    ),
    ("hosts/new", host(ovsdb="http://x"), 422, "ovsdb-invalid", "/ovsdb", ""),
    ("hosts/new", host(ovsdb=HOST["ovsdb"]), 409, "ovsdb-taken", "/ovsdb", "host/hv1"),
    ("hosts/new", host(system_id="hv1"), 409, "system-id-taken", "/system_id", "host/hv1"),
    ("hosts/new", host(tunnel={"tos": 1}), 422, "tos-invalid", "/tunnel/tos", ""),
    ("option-schemas/new", schema(length=6), 422, "layout-invalid", "/length", ""),
    ("option-schemas/new", schema(length=128), 422, "layout-invalid", "/length", ""),
    ("option-schemas/new", schema(length=-4), 422, "layout-invalid", "/length", ""),
    (
        "option-schemas/new",
        schema(fields=[field(), field(name="zone", offset=4)]),
        *(422, "layout-invalid", "/fields/1", ""),
    ),
    ("option-schemas/new", schema(fields=[field(offset=25)]), 422, "layout-invalid", "/fields/0", ""),
    ("option-schemas/new", schema(fields=[field(), field()]), 422, "layout-invalid", "/fields/1", ""),
    ("option-schemas/new", schema(fields=[field(offset=-1)]), 422, "field-invalid", "/fields/0", ""),
    ("option-schemas/new", schema(fields=[field(bits=0)]), 422, "field-invalid", "/fields/0", ""),
    *(
        ("option-schemas/new", schema(fields=[field(**names)]), 422, "field-invalid", f"/fields/0{at}", "")
        for names, at in (
            ({"type": "enum"}, ""),
            ({"type": "enum", "values": {"a": 256}}, ""),
            ({"type": "enum", "values": {"a": 1, "b": 1}}, ""),
            ({"type": "enum", "values": {"a": 1}, "flags": ["b"]}, "/flags"),
            ({"type": "uint", "values": {"a": 1}}, "/values"),
            ({"type": "flags", "values": {"a": 1}}, "/values"),
            ({"type": "flags", "flags": ["a", "a"]}, ""),
            ({"type": "flags", "flags": list("abcdefghi")}, "/flags"),
        )
    ),
    ("option-schemas/new", schema(**{"class": "0x0104"}), 422, "class-not-experimental", "/class", ""),
    *(
        ("option-schemas/new", schema(fields=[], **{"class": number}, **changes), status, code, at, holder)
        for number, changes, status, code, at, holder in (
            (
                "0x0102",
                {"type": 0x80, "allow_registered": True},
                *(409, "option-type-of-profile", "/type", "option-profile/ovn"),
            ),
            (
                "0x0103",
                {"type": 77, "allow_registered": True},
                *(409, "option-type-of-profile", "/type", "option-profile/int"),
            ),
            (
                "0x0102",
                {"type": 0x80, "allow_registered": True, "profile": "cilium"},
                *(422, "profile-mismatch", "/type", ""),
            ),
            ("0x0102", {"type": 0x80, "length": 8, "profile": "ovn"}, 422, "profile-mismatch", "/length", ""),
            ("0x0102", {"type": 0x80, "profile": "nsx"}, 422, "profile-unknown", "/profile", ""),
            ("0x0102", {"type": 0x81}, 422, "class-not-experimental", "/class", ""),
        )
    ),
    (
        "option-schemas/new",
        schema(**{"class": "0x0102", "type": 0x80, "profile": "ovn"}),
        *(422, "profile-mismatch", "/fields", ""),
    ),
    ("option-schemas/new", schema(**{"class": 1 << 16}), 422, "class-out-of-range", "/class", ""),
    ("option-schemas/new", schema(**{"class": "ff"}), 422, "number-invalid", "/class", ""),
    ("option-schemas/new", schema(type=256), 422, "type-out-of-range", "/type", ""),
    ("option-schemas/new", SCHEMA, 409, "option-type-taken", "/type", "option-schema/context"),
    ("option-schemas/context", SCHEMA | {"length": 8}, 409, "immutable", "/length", "option-schema/context"),
    ("ports/new", port(network="red"), 422, "network-unknown", "/network", ""),
    ("ports/new", port(mac=PORT["mac"]), 409, "mac-taken", "/mac", "port/web1"),
    ("ports/new", port(mac="02:00"), 422, "mac-invalid", "/mac", ""),
    ("ports/new", port(mac="ff:ff:ff:ff:ff:ff"), 422, "mac-not-unicast", "/mac", ""),
    ("ports/new", port(addresses=["::2", "10.0.0.1"]), 409, "address-taken", "/addresses/1", "port/web1"),
    ("ports/new", port(addresses=["10.0.0"]), 422, "address-invalid", "/addresses/0", ""),
    ("ports/new", port(addresses=["224.0.0.1"]), 422, "address-not-unicast", "/addresses/0", ""),
    ("ports/new", port(interface_id="web1"), 409, "interface-id-taken", "/interface_id", "port/web1"),
    (
        "ports/new",
        port(options={"context": {"tier": 256}}),
        *(422, "value-invalid", "/options/context/tier", ""),
    ),
    (
        "ports/new",
        port(options={"context": {"colour": 1}}),
        *(422, "field-unknown", "/options/context/colour", "option-schema/context"),
    ),
    ("ports/new", port(options={"other": {"a": 1}}), 422, "option-unknown", "/options/other/a", ""),
    (
        "option-policies/new",
        POLICY | {"match": {"option": {"context.tier": "2/"}}},
        *(422, "match-invalid", "/match/option/context.tier", ""),
    ),
    (
        "option-policies/new",
        POLICY | {"match": {"option": {"tier": 2}}},
        *(422, "match-invalid", "/match/option/tier", ""),
    ),
]


@pytest.mark.parametrize(("path", "document", "pointer"), SHAPE)
async def test_wrong_shapes(topology, backend, path, document, pointer):
    before = backend.intent
    answer = await topology.put(f"/v1/{path}", json=document)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (400, PROBLEM)
    assert (problem["type"], problem.get("pointer", "")) == ("/problems/document-invalid", pointer)
    assert "$" not in problem["detail"]
    assert backend.intent is before


@pytest.mark.parametrize(("path", "document", "status", "code", "pointer", "holder"), CONTENT)
async def test_wrong_contents(topology, backend, path, document, status, code, pointer, holder):
    before = backend.intent
    answer = await topology.put(f"/v1/{path}", json=document)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    assert (problem["status"], problem["type"]) == (status, f"/problems/{code}")
    assert (problem.get("pointer", ""), problem.get("holder", "")) == (pointer, holder)
    assert problem["title"]
    assert problem["detail"]
    assert backend.intent is before


@pytest.mark.parametrize("address", ["10.0.0.1", "2001:db8::1"])
async def test_another_network_may_have_the_same_addresses(topology, address):
    await topology.put("/v1/networks/red", json={})
    twin = {"network": "red", "mac": PORT["mac"], "addresses": [address]}
    assert (await topology.put("/v1/ports/twin", json=twin)).status_code == 201


async def test_a_registered_class_goes_with_the_flag(client):
    document = schema(**{"class": "0x0104", "allow_registered": True})
    assert (await client.put("/v1/option-schemas/nsx", json=document)).status_code == 201


async def test_the_largest_option_fits(client):
    document = without(schema(length=124), "fields")
    assert (await client.put("/v1/option-schemas/large", json=document)).status_code == 201


async def test_slots_run_out_at_64(client, backend):
    small = {f"option-schemas/s{n}": {"class": "0xff00", "type": n, "length": 0} for n in range(64)}
    await put_all(client, small)
    before = backend.intent
    answer = await client.put("/v1/option-schemas/late", json={"class": "0xff00", "type": 64, "length": 0})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/option-slots-exhausted")
    assert backend.intent is before


async def test_bytes_run_out_at_256(client, backend):
    large = {f"option-schemas/s{n}": {"class": "0xff00", "type": n, "length": 124} for n in range(2)}
    await put_all(client, large)
    await put_all(client, {"option-schemas/last": {"class": "0xff00", "type": 2, "length": 8}})
    before = backend.intent
    answer = await client.put("/v1/option-schemas/late", json={"class": "0xff00", "type": 3, "length": 4})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/option-bytes-exhausted")
    assert backend.intent is before


async def test_a_header_holds_252_bytes(client, backend):
    large = {f"option-schemas/s{n}": {"class": "0xff00", "type": n, "length": 124} for n in range(2)}
    await put_all(client, large)
    answer = await client.put("/v1/networks/blue", json={"options": ["s0", "s1"]})
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (409, "/problems/options-too-long")
    assert (problem["pointer"], problem["holder"]) == ("/options/1", "option-schema/s1")
    assert not backend.intent.networks


@pytest.mark.parametrize(
    ("path", "holder"),
    [
        ("networks/blue", "port/web1"),
        ("option-schemas/context", "network/blue"),
        ("ports/web1", "option-policy/tier2-only"),
    ],
)
async def test_what_is_used_stays(topology, backend, path, holder):
    before = backend.intent
    answer = await topology.delete(f"/v1/{path}")
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (409, "/problems/in-use")
    assert problem["holder"] == holder
    assert backend.intent is before


@pytest.mark.parametrize("collection", [path.partition("/")[0] for path in TOPOLOGY])
async def test_what_is_not_there(client, collection):
    for method in ("GET", "DELETE"):
        answer = await client.request(method, f"/v1/{collection}/nothing")
        assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM)
        assert answer.json()["type"] == "/problems/not-found"
