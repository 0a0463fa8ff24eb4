# SPDX-License-Identifier: Apache-2.0
"""GENEVE vports: OVS's spelling of each option, every limit from both sides."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.values import OfPort, Vni
from ovs_geneve.vport import GeneveVport

V4 = IPv4Address("192.0.2.1")
V6 = IPv6Address("2001:db8::1")


def test_the_plain_vport_is_one_for_all_peers_and_networks():
    assert GeneveVport(name="geneve0").options() == {"remote_ip": "flow", "key": "flow"}


def test_every_option_as_ovs_spells_it():
    vport = GeneveVport(
        name="g",
        remote_ip=V6,
        local_ip=IPv6Address("2001:db8::2"),
        key=Vni(0xFFFFFF),
        dst_port=6082,
        csum=True,
        ttl=255,
        tos=0xB8,
        df_default=False,
    )
    assert vport.options() == {
        "remote_ip": "2001:db8::1",
        "local_ip": "2001:db8::2",
        "key": "16777215",
        "dst_port": "6082",
        "csum": "true",
        "ttl": "255",
        "tos": "0xb8",
        "df_default": "false",
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "a" * 15},
        {"name": "é" * 7},
        {"ofport_request": OfPort(1)},
        {"ofport_request": OfPort(0xFEFF)},
        {"key": Vni(0)},
        {"dst_port": 1},
        {"dst_port": 65535},
        {"ttl": 1},
        {"ttl": "inherit"},
        {"tos": 0},
        {"tos": 0xFC},
        {"tos": "inherit"},
        {"csum": False},
        {"local_ip": "flow"},
        {"local_ip": V4},
        {"local_ip": V6, "remote_ip": V6},
    ],
)
def test_what_ovs_takes_can_be_built_and_read_back(fields):
    vport = GeneveVport(**{"name": "g", **fields})
    assert GeneveVport.from_options(vport.name, vport.options(), vport.ofport_request) == vport


@pytest.mark.parametrize(
    ("fields", "culprit"),
    [
        ({"name": ""}, "name"),
        ({"name": "a" * 16}, "name"),
        ({"name": "é" * 8}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "a\n"}, "name"),
        ({"name": ".."}, "name"),
        ({"ofport_request": 0}, "ofport"),
        ({"ofport_request": 0xFF00}, "ofport"),
        ({"key": -1}, "vni"),
        ({"key": 1 << 24}, "vni"),
        ({"dst_port": 0}, "dst_port"),
        ({"dst_port": 65536}, "dst_port"),
        ({"ttl": 0}, "ttl"),
        ({"ttl": 256}, "ttl"),
        ({"tos": -4}, "tos"),
        ({"tos": 1}, "tos"),
        ({"tos": 2}, "tos"),
        ({"tos": 256}, "tos"),
        ({"remote_ip": ip_address("224.0.0.1")}, "remote_ip"),
        ({"remote_ip": ip_address("255.255.255.255")}, "remote_ip"),
        ({"remote_ip": ip_address("0.0.0.0")}, "remote_ip"),
        ({"remote_ip": ip_address("ff02::1")}, "remote_ip"),
        ({"remote_ip": ip_address("fe80::1%eth0")}, "remote_ip"),
        ({"local_ip": ip_address("::")}, "local_ip"),
        ({"local_ip": "flow", "remote_ip": V4}, "local_ip"),
        ({"local_ip": V6, "remote_ip": V4}, "local_ip"),
    ],
)
def test_the_error_names_the_field(fields, culprit):
    with pytest.raises(EncodeError) as caught:
        GeneveVport(**{"name": "g", **fields})
    assert caught.value.field == culprit


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"remote_ip": "flow"}, {"key": Vni(0)}),
        ({"remote_ip": "flow", "in_key": "flow", "out_key": "flow"}, {}),
        ({"remote_ip": "flow", "in_key": "5", "key": "5"}, {"key": Vni(5)}),
        ({"remote_ip": "flow", "key": "0x10"}, {"key": Vni(16)}),
        ({"remote_ip": "flow", "key": "flow", "tos": "184"}, {"tos": 0xB8}),
        ({"remote_ip": "flow", "key": "flow", "csum": "1"}, {"csum": False}),
        ({"remote_ip": "flow", "key": "flow", "df_default": "1"}, {"df_default": True}),
        ({"remote_ip": "flow", "key": "flow", "dst_port": "6081"}, {}),
    ],
)
def test_other_spellings_of_ovs_are_read(options, expected):
    assert GeneveVport.from_options("g", options) == GeneveVport(name="g", **expected)


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        ({}, "remote_ip"),
        ({"remote_ip": "hv1"}, "remote_ip"),
        ({"remote_ip": "flow", "local_ip": ""}, "local_ip"),
        ({"remote_ip": "192.0.2.1", "local_ip": "flow"}, "local_ip"),
        ({"remote_ip": "flow", "key": "x"}, "key"),
        ({"remote_ip": "flow", "key": "16777216"}, "vni"),
        ({"remote_ip": "flow", "in_key": "1", "out_key": "2"}, "in_key"),
        ({"remote_ip": "flow", "key": "flow", "ttl": "x"}, "ttl"),
        ({"remote_ip": "flow", "key": "flow", "tos": "3"}, "tos"),
        ({"remote_ip": "flow", "key": "flow", "dst_port": "0"}, "dst_port"),
        ({"remote_ip": "flow", "key": "flow", "psk": "secret"}, "psk"),
    ],
)
def test_options_that_are_none_of_ours_name_the_option(options, culprit):
    with pytest.raises(DecodeError) as caught:
        GeneveVport.from_options("g", options)
    assert caught.value.where == f"options:{culprit}"
    assert "secret" not in str(caught.value)


unicast4 = st.integers(1 << 24, (224 << 24) - 1).map(IPv4Address)
unicast6 = st.integers(1, (0xFF << 120) - 1).map(IPv6Address)
flow = st.just("flow")
inherit = st.just("inherit")


@st.composite
def vports(draw):
    endpoint = draw(st.sampled_from([unicast4, unicast6]))
    remote = draw(endpoint | flow)
    local = draw(st.none() | endpoint | (flow if remote == "flow" else st.none()))
    return GeneveVport(
        name=draw(st.from_regex(r"[a-z][a-z0-9_.-]{0,14}", fullmatch=True)),
        ofport_request=draw(st.none() | st.integers(1, 0xFEFF).map(OfPort)),
        remote_ip=remote,
        local_ip=local,
        key=draw(st.integers(0, 0xFFFFFF).map(Vni) | flow),
        dst_port=draw(st.integers(1, 0xFFFF)),
        csum=draw(st.none() | st.booleans()),
        ttl=draw(st.none() | inherit | st.integers(1, 255)),
        tos=draw(st.none() | inherit | st.integers(0, 63).map(lambda dscp: dscp << 2)),
        df_default=draw(st.none() | st.booleans()),
    )


@given(vports())
def test_options_lead_back_to_the_vport(vport):
    assert GeneveVport.from_options(vport.name, vport.options(), vport.ofport_request) == vport
