# SPDX-License-Identifier: Apache-2.0
"""How much work a connection is: counted, not timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from benchmarks.rig.datapath import capture_syn, lookups_receiving, lookups_sending, megaflows, purge
from benchmarks.rig.traffic import connections
from controller.intent.model import Kind
from controller.lab import Underlay
from ovs_geneve.geneve.fields import FieldKind, OptionField, OptionLayout
from ovs_geneve.values import OptionClass, OptionType
from tests.system.overlay import Endpoint, Overlay

pytestmark = pytest.mark.system

CONTEXT = OptionLayout(
    name="context",
    option_class=OptionClass(0xFF00),
    option_type=OptionType(1),
    length=4,
    fields=(OptionField(name="tier", kind=FieldKind.UINT, offset=0, bits=8),),
)
FAMILIES = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(scope="module", params=[Underlay.IPV4, Underlay.IPV6], ids=str)
def shared(request: pytest.FixtureRequest, make_overlay: Callable[..., Overlay]) -> Overlay:
    overlay = make_overlay(hosts=2, underlay=request.param)
    overlay.schema(CONTEXT)
    return overlay


@pytest.fixture
def pair(overlay: Overlay) -> Iterator[tuple[Endpoint, Endpoint]]:
    """A port on hv1 that stamps an option, and one on hv2 that lets in only what is stamped so."""
    overlay.network("blue", options=("context",))
    source = overlay.port("blue", "hv1", 1, values={"context.tier": 2})
    target = overlay.port("blue", "hv2", 2, values={"context.tier": 3})
    overlay.policy("only2", "blue", [("context.tier", 2, 0xFF)], to_port=target.name)
    yield source, target
    overlay.controller.delete(Kind.OPTION_POLICY, "only2")


@FAMILIES
def test_many_connections_share_three_megaflows_a_side(
    overlay: Overlay, pair: tuple[Endpoint, Endpoint], version: int
) -> None:
    source, target = pair
    for host in overlay.lab.hosts:
        purge(host)
    with connections(overlay.lab, source.name, target.name, address(target, version), 200):
        for host in overlay.lab.hosts:
            found = megaflows(host, version)
            assert 1 < len(found) <= 3, "\n".join(found)


@FAMILIES
def test_a_first_packet_visits_few_tables(
    overlay: Overlay, pair: tuple[Endpoint, Endpoint], version: int
) -> None:
    source, target = pair
    lab = overlay.lab
    syn = capture_syn(
        lab, lab.host("hv2"), connections(lab, source.name, target.name, address(target, version), 1)
    )
    assert 0 < lookups_sending(lab.host("hv1"), source.name, syn) <= 10
    assert 0 < lookups_receiving(lab.host("hv2"), target.name, syn) <= 6


def address(port: Endpoint, version: int) -> str:
    return port.ipv4 if version == 4 else port.ipv6
