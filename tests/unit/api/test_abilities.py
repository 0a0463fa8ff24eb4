# SPDX-License-Identifier: Apache-2.0
"""Hosts without Open vSwitch and networks of IP over REST: what is refused, and what hosts are said to be unable to."""

import pytest

from controller.intent.commands import Bind, Record
from controller.intent.model import CapabilitySpec
from tests.unit.api.backend import put_all

STATEFUL = {"network": "blue", "to": {"group": "web"}, "action": "allow", "stateful": True}
FABRIC = {
    "hosts/hv1": {"endpoints": [{"address": "192.0.2.1"}]},
    "hosts/lx1": {"kind": "linux", "endpoints": [{"address": "192.0.2.2"}]},
    "hosts/fx1": {"kind": "linux", "tunnels": "fixed", "endpoints": [{"address": "192.0.2.3"}]},
    "groups/web": {},
    "networks/blue": {"options": ["identity"]},
    "networks/routed": {"payload": "ip"},
    "ports/web1": {"network": "blue", "mac": "02:00:00:00:00:01", "group": "web"},
}


@pytest.fixture
async def linux(client, backend):
    await put_all(client, FABRIC)
    await backend.submit(Bind(port="web1", host="lx1"))
    return client


async def test_documents_come_back_as_they_were_put(linux):
    for path in ("hosts/lx1", "hosts/fx1", "networks/routed"):
        view = (await linux.get(f"/v1/{path}")).json()
        again = await linux.put(f"/v1/{path}", json=view["spec"])
        assert (again.status_code, again.json()["revision"]) == (200, view["revision"])


async def test_status_says_what_a_host_cannot_do(linux, backend):
    async def cannot(name):
        return {
            one["need"]: one["reason"]
            for one in (await linux.get(f"/v1/hosts/{name}")).json()["status"]["cannot"]
        }

    assert list(await cannot("hv1")) == ["networks of IP"]
    assert (await cannot("lx1"))["stateful policies"] == "its filters remember no connections"
    assert "critical options" not in await cannot("lx1")
    assert (await cannot("fx1")).keys() > (await cannot("lx1")).keys()
    told = CapabilitySpec(datapath="linux", kernel="6.1.0-32-amd64", critical=True, lacks=("vrf",))
    await backend.service.submit(Record(name="lx1", spec=told))
    assert (await cannot("lx1"))["networks of IP"] == "its kernel has no vrf"
    shown = (await linux.get("/v1/hosts/lx1")).json()["status"]["capabilities"]
    assert (shown["datapath"], shown["kernel"], shown["lacks"]) == ("linux", "6.1.0-32-amd64", ["vrf"])


async def test_a_refusal_names_host_need_and_reason_and_a_dry_run_shows_it(linux):
    for query in ({}, {"dry_run": "true"}):
        answer = await linux.put("/v1/policies/in", json=STATEFUL, params=query)
        assert answer.status_code == 409
        problem = answer.json()
        assert problem["type"] == "/problems/host-cannot"
        assert (problem["pointer"], problem["holder"]) == ("/stateful", "host/lx1")
        assert (
            "host lx1 cannot do stateful policies: its filters remember no connections" in problem["detail"]
        )
    assert (await linux.put("/v1/policies/in", json=STATEFUL | {"stateful": False})).status_code == 201


async def test_a_host_of_another_kind_under_the_same_name(linux):
    answer = await linux.put("/v1/hosts/lx1", json={"endpoints": [{"address": "192.0.2.2"}]})
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (409, "/problems/host-kind-fixed")
    assert (problem["pointer"], problem["holder"]) == ("/kind", "host/lx1")


async def test_probes_between_hosts_without_open_vswitch(linux):
    answer = await linux.post("/v1/probes", json={"network": "blue", "pairs": [["hv1", "lx1"]]})
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (422, "/problems/host-cannot-probe")
    assert problem["pointer"] == "/pairs/0/1"
