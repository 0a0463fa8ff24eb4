# SPDX-License-Identifier: Apache-2.0
"""Objects survive the way into netlink messages and back; what a kernel sent is read; damage is no crash."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.kernel import codec_filters, codec_links, codec_neighbours, wire
from ovs_geneve.kernel.canonical import canonical_filter, canonical_geneve
from ovs_geneve.kernel.codec_flower import encode_flower
from ovs_geneve.kernel.netlink import Refusal, refusal
from ovs_geneve.kernel.objects import (
    Encap,
    Filter,
    Flower,
    GeneveLink,
    GeneveOptionMatch,
    KernelState,
    MatchAll,
    Neighbour,
    Route,
    joined,
)
from ovs_geneve.kernel.wire import Message
from tests import kernel_states

RECORDED = Path(__file__).parents[2] / "vectors" / "kernel.json"
WHOLE = joined([kernel_states.ethernet(), kernel_states.routed(), kernel_states.fixed()])
NAMES = dict(enumerate(sorted({*(one.name for one in WHOLE.links), "p1", "p5"}), start=1))
INDEXES = {name: n for n, name in NAMES.items()}


@pytest.mark.parametrize("one", sorted(WHOLE.filters, key=lambda one: one.key), ids=lambda one: str(one.key))
def test_filters_come_back(one: Filter) -> None:
    message = codec_filters.put_filter(one, INDEXES)
    assert codec_filters.decode_filter(message, NAMES) == canonical_filter(one)


options = st.lists(
    st.integers(1, 31).flatmap(
        lambda words: st.builds(
            GeneveOptionMatch,
            option_class=st.integers(0, 0xFFFF),
            option_type=st.integers(0, 0xFF),
            data=st.binary(min_size=4 * words, max_size=4 * words).map(bytes.hex),
            class_mask=st.integers(0, 0xFFFF),
            type_mask=st.integers(0, 0xFF),
            data_mask=st.binary(min_size=4 * words, max_size=4 * words).map(bytes.hex),
        )
    ),
    max_size=3,
)
flowers = st.builds(
    Flower,
    src_mac=st.none() | st.just("02:00:00:00:00:01"),
    dst_mac=st.none() | st.just("01:00:00:00:00:00/01:00:00:00:00:00"),
    src_ip=st.none() | st.sampled_from(("10.0.0.0/8", "10.0.0.1/32", "fd00::/8")),
    ip_proto=st.just(6),
    src_ports=st.none() | st.just((5, 5)),
    dst_ports=st.none() | st.just((5, 9)),
    arp_sip=st.none() | st.just("10.0.0.1/32"),
    enc_vni=st.none() | st.integers(0, 0xFFFFFF),
    enc_src=st.none() | st.sampled_from(("10.9.0.1", "fd09::1")),
    enc_dst_port=st.none() | st.just(6081),
    enc_options=options.map(tuple),
)


@given(flowers)
def test_flower_matches_come_back(match: Flower) -> None:
    one = Filter(device="p1", preference=2, protocol="ip", match=match, actions=(kernel_states.DROP,))
    assert codec_filters.decode_filter(codec_filters.put_filter(one, INDEXES), NAMES) == one


@pytest.mark.parametrize(
    ("kind", "flags", "expected"),
    [
        ("flower", 0x4, True),
        ("flower", 0x6, True),
        ("flower", 0x8, False),
        ("flower", None, False),
        ("fw", 0x4, False),
    ],
)
def test_a_filter_is_in_hardware_where_a_driver_said_so(kind: str, flags: int | None, expected: bool) -> None:
    told = b"" if flags is None else wire.u32(22, flags)  # TCA_FLOWER_FLAGS
    options = wire.nested(2, wire.u32(5, 0xFFFFFFFF) if kind == "fw" else b"", told)
    answer = Message(44, bytes(20) + wire.text(1, kind) + options)
    assert codec_filters.is_in_hardware(answer) is expected


@given(st.sampled_from(sorted(WHOLE.filters, key=lambda one: one.key)), st.data())
def test_damaged_filters_are_refused_not_crashed_on(one: Filter, data: st.DataObject) -> None:
    body = bytearray(codec_filters.put_filter(one, INDEXES).body)
    place = data.draw(st.integers(20, len(body) - 1))
    body[place] ^= data.draw(st.integers(1, 255))
    try:
        codec_filters.decode_filter(Message(0, bytes(body)), NAMES)
    except DecodeError:
        return


def test_ports_want_a_protocol_that_has_them() -> None:
    one = Filter(device="p1", preference=2, match=Flower(dst_ports=(1, 2)), actions=(kernel_states.DROP,))
    with pytest.raises(EncodeError, match="TCP, UDP or SCTP"):
        codec_filters.put_filter(one, INDEXES)


def test_a_match_without_conditions_is_match_all() -> None:
    one = Filter(device="p1", preference=2, match=Flower(), actions=(kernel_states.DROP,))
    assert codec_filters.decode_filter(codec_filters.put_filter(one, INDEXES), NAMES).match == MatchAll()


@pytest.mark.parametrize(
    ("protocol", "number"), [("ip", 0x0800), ("arp", 0x0806), ("ipv6", 0x86DD), ("rarp", 0x8035)]
)
def test_a_match_has_the_protocol_of_its_filter_as_tc_gives_it(protocol: str, number: int) -> None:
    assert encode_flower(Flower(), protocol) == wire.be16(8, number)


genevelinks = st.builds(
    GeneveLink,
    vni=st.integers(0, 0xFFFFFF),
    remote=st.sampled_from(("10.9.0.2", "fd09::2")),
    dst_port=st.integers(1, 0xFFFF),
    ttl=st.sampled_from(("inherit", "auto")) | st.integers(1, 255),
    tos=st.just("inherit") | st.integers(2, 255),
    df=st.sampled_from(("unset", "set", "inherit")),
    udp_csum=st.booleans(),
    udp6_zero_csum_tx=st.booleans(),
    udp6_zero_csum_rx=st.booleans(),
    inner_proto_inherit=st.booleans(),
) | st.builds(GeneveLink, dst_port=st.integers(1, 0xFFFF))


@given(genevelinks)
def test_geneve_devices_come_back(kind: GeneveLink) -> None:
    link = kernel_states.link("og-geneve", kind, mtu=1400, mac="02:00:00:00:00:01")
    interface = codec_links.decode_interface(codec_links.add_link(link))
    found = codec_links.decode_kind(interface)
    assert isinstance(found, GeneveLink)
    assert canonical_geneve(found) == canonical_geneve(kind)
    assert (interface.name, interface.mtu, interface.mac) == ("og-geneve", 1400, "02:00:00:00:00:01")


def test_no_change_of_an_external_device_says_anything_of_its_tunnels() -> None:
    changes = {}
    for kind in (GeneveLink(), GeneveLink(vni=78, remote="10.9.0.2")):
        raw = codec_links.change_link(kernel_states.link("og-geneve", kind, mtu=1400), 7)
        link = ifinfmsg(wire.packed(raw, 1, 0))
        link.decode()
        changes[kind.vni] = link.get_attr("IFLA_LINKINFO") is not None
    assert changes == {None: False, 78: True}


def test_pyroute2_reads_links_neighbours_and_routes_as_meant() -> None:
    link = ifinfmsg(wire.packed(codec_links.add_link(next(iter(kernel_states.fixed().links))), 1, 0))
    link.decode()
    data = link.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA")
    assert data.get_attr("IFLA_GENEVE_ID") == 78
    assert data.get_attr("IFLA_GENEVE_REMOTE") == "10.9.0.2"
    assert data.get_attr("IFLA_GENEVE_PORT") == 16081
    proxy = ndmsg(
        wire.packed(codec_neighbours.put_neighbour(Neighbour(device="p5", address="fd02::6"), INDEXES), 1, 0)
    )
    proxy.decode()
    assert (proxy.get("dst"), proxy["flags"]) == ("fd02::6", 8)
    route = rtmsg(
        wire.packed(
            codec_neighbours.put_route(Route(table=79, prefix="10.2.0.0/24", device="p5"), INDEXES), 1, 0
        )
    )
    route.decode()
    assert (route.get("dst"), route["dst_len"], route.get("table"), route["proto"]) == (
        "10.2.0.0",
        24,
        79,
        110,
    )


@pytest.mark.parametrize(
    "one",
    [
        Route(table=79, prefix="10.2.0.0/24", device="p5"),
        Route(table=1000, prefix="::/0", device="p5"),
        Route(
            table=79,
            prefix="10.2.0.6/32",
            device="p5",
            encap=Encap(vni=9, dst="10.9.0.2", options=kernel_states.options(3)),
        ),
        Route(table=79, prefix="fd02::6/128", device="p5", encap=Encap(vni=9, dst="fd09::2", ttl=5, tos=4)),
    ],
    ids=str,
)
def test_routes_come_back(one: Route) -> None:
    assert codec_neighbours.decode_route(codec_neighbours.put_route(one, INDEXES), NAMES) == one


def test_neighbours_come_back() -> None:
    for one in WHOLE.neighbours:
        assert codec_neighbours.decode_neighbour(codec_neighbours.put_neighbour(one, INDEXES), NAMES) == one


def test_what_a_kernel_sent_is_what_it_holds() -> None:
    """Recorded from Linux 6.1: the answers to dumps after tests.kernel_states.ethernet() was applied."""
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    interfaces = [codec_links.decode_interface(Message(0, bytes.fromhex(one))) for one in recorded["links"]]
    names = {one.index: one.name for one in interfaces}
    found = [Message(0, bytes.fromhex(one)) for one in recorded["filters"]]
    filters = frozenset(
        codec_filters.decode_filter(one, names) for one in found if not codec_filters.is_head(one)
    )
    desired = kernel_states.ethernet()
    assert filters == frozenset(canonical_filter(one) for one in desired.filters)
    fdb = [codec_neighbours.decode_fdb(Message(0, bytes.fromhex(one)), names) for one in recorded["fdb"]]
    assert frozenset(pair[0] for pair in fdb if pair) == desired.fdb
    ports = {one.name: one.port for one in interfaces if one.port}
    assert ports == {one.name: one.port for one in (*desired.links, *desired.attachments) if one.port}


def test_refusals_carry_the_kernels_words() -> None:
    words = wire.text(1, "Failed to load TC action module")
    body = (-2).to_bytes(4, "little", signed=True) + bytes(16) + words
    assert refusal(Message(2, body, 0x300)) == Refusal(2, "Failed to load TC action module")
    assert refusal(Message(2, bytes(20), 0x100)) is None


def test_states_travel_as_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(WHOLE), type=KernelState) == WHOLE
