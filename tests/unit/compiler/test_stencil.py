# SPDX-License-Identifier: Apache-2.0
"""A stencil gives what the feature itself gives, for any numbers, and is refused for a feature that looks at them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.compiler import port_flows
from controller.compiler.cookies import Feature
from controller.compiler.features import local_port, neighbours, tunnel
from controller.compiler.stencil import Stencil, seal_flows
from controller.compiler.views import PortView
from controller.intent.model import MAX_KEY
from ovs_geneve.errors import EncodeError
from ovs_geneve.openflow.actions import Output
from ovs_geneve.openflow.bundle import Block
from ovs_geneve.openflow.fields import IN_PORT, tun_metadata
from ovs_geneve.openflow.flow import Flow, Match


def bits(number: int):
    return st.integers(0, (1 << number) - 1)


@st.composite
def ports(draw) -> PortView:
    lengths = draw(st.lists(st.sampled_from([0, 4, 8, 124]), max_size=3))
    fields = [tun_metadata(slot, length) for slot, length in enumerate(lengths)]
    return PortView(
        key=draw(st.integers(1, MAX_KEY)),
        vni=draw(bits(24)),
        mac=draw(bits(48)),
        ipv4=tuple(draw(st.lists(bits(32), max_size=3))),
        ipv6=tuple(draw(st.lists(bits(128), max_size=3))),
        stamps=tuple((field, draw(bits(8 * field.width))) for field in fields),
        salt=draw(st.binary(max_size=4)),
        group=draw(bits(16)),
    )


@given(ports(), st.integers(1, 0xFEFF), bits(32), bits(128))
def test_ports_are_encoded_as_their_features_say(port: PortView, ofport: int, ipv4: int, ipv6: int) -> None:
    answers = seal_flows(neighbours.flows(port), Feature.NEIGHBOURS, port.key)
    assert port_flows.answers(port) == answers
    local = seal_flows(local_port.flows(port, ofport), Feature.LOCAL, port.key, port.salt)
    assert port_flows.local(port, ofport) == local
    for endpoint in (IPv4Address(ipv4), IPv6Address(ipv6)):
        way = seal_flows((tunnel.remote_port_flow(port, endpoint),), Feature.REMOTE, port.key)
        assert port_flows.way(port, endpoint) == way


def test_blocks_of_one_shape_share_their_ends() -> None:
    def port(key: int) -> PortView:
        return PortView(key=key, vni=1, mac=key, ipv4=(key,), ipv6=(), stamps=(), salt=b"")

    assert port_flows.local(port(1), 1).ends is port_flows.local(port(2), 2).ends


def test_feature_that_looks_at_a_number_has_no_stencil() -> None:
    def odd_or_even(numbers) -> list[Flow]:
        actions = (Output(1),) if numbers[0] % 2 else ()
        return [Flow(table=0, priority=1, match=Match.of((IN_PORT, numbers[0])), actions=actions)]

    def next_port(numbers) -> list[Flow]:
        return [Flow(table=0, priority=1, match=Match.of(), actions=(Output(numbers[0] + 1 & 0xFFFFFFFF),))]

    for feature in (odd_or_even, next_port):
        with pytest.raises(EncodeError):
            Stencil.of(feature, (4,))


def test_feature_without_flows_gives_an_empty_block() -> None:
    stencil = Stencil.of(lambda numbers: (), (4, 6))
    assert stencil.pack(Feature.LOCAL, 1, (5, 6)) == Block(b"", ())
