# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve prove, as typed."""

import json
from dataclasses import replace

from controller.proof.report import Doubt
from tests.unit.api.test_isolation import VIOLATION


def test_what_was_proved_is_said_and_what_was_not(run):
    answer = run("prove")
    assert answer.exit_code == 0
    assert answer.output.startswith(
        "revision 7: isolated. 3 ports of 1 networks on 2 hosts, 90 flows; 400 sets of packets followed, 20 delivered, "
        "in 0.2 s\nnot proved by this:\n  * "
    )


def test_a_violation_is_shown_with_its_packet(run, served):
    served.backend.proof = replace(served.backend.proof, violations=(VIOLATION,))
    answer = run("prove")
    assert answer.exit_code == 1
    assert answer.output.splitlines()[:6] == [
        "foreign-port: network/blue reaches a port of network/red",
        "  from    port/web1 on hv1",
        "  packet  in_port=1,dl_src=02:00:00:00:00:01",
        "  flow    hv1 deliver priority=200 cookie=0x6e1c0000ee36d11a  port/red1",
        "  out of  port/red1 on hv1",
        "revision 7: NOT isolated. 3 ports of 1 networks on 2 hosts, 90 flows; 400 sets of packets followed, 20 "
        "delivered, in 0.2 s",
    ]


def test_a_doubt_is_no_proof(run, served):
    served.backend.proof = replace(served.backend.proof, doubts=(Doubt(sender="", reason="a resubmit"),))
    answer = run("prove")
    assert answer.exit_code == 1
    assert "not proved: the flows: a resubmit\n" in answer.output
    assert "revision 7: not proved." in answer.output


def test_a_program_reads_json(run):
    answer = run("prove", "-o", "json")
    assert answer.exit_code == 0
    assert json.loads(answer.output)["looked_at"]["ports"] == 3
