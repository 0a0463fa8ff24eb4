# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve events, as typed."""

import json

from controller.events import EventKind


def add(served, message, count=1):
    served.backend.log.add(EventKind.BAD_OPTIONS, host="hv2", message=message, now=1_700_000_000, count=count)


def test_a_line_an_event(run, served):
    add(served, "hv1 sent this", count=3)
    add(served, "hv1 sent that")
    answer = run("events")
    assert answer.exit_code == 0
    assert answer.output.splitlines() == [
        "1\t2023-11-14T22:13:20.000Z\tbad-options\thv2\thv1 sent this (3)",
        "2\t2023-11-14T22:13:20.000Z\tbad-options\thv2\thv1 sent that",
    ]
    assert run("events", "--since", "2").output == ""


def test_as_json(run, served):
    add(served, "hv1 sent this")
    (event,) = json.loads(run("events", "-o", "json").output)
    assert event["message"] == "hv1 sent this"
