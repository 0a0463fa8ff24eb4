# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import pytest
from os_ken.controller import ofp_event
from os_ken.ofproto import get_ofp_modules, ofproto_parser, ofproto_v1_3, ofproto_v1_5

from ovs_geneve.errors import EncodeError
from ovs_geneve.openflow import osken_ext
from ovs_geneve.openflow.fields import tun_metadata
from ovs_geneve.openflow.flow import Match
from ovs_geneve.openflow.tlv_table import TlvCommand, TlvMap, encode_tlv_mod, encode_tlv_request

MAP = TlvMap(0x104, 0x10, 4, 0)


def speaking(version):
    # No ProtocolDesc: which versions that takes is a matter of all apps in the process.
    ofproto, parser = get_ofp_modules()[version]
    return SimpleNamespace(ofproto=ofproto, ofproto_parser=parser)


@pytest.fixture(params=[4, 5, 6], ids=["1.3", "1.4", "1.5"])
def datapath(request):
    osken_ext.install()
    return speaking(request.param)


def encoded(message) -> bytes:
    message.serialize()
    return bytes(message.buf)


def decoded(datapath, message: bytes):
    header = ofproto_parser.header(message)
    return ofproto_parser.msg(datapath, *header, bytearray(message))


def flow_mod(datapath, match, actions=()):
    parser, ofproto = datapath.ofproto_parser, datapath.ofproto
    instructions = [parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, list(actions))]
    return parser.OFPFlowMod(datapath, match=match, instructions=instructions)


def test_installing_twice_changes_nothing():
    osken_ext.install()
    fields, before = list(ofproto_v1_5.oxm_types), dict(ofp_event._OFP_MSG_EVENTS)
    osken_ext.install()
    assert ofproto_v1_5.oxm_types == fields
    assert before == ofp_event._OFP_MSG_EVENTS


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (5, bytes.fromhex("0001500400000005")),
        (bytes.fromhex("0000000000000005"), bytes.fromhex("000150080000000000000005")),
        (1 << 32, bytes.fromhex("000150080000000100000000")),
        ((0xAD0000, 0xFF0000), bytes.fromhex("0001510800ad000000ff0000")),
        ((b"\0" * 8, b"\0" * 8), bytes.fromhex("00015110") + bytes(16)),
    ],
)
def test_matches_are_encoded_as_ovs_wants_them(datapath, value, wire):
    match = datapath.ofproto_parser.OFPMatch(tun_metadata0=value)
    assert wire in encoded(flow_mod(datapath, match))


def test_match_has_the_bytes_of_our_own_encoder():
    osken_ext.install()
    datapath = speaking(6)
    match = datapath.ofproto_parser.OFPMatch(tun_metadata63=bytes(range(124)))
    ours = Match.of((tun_metadata(63, 124), int.from_bytes(bytes(range(124)))))
    assert ours.raw in encoded(flow_mod(datapath, match))


def test_what_was_decoded_encodes_to_the_same_bytes(datapath):
    parser = datapath.ofproto_parser
    value = (bytes(12) + b"\x05" + bytes(3), bytes(8) + b"\xff" * 8)
    actions = [parser.OFPActionSetField(tun_metadata1=b"\x05")]
    wire = encoded(flow_mod(datapath, parser.OFPMatch(in_port=10, tun_metadata7=value), actions))
    again = decoded(datapath, wire)
    assert again.match["tun_metadata7"] == (0x05000000, 0xFFFFFFFFFFFFFFFF)
    assert again.instructions[0].actions[0].value == 5
    again.xid = None
    assert encoded(again) == wire


def test_an_option_set_to_zero_comes_back_without_bytes(datapath):
    parser = datapath.ofproto_parser
    actions = [parser.OFPActionSetField(tun_metadata63=b"\x05"), parser.OFPActionOutput(1)]
    wire = encoded(flow_mod(datapath, parser.OFPMatch(), actions))
    stripped = wire.replace(bytes.fromhex("0001ce0105"), bytes.fromhex("0001ce0000"))
    assert stripped != wire
    first, second = decoded(datapath, stripped).instructions[0].actions
    assert isinstance(first, parser.OFPActionSetField)
    assert (first.key, first.value, second.port) == ("tun_metadata63", 0, 1)
    again = encoded(flow_mod(datapath, parser.OFPMatch(), [first]))
    assert bytes.fromhex("0001ce0400000000") in again


def test_fields_are_named_in_moves():
    osken_ext.install()
    datapath = speaking(6)
    parser = datapath.ofproto_parser
    move = parser.NXActionRegMove(src_field="tun_metadata0", dst_field="reg0", n_bits=32)
    again = decoded(datapath, encoded(flow_mod(datapath, parser.OFPMatch(), [move])))
    assert again.instructions[0].actions[0].src_field == "tun_metadata0"


@pytest.mark.parametrize("value", [-1, 1 << 992, bytes(125)], ids=["negative", "int", "bytes"])
def test_values_that_do_not_fit(datapath, value):
    with pytest.raises(EncodeError):
        encoded(flow_mod(datapath, datapath.ofproto_parser.OFPMatch(tun_metadata0=value)))


def test_field_numbers():
    osken_ext.install()
    assert ofproto_v1_5.oxm_from_user("tun_metadata0", 1)[0] == 1 << 7 | 40
    assert ofproto_v1_3.oxm_from_user("tun_metadata63", 1)[0] == 1 << 7 | 103


def test_tlv_messages_are_those_of_the_codec():
    osken_ext.install()
    datapath = speaking(6)
    assert encoded(osken_ext.tlv_table_mod(datapath, TlvCommand.ADD, [MAP])) == encode_tlv_mod(
        TlvCommand.ADD, [MAP]
    )
    assert encoded(osken_ext.tlv_table_request(datapath)) == encode_tlv_request()


def test_tlv_messages_are_decoded(datapath):
    mod = decoded(datapath, encoded(osken_ext.tlv_table_mod(datapath, TlvCommand.DELETE, [MAP])))
    assert (mod.command, mod.maps) == (TlvCommand.DELETE, (MAP,))
    assert decoded(datapath, encoded(osken_ext.tlv_table_request(datapath))).exp_type == 25


def test_tlv_reply_comes_as_an_event(datapath):
    reply = "04002800000002000023200000001a000001000040000000000000000000000104100400000000"
    wire = bytes((datapath.ofproto.OFP_VERSION,)) + bytes.fromhex(reply)
    message = decoded(datapath, wire)
    assert (message.max_option_space, message.max_fields, message.maps) == (256, 64, (MAP,))
    event = ofp_event.ofp_msg_to_ev(message)
    assert isinstance(event, ofp_event.EventNXTTlvTableReply)


@pytest.mark.parametrize(
    ("body", "name"),
    [("ffff002600002320", "NXTTMFC_INVALID_TLV_DEL"), ("00040005", "OFPBMC_BAD_WILDCARDS")],
)
def test_errors_have_their_names(datapath, body, name):
    wire = bytes((datapath.ofproto.OFP_VERSION, 1, 0, 8 + len(body) // 2)) + bytes(4) + bytes.fromhex(body)
    assert osken_ext.name_of_error(decoded(datapath, wire)) == name
