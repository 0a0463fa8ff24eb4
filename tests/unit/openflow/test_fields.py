# SPDX-License-Identifier: Apache-2.0
"""Headers are those of OpenFlow and Nicira; one object a field."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_ken.ofproto import ofproto_protocol
from os_ken.ofproto import ofproto_v1_5_parser as osken

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.fields import Field, Form, parse_header, tun_metadata
from ovs_geneve.openflow.flow import Match

OSKEN_NAMES = {
    "dl_src": "eth_src",
    "dl_dst": "eth_dst",
    "dl_type": "eth_type",
    "nw_src": "ipv4_src",
    "nw_dst": "ipv4_dst",
    "nw_proto": "ip_proto",
    "nw_ecn": "ip_ecn",
    "nw_ttl": "nw_ttl",
    "icmp_type": "icmpv4_type",
    "icmp_code": "icmpv4_code",
    "ipv6_label": "ipv6_flabel",
    "nd_target": "ipv6_nd_target",
    "nd_sll": "ipv6_nd_sll",
    "nd_tll": "ipv6_nd_tll",
    "tun_id": "tunnel_id",
    "tun_src": "tun_ipv4_src",
    "tun_dst": "tun_ipv4_dst",
}
UNKNOWN_TO_OSKEN = {"tun_flags", "nd_reserved", "nd_options_type", "recirc_id", "ip_frag"}
ELSEWHERE_IN_OSKEN = {
    "actset_output": "os-ken has OpenFlow 1.4's experimenter header",
    "tcp_flags": "the same",
    "packet_type": "takes a pair",
}


def osken_number(field: Field, number: int) -> int | str:
    match field.form:
        case Form.MAC:
            return number.to_bytes(6).hex(":")
        case Form.IPV4:
            return ".".join(map(str, number.to_bytes(4)))
        case Form.IPV6:
            return number.to_bytes(16).hex(":", 2)
        case _:
            return number


def osken_match(field: Field, value: int, mask: int | None) -> bytes:
    name = OSKEN_NAMES.get(field.name, field.name)
    number = osken_number(field, value)
    match = osken.OFPMatch(**{name: number if mask is None else (number, osken_number(field, mask))})
    buffer = bytearray()
    match.serialize(buffer, 0)
    return bytes(buffer[4:])


def comparable() -> list[Field]:
    types = {info.name for info in ofproto_protocol.ProtocolDesc(version=6).ofproto.oxm_types}
    return [
        field
        for field in f.FIELDS
        if OSKEN_NAMES.get(field.name, field.name) in types
        and field.name not in ELSEWHERE_IN_OSKEN
        and field not in f.REGS + f.XXREGS
        and field is not f.VLAN_TCI
    ]


def test_osken_knows_most_fields() -> None:
    assert len(comparable()) > 45


@pytest.mark.parametrize("field", comparable(), ids=lambda field: field.name)
def test_terms_are_those_of_osken(field: Field) -> None:
    if not field.kept_mask:
        raw = Match.of((field, 1)).raw
        assert osken_match(field, 1, None)[: len(raw)] == raw
    if field.maskable and field.bits > 1:
        raw = Match.of((field, 1, 1)).raw
        assert osken_match(field, 1, 1)[: len(raw)] == raw


def test_headers_and_ranks_are_one_each() -> None:
    assert len({field.rank for field in f.FIELDS}) == len(f.FIELDS)
    assert len(f.BY_HEADER) == len(f.BY_NAME) == len(f.FIELDS)


@pytest.mark.parametrize("field", [*f.FIELDS, tun_metadata(0, 4), tun_metadata(63, 124), tun_metadata(9, 0)])
def test_a_header_names_its_field(field: Field) -> None:
    assert parse_header(field.header) == (field, False)
    assert parse_header(field.masked_header) == (field, True)


@pytest.mark.parametrize("field", [f.TUN_ID, f.REG7, tun_metadata(5, 8)])
def test_copies_are_the_same_object(field: Field) -> None:
    assert copy.deepcopy(field) is field
    assert pickle.loads(pickle.dumps(field)) is field


def test_tun_metadata_carries_the_mapped_length() -> None:
    assert tun_metadata(3, 16).header.hex() == "00015610"
    assert tun_metadata(3, 16) is tun_metadata(3, 16)
    assert tun_metadata(3, 16).rank < tun_metadata(4, 4).rank < f.XREG0.rank


@pytest.mark.parametrize(("index", "length"), [(-1, 4), (64, 4), (0, 3), (0, 128), (0, -4)])
def test_tun_metadata_that_cannot_be(index: int, length: int) -> None:
    with pytest.raises(EncodeError):
        tun_metadata(index, length)


@given(st.binary(min_size=4, max_size=4))
def test_any_header_is_known_or_refused(header: bytes) -> None:
    try:
        field, masked = parse_header(header)
    except DecodeError:
        return
    assert header == (field.masked_header if masked else field.header)
