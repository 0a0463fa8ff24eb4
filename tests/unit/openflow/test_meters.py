# SPDX-License-Identifier: Apache-2.0
"""Meters are sent as os-ken sends them and read as OVS reports them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.ofproto import ofproto_v1_5 as ofp
from os_ken.ofproto import ofproto_v1_5_parser as osken
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.action_codec import encode_actions, uses_meter
from ovs_geneve.openflow.actions import Clone, Controller, Meter, Output, SetField
from ovs_geneve.openflow.meters import (
    MeterCommand,
    MeterEntry,
    MeterUnit,
    decode_meter_desc,
    encode_meter,
    encode_meter_delete,
    meter_desc_request,
)

DATAPATH = ProtocolDesc(version=6)
METER = MeterEntry(meter_id=0x6E1, rate=40, burst=9)

# Open vSwitch 3.1.0 has meter 1761 with one band and 1769 with two.
BY_OVS = bytes.fromhex(
    "06130050 00000005 000a0000 00000000 0028000e 000006e9 00010010 00000005 00000007 00000000"
    "00010010 00000005 00000007 00000000 0018000e 000006e1 00010010 00000028 00000009 00000000"
)


def sent_by_osken(message: osken.MsgBase) -> bytes:
    message.set_xid(9)
    message.serialize()
    return bytes(message.buf)


@pytest.mark.parametrize(
    ("unit", "flag"), [(MeterUnit.PACKETS, ofp.OFPMF_PKTPS), (MeterUnit.KBITS, ofp.OFPMF_KBPS)]
)
@pytest.mark.parametrize(
    ("ours", "theirs"), [(MeterCommand.ADD, ofp.OFPMC_ADD), (MeterCommand.MODIFY, ofp.OFPMC_MODIFY)]
)
def test_a_meter_is_that_of_osken(ours: MeterCommand, theirs: int, unit: MeterUnit, flag: int) -> None:
    flags = flag | ofp.OFPMF_BURST | ofp.OFPMF_STATS
    band = osken.OFPMeterBandDrop(rate=40, burst_size=9)
    message = osken.OFPMeterMod(DATAPATH, theirs, flags, 0x6E1, [band])
    entry = MeterEntry(meter_id=0x6E1, rate=40, burst=9, unit=unit)
    assert encode_meter(ours, entry, xid=9) == sent_by_osken(message)


def test_deletion_and_question_are_those_of_osken() -> None:
    deletion = osken.OFPMeterMod(DATAPATH, ofp.OFPMC_DELETE, 0, 0x6E1, [])
    assert encode_meter_delete(0x6E1, xid=9) == sent_by_osken(deletion)
    question = osken.OFPMeterDescStatsRequest(DATAPATH, 0, ofp.OFPM_ALL)
    assert meter_desc_request(9) == sent_by_osken(question)


def test_what_ovs_reports() -> None:
    meters = dict(decode_meter_desc(BY_OVS))
    assert meters[0x6E1] == METER.content
    assert meters.keys() == {0x6E1, 0x6E9}
    assert meters[0x6E9] != METER.content


@given(st.integers(0, len(BY_OVS)), st.binary(max_size=8))
def test_any_bytes_are_read_or_refused(at: int, junk: bytes) -> None:
    try:
        decode_meter_desc(BY_OVS[:at] + junk + BY_OVS[at + len(junk) :])
    except DecodeError as error:
        assert error.reason  # noqa: PT017  refused on purpose


@pytest.mark.parametrize(
    "wrong",
    [{"meter_id": 0}, {"meter_id": 0xFFFF0001}, {"rate": 0}, {"rate": 1 << 32}, {"burst": 0}, {"burst": -1}],
)
def test_meters_that_cannot_be(wrong: dict[str, int]) -> None:
    with pytest.raises(EncodeError):
        MeterEntry(**({"meter_id": 1, "rate": 1, "burst": 1} | wrong))


def test_which_actions_use_a_meter() -> None:
    for action in (Meter(7), Controller(userdata=b"x", meter_id=7), Clone((Controller(meter_id=7),))):
        message = encode_actions((Output(1), action))
        assert uses_meter(message, 7)
        assert not uses_meter(message, 8)
    assert not uses_meter(encode_actions((Output(7), SetField(f.REG0, 7), Controller())), 7)
