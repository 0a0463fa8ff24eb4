# SPDX-License-Identifier: Apache-2.0
"""What agents are told and tell over REST."""

import pytest

from tests.unit.api.backend import HOST

LINUX = {"kind": "linux", "endpoints": [{"address": "192.0.2.21"}], "underlay_mtu": 1600}
REPORT = {"interfaces": [{"interface_id": "web1", "name": "tap1"}], "kernel": "6.1.0-56-amd64"}


async def test_a_linux_hosts_kernel_is_shown_and_its_report_acknowledges(client, backend):
    await client.put("/v1/hosts/lx1", json=LINUX)
    shown = (await client.get("/v1/hosts/lx1/kernel")).json()
    assert "host" in shown["parts"]
    assert shown["parts"]["host"]["links"][0]["name"] == "og-geneve"
    assert backend.linux.is_behind("lx1", shown["revision"])
    answer = await client.post("/v1/hosts/lx1/report", json=REPORT | {"acknowledged": shown["generation"]})
    assert answer.status_code == 204
    assert backend.plugged.hosts == {"lx1": {"web1"}}
    assert not backend.linux.is_behind("lx1", shown["revision"])
    assert backend.linux.capability("lx1").kernel == "6.1.0-56-amd64"


async def test_what_another_run_of_the_controller_told_acknowledges_nothing(client, backend):
    await client.put("/v1/hosts/lx1", json=LINUX)
    await client.post("/v1/hosts/lx1/report", json=REPORT | {"acknowledged": "other.99"})
    assert backend.linux.is_behind("lx1", 99)


@pytest.mark.parametrize(
    ("host", "report", "status", "type_", "pointer"),
    [
        ("nope", REPORT, 404, "not-found", ""),
        ("hv1", REPORT, 409, "host-not-linux", ""),
        ("lx1", {"kernel": "6.1"}, 400, "document-invalid", "/interfaces"),
        ("lx1", REPORT | {"kernel": 6}, 400, "document-invalid", "/kernel"),
        ("lx1", REPORT | {"more": 1}, 400, "document-invalid", "/more"),
        ("lx1", REPORT | {"interfaces": [{"interface_id": "", "name": "x"}]}, 400, "document-invalid", None),
    ],
)
async def test_reports_are_refused_clearly(client, host, report, status, type_, pointer):
    await client.put("/v1/hosts/lx1", json=LINUX)
    await client.put("/v1/hosts/hv1", json=HOST)
    answer = await client.post(f"/v1/hosts/{host}/report", json=report)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (status, f"/problems/{type_}")
    if pointer is not None:
        assert problem.get("pointer", "") == pointer


@pytest.mark.parametrize(("host", "status"), [("nope", 404), ("hv1", 409)])
async def test_only_linux_hosts_have_kernels_to_follow(client, host, status):
    await client.put("/v1/hosts/hv1", json=HOST)
    assert (await client.get(f"/v1/hosts/{host}/kernel")).status_code == status
