# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve verify, as typed."""

import json
import re

import pytest

from controller.cli.verify import explained, matrix

DOCUMENTS = """
{kind: host, name: hv1, endpoints: [{address: 192.0.2.1}, {address: "2001:db8::1"}]}
---
{kind: host, name: hv2, endpoints: [{address: 192.0.2.2}, {address: "2001:db8::2"}]}
---
{kind: host, name: hv3, endpoints: [{address: 192.0.2.3}]}
---
{kind: option-schema, name: context, class: 0xff00, type: 1, length: 4, fields: []}
---
{kind: network, name: blue, options: [context]}
---
{kind: network, name: red}
"""


@pytest.fixture
def fabric(run):
    assert run("apply", "-f", "-", text=DOCUMENTS).exit_code == 0
    return run


def test_a_healthy_network(fabric):
    answer = fabric("verify", "--all", "--network", "blue")
    assert answer.exit_code == 0, answer.output
    lines = answer.output.splitlines()
    assert lines[0] == "blue\thv1\thv2\thv3"
    cells = [line.split("\t") for line in lines[1:4]]
    assert [row[0] for row in cells] == ["hv1", "hv2", "hv3"]
    assert [row[number] for number, row in enumerate(cells, 1)] == ["-"] * 3
    assert re.fullmatch(r"ok \d+\.\d\d ms", cells[0][2])
    assert re.fullmatch(r"8 directions in \d+\.\d s, 16 probes, options context: 8 ok", lines[4])


def test_what_fails_is_explained_and_shows_in_the_status(fabric, served):
    served.backend.bridges.away.add("hv3")
    answer = fabric("verify", "--all", "--network", "red")
    assert answer.exit_code == 1
    reason = "the bridge of hv3 is not connected to this controller, or does not keep up"
    assert f"skipped: red, hv3 -> hv1 over ipv4: {reason}" in answer.output.splitlines()
    assert "all of these have hv3 at one end" in answer.output.splitlines()
    assert "6 ok, 2 skipped" in answer.output
    assert "hv3\tskipped\tskipped\t-" in answer.output


def test_pairs_as_json(fabric):
    answer = fabric("verify", "--pair", "hv1:hv3", "--pair", "hv3:hv1", "--network", "blue", "-o", "json")
    assert answer.exit_code == 0
    proofs = json.loads(answer.output)["results"]
    assert [(one["source"], one["destination"]) for one in proofs] == [("hv1", "hv3"), ("hv3", "hv1")]


def test_nothing_to_prove(fabric):
    answer = fabric("verify")
    assert answer.exit_code == 0
    assert answer.output.startswith("nothing to prove: no two hosts have a port of the same network")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--network", "green"), "/network: there is no network/green"),
        (("--pair", "hv1"), "want SOURCE:DESTINATION"),
        (("--pair", "hv1:hv9"), "/pairs/0/1: there is no host/hv9"),
        (("--timeout", "soon"), "timeout 'soon'"),
    ],
)
def test_what_is_refused(fabric, arguments, said):
    answer = fabric("verify", *arguments)
    assert answer.exit_code != 0
    assert said in answer.output


def proof(verdict, underlay="ipv4", **what):
    return {
        "network": "blue",
        "source": "hv1",
        "destination": "hv2",
        "verdict": verdict,
        "underlay": underlay,
        "reason": f"it is {verdict}",
        **what,
    }


def test_a_pair_shows_the_worst_of_its_proofs():
    proofs = [proof("ok"), proof("mtu", "ipv6"), proof("lossy", "ipv4", source="hv2", destination="hv1")]
    cells = matrix(proofs)
    assert cells["hv1", "hv2"]["verdict"] == "mtu"
    assert cells["hv2", "hv1"]["verdict"] == "lossy"


def test_each_proof_that_is_not_well_has_a_line():
    proofs = [proof("ok"), proof("mtu", "ipv6"), proof("lossy", "ipv4", source="hv2", destination="hv1")]
    assert list(explained(proofs)) == [
        "mtu: blue, hv1 -> hv2 over ipv6: it is mtu",
        "lossy: blue, hv2 -> hv1 over ipv4: it is lossy",
    ]


def test_a_great_many_lines_are_cut_short():
    proofs = [proof("mtu", destination=f"hv{number}") for number in range(2, 200)]
    lines = list(explained(proofs))
    assert len(lines) == 52
    assert lines[-2:] == ["and 148 more: -o json tells all", "all of these have hv1 at one end"]


def test_faults_of_one_pair_or_of_several_hosts_point_at_none():
    there, back = proof("mtu"), proof("mtu", source="hv2", destination="hv1")
    assert len(list(explained([there, back]))) == 2
    elsewhere = proof("mtu", source="hv3", destination="hv4")
    assert len(list(explained([there, back, elsewhere]))) == 3
