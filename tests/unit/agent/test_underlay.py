# SPDX-License-Identifier: Apache-2.0
"""Workloads that may send more than the underlay carries are named, with what to change."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from controller.agent.underlay import path_mtu, too_narrow
from ovs_geneve.kernel.objects import KernelState, joined
from tests.builders import bind, network, port, put, schema
from tests.builders import host as ovs_host
from tests.unit.linux.builders import LinuxFabric, linux


def state(*endpoints: str, mtu: int | None, **rest: object) -> KernelState:
    """Return what a host holds that has one network with an option and one peer."""
    fabric = LinuxFabric()
    fabric.do(
        put("lx1", linux(*endpoints, underlay_mtu=mtu, **rest)),
        put("hv2", ovs_host(*(one.replace("1", "2") for one in endpoints), underlay_mtu=mtu)),
        put("context", schema(1)),
        put("blue", network(100, "context")),
        put("a1", port("blue", 1, "10.0.0.1")),
        put("b1", port("blue", 2, "10.0.0.2")),
        bind("a1", "lx1"),
        bind("b1", "hv2"),
    )
    fabric.plug("lx1", a1="tap1")
    return joined(part.state for part in fabric.held["lx1"].values())


@pytest.mark.parametrize(("endpoint", "overhead"), [("10.9.0.1", 50), ("fd09::1", 70)])
def test_one_byte_too_little_is_told_with_both_figures(endpoint: str, overhead: int) -> None:
    desired = state(endpoint, mtu=1600)
    (inner,) = {one.mtu for one in desired.attachments}
    assert inner is not None
    assert inner == 1600 - overhead - 8
    assert too_narrow(desired, lambda address, port: 1600) == ()
    (problem,) = too_narrow(desired, lambda address, port: 1599)
    assert (problem.object, problem.reason) == ("dummy device og-t000064", "UnderlayMtu")
    assert f"packets of {inner} bytes take 1600" in problem.message
    assert "underlay_mtu 1599" in problem.message


def test_where_nothing_leads_or_nobody_said_nothing_is_told() -> None:
    assert too_narrow(state("10.9.0.1", mtu=1600), lambda address, port: None) == ()
    assert too_narrow(state("10.9.0.1", mtu=None), lambda address, port: 68) == ()
    desired = state("10.9.0.1", mtu=1600)
    bare = frozenset(replace(one, mtu=None) for one in desired.attachments)
    assert too_narrow(replace(desired, attachments=bare), lambda address, port: 68) == ()


def test_the_kernel_is_asked_for_its_route() -> None:
    assert path_mtu("127.0.0.1", 6081) == 65535
    assert path_mtu("255.255.255.255", 6081) is None
