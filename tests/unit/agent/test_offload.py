# SPDX-License-Identifier: Apache-2.0
"""What agents see of offload: the devices below their tunnels, and which filters a NIC has."""

from __future__ import annotations

from controller.agent.offload import OffloadState, look, told
from controller.intent.model import TunnelStyle
from controller.kernels.report import SeenFilters
from controller.linux.layout import TUNNEL_DEVICE
from ovs_geneve.kernel.objects import GeneveLink, KernelState, Link, joined
from ovs_geneve.kernel.observation import Observation
from ovs_geneve.offload.nic import FEATURES
from tests.builders import bind, network, port, put, schema
from tests.builders import host as ovs_host
from tests.unit.linux.builders import LinuxFabric, linux

Parts = dict[str, KernelState]


def parts_of(*endpoints: str, peer: str = "10.9.0.2", **rest: object) -> Parts:
    """Return what a host holds that has one network with an option and one peer."""
    fabric = LinuxFabric()
    fabric.do(
        put("lx1", linux(*endpoints, **rest)),
        put("hv2", ovs_host(peer)),
        put("context", schema(1)),
        put("blue", network(100, "context")),
        put("a1", port("blue", 1, "10.0.0.1")),
        put("b1", port("blue", 2, "10.0.0.2")),
        bind("a1", "lx1"),
        bind("b1", "hv2"),
    )
    fabric.plug("lx1", a1="tap1")
    return {str(name): part.state for name, part in fabric.held["lx1"].items()}


def seen(parts: Parts) -> OffloadState:
    return look(joined(parts.values()), Observation())


def test_the_device_with_the_endpoint_is_looked_at() -> None:
    state = seen(parts_of("127.0.0.1"))
    (device,) = state.uplinks
    assert (device.name, device.tunnel_ports, state.problems) == ("lo", None, ())
    assert {one.name for one in device.features} == set(FEATURES)
    (offload,) = [one for one in device.features if one.name == "hw-tc-offload"]
    assert (offload.active, offload.fixed) == (False, True)


def test_an_endpoint_that_no_device_has_is_said_beside_those_that_are_there() -> None:
    state = seen(parts_of("192.0.2.77", "127.0.0.1"))
    assert [one.name for one in state.uplinks] == ["lo"]
    (problem,) = state.problems
    assert "no device has 192.0.2.77" in problem


def test_fixed_tunnels_say_no_endpoint_of_their_own_and_are_found_by_the_route() -> None:
    state = seen(parts_of("10.9.0.1", peer="127.0.0.9", tunnels=TunnelStyle.FIXED))
    assert ([one.name for one in state.uplinks], state.problems) == (["lo"], ())
    kind = GeneveLink(vni=100, remote="255.255.255.255")
    link = Link(name="og000064x3", kind=kind, alias="ovs-geneve network blue", mtu=1500)
    state = seen({"network/blue": KernelState(links=frozenset({link}))})
    assert (state.uplinks, state.problems) == (
        (),
        ("no route leads to 255.255.255.255: the NIC towards it is not known",),
    )


def test_filters_are_counted_by_device_and_network() -> None:
    parts = parts_of("127.0.0.1")
    whole = joined(parts.values())
    taken = {one.key for one in whole.filters if one.device == TUNNEL_DEVICE and one.key in _keys(parts)}
    state = look(whole, Observation(state=whole, in_hardware=frozenset(taken)))
    counts = told(state, parts).filters
    assert sum(one.filters for one in counts) == len(whole.filters)
    places = {(one.device, one.egress, one.part): (one.filters, one.in_hardware) for one in counts}
    assert len(places) == len(counts)
    assert set(places) == {
        ("og-b000064", False, "network/blue"),
        ("og-geneve", False, "host"),
        ("og-geneve", False, "network/blue"),
        ("og-t000064", True, "network/blue"),
        ("tap1", False, "network/blue"),
    }
    assert places["og-geneve", False, "network/blue"] == (len(taken), len(taken))
    assert {in_hardware for place, (_, in_hardware) in places.items() if "blue" not in place[2]} == {0}


def test_a_filter_that_is_no_more_wanted_is_counted_all_the_same() -> None:
    parts = parts_of("127.0.0.1")
    left = look(KernelState(), Observation(state=joined(parts.values())))
    assert {one.part for one in told(left, {}).filters} == {""}
    (one,) = told(OffloadState(filters={("tap9", False, 0, 1, 1): True}), parts).filters
    assert one == SeenFilters("tap9", egress=False, part="", filters=1, in_hardware=1)


def _keys(parts: Parts) -> set[object]:
    return {one.key for one in parts["network/blue"].filters}
