# SPDX-License-Identifier: Apache-2.0
"""What flows make of probes, beyond what the golden flows show."""

import pytest

from controller.compiler.cookies import Feature, parse
from controller.compiler.features import probes
from controller.compiler.pipeline import Table
from controller.intent.model import OffloadChoice
from ovs_geneve.openflow.actions import Controller, Move, Output
from ovs_geneve.openflow.fields import TUN_FLAGS, XXREG3
from ovs_geneve.openflow.tlv_table import TlvMap
from tests.builders import Fabric, bind, delete, host, network, port, put, schema


def read_bits(actions):
    """Return which bits of tunnel options were read before the packet is reported."""
    seen = {}
    for action in actions:
        if isinstance(action, Controller):
            return seen
        assert isinstance(action, Move)
        assert action.destination is XXREG3
        bits = (1 << action.bits) - 1 << action.source_offset
        seen[action.source.name] = seen.get(action.source.name, 0) | bits
    raise AssertionError("it is not reported")


@pytest.mark.parametrize("length", [4, 12, 16, 20, 124])
def test_every_bit_of_every_option_is_read_before_a_probe_is_reported(length):
    maps = [TlvMap(0xFF00, 1, length, 0), TlvMap(0xFF00, 2, 4, 63), TlvMap(0xFF00, 3, 0, 7)]
    reporting = list(probes.flows(maps, probes.O_BIT))
    assert len(reporting) == 4
    for flow in reporting:
        assert read_bits(flow.actions) == {
            "tun_metadata0": (1 << 8 * length) - 1,
            "tun_metadata63": (1 << 32) - 1,
        }


@pytest.mark.parametrize("known_by", [probes.O_BIT, probes.OWN_VNI])
def test_probes_leave_by_the_tunnel_or_not_at_all(known_by):
    for flow in probes.flows((), known_by):
        assert flow.table == Table.RECEIVE
        assert flow.goto is None
        assert any((term.field, term.value) == known_by[:2] for term in flow.match.terms)
        outputs = [action.port for action in flow.actions if isinstance(action, Output)]
        assert outputs in ([], [0xFFFF_FFF8])


def test_no_flow_of_a_host_that_offloads_reads_the_o_bit():
    fabric = Fabric()
    fabric.do(
        put("hv1", host("192.0.2.1", "2001:db8::1", offload=OffloadChoice.SKIP_HW)),
        put("hv2", host("192.0.2.2")),
    )
    o_bit = TUN_FLAGS.masked_header
    flows = {name: fabric.compiler.desired(name).flows for name in ("hv1", "hv2")}
    reading = {name: [key for key in held if o_bit in key] for name, held in flows.items()}
    assert len(reading["hv1"]) == 0
    # Two end OAM packets, one lets in probes, four say what becomes of them.
    assert len(reading["hv2"]) == 2 + 1 + 4


def test_a_change_of_offload_concerns_its_host_alone():
    fabric = Fabric()
    fabric.do(
        *(put(f"hv{n}", host(f"192.0.2.{n}")) for n in (1, 2)),
        put("blue", network(100)),
        *(put(f"p{n}", port("blue", n)) for n in (1, 2)),
        *(bind(f"p{n}", f"hv{n}") for n in (1, 2)),
    )
    before, compiled = fabric.compiler.desired("hv1"), fabric.compiler.parts_compiled
    deltas = fabric.do(put("hv1", host("192.0.2.1", offload=OffloadChoice.ON)))
    assert deltas.keys() == {"hv1"}
    assert fabric.compiler.parts_compiled - compiled == 1
    after = fabric.compiler.desired("hv1").flows
    assert {parse(flow.cookie).feature for key, flow in before.flows.items() if key not in after} == {
        Feature.PIPELINE,
        Feature.TUNNEL,
    }
    fabric.do(put("hv1", host("192.0.2.1", offload=OffloadChoice.OFF)))
    assert fabric.compiler.desired("hv1") == before


def common(flows):
    """Return those that every bridge has, whatever networks it has."""
    return {key: flow for key, flow in flows.items() if parse(flow.cookie).feature == Feature.PIPELINE}


def test_the_flows_follow_the_tlv_map():
    fabric = Fabric()
    fabric.do(put("hv1", host("192.0.2.1")))
    before = common(fabric.compiler.desired("hv1").flows)
    fabric.do(put("context", schema(1)))
    after = common(fabric.compiler.desired("hv1").flows)
    assert after.keys() == before.keys()
    assert sum(flow != before[key] for key, flow in after.items()) == 4
    fabric.do(delete("option-schema/context"))
    assert common(fabric.compiler.desired("hv1").flows) == before
