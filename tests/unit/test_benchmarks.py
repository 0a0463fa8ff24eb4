# SPDX-License-Identifier: Apache-2.0
"""What needs no Open vSwitch of the benchmarks."""

from __future__ import annotations

import json

import pytest

from benchmarks import encode
from benchmarks.rig import flows as shape
from ovs_geneve.openflow.template import encode_flow_add


def test_encode_runs_and_prints_its_document(capsys: pytest.CaptureFixture[str]) -> None:
    encode.main(quick=True)
    document = json.loads(capsys.readouterr().out)
    assert document["benchmark"] == "encode"
    assert len(document["series"]) == 3
    assert [figure["goal"] for figure in document["figures"]] == [">= 100"]


def test_the_shared_flows_are_different_and_alike_in_every_form() -> None:
    template = shape.template()
    flows = [shape.flow(varying) for varying in shape.numbers(1_000)]
    assert len({flow.key for flow in flows}) == 1_000
    for varying, flow in zip(shape.numbers(1_000), flows, strict=True):
        assert template.pack(*varying) == encode_flow_add(flow)
    first = next(shape.numbers(1))
    assert shape.text(first).endswith(
        "actions=set_field:10.0.0.1->tun_dst,set_field:0x10000->tun_metadata0,output:10"
    )
