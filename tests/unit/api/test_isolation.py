# SPDX-License-Identifier: Apache-2.0
"""GET /v1/reports/isolation."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from controller.api.isolation import BreachWord
from controller.proof.report import OUT_OF_SCOPE, Breach, Doubt, Hop, Violation

VIOLATION = Violation(
    breach=Breach.FOREIGN,
    reason="network/blue reaches a port of network/red",
    sender="port/web1 on hv1",
    packet="in_port=1,dl_src=02:00:00:00:00:01",
    path=(Hop(host="hv1", table="deliver", priority=200, cookie=0x6E1C0000EE36D11A, caused_by="port/red1"),),
    out_of="port/red1 on hv1",
)


async def test_what_was_proved_is_counted(client):
    answer = await client.get("/v1/reports/isolation")
    assert answer.status_code == 200
    found = answer.json()
    assert (found["revision"], found["isolated"], found["seconds"]) == (7, True, 0.25)
    assert found["looked_at"] == {
        "hosts": 2,
        "networks": 1,
        "ports": 3,
        "flows": 90,
        "sets": 400,
        "deliveries": 20,
    }
    assert (found["violations"], found["doubts"]) == ([], [])
    assert found["out_of_scope"] == list(OUT_OF_SCOPE)


async def test_a_violation_comes_with_its_packet_and_its_path(client, backend):
    backend.proof = replace(backend.proof, violations=(VIOLATION,))
    found = (await client.get("/v1/reports/isolation")).json()
    assert not found["isolated"]
    assert found["violations"] == [
        {
            "breach": "foreign-port",
            "reason": "network/blue reaches a port of network/red",
            "sender": "port/web1 on hv1",
            "packet": "in_port=1,dl_src=02:00:00:00:00:01",
            "path": [
                {
                    "host": "hv1",
                    "table": "deliver",
                    "priority": 200,
                    "cookie": "0x6e1c0000ee36d11a",
                    "caused_by": "port/red1",
                }
            ],
            "out_of": "port/red1 on hv1",
        }
    ]


async def test_what_is_in_doubt_is_not_isolated(client, backend):
    backend.proof = replace(backend.proof, doubts=(Doubt(sender="port/web1 on hv1", reason="a resubmit"),))
    found = (await client.get("/v1/reports/isolation")).json()
    assert not found["isolated"]
    assert found["doubts"] == [{"sender": "port/web1 on hv1", "reason": "a resubmit"}]


def test_every_breach_has_its_word():
    assert set(get_args(BreachWord)) == {breach.value for breach in Breach}
