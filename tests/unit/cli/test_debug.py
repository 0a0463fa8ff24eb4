# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve debug, as typed."""

from controller.compiler.recompute import Disagreement, Fault


def test_recompute_says_that_nothing_differs(run):
    answer = run("debug", "recompute")
    assert answer.exit_code == 0
    assert answer.output == "revision 7: 70 parts for 2 hosts, 0 differ\n"


def test_recompute_names_what_differs_and_where(run, served):
    wrong = Disagreement(fault=Fault.STALE, what="remote web1 of remote blue", hosts=("hv1", "hv2"))
    served.backend.disagreements = (wrong,)
    answer = run("debug", "recompute")
    assert answer.exit_code == 1
    assert "stale: remote web1 of remote blue (on hv1, hv2)" in answer.output
    assert "1 differ" in answer.output
