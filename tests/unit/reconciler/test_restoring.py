# SPDX-License-Identifier: Apache-2.0
"""An ovs-vswitchd that waits for its flows is told to go on once it has them: not earlier, and not never."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.hoststate import HostFacts
from controller.intent.model import Kind
from controller.reconciler.status import Truth
from tests.builders import bind, host, network, port, put
from tests.fakes.switch import FakeBridge
from tests.unit.reconciler.test_reconciler import UP, Rig

BACK = replace(UP, facts=HostFacts(dpid=1, ofports={"web1": 5}))
WAITING = replace(BACK, restoring=True)


@pytest.fixture
def rig() -> Rig:
    made = Rig()
    made.do(
        put("hv1", host("192.0.2.1")),
        put("blue", network(100)),
        put("web1", port("blue", 1, "10.0.0.1")),
        bind("web1", "hv1"),
    )
    made.report("hv1", 1, web1=5)
    made.connect(1)
    made.settle()
    made.links.looked_at.clear()
    return made


def test_it_goes_on_when_all_is_acknowledged_on_a_new_connection(rig: Rig) -> None:
    rig.disconnect(1)
    rig.reconciler.host_reported("hv1", WAITING)
    rig.bridges[1] = FakeBridge()
    rig.connect(1)
    assert not rig.reconciler.has_flows_back("hv1")
    said = rig.condition(Kind.HOST, "hv1", "Programmed")
    assert (said.status, said.reason) == (Truth.FALSE, "FlowRestoreWait")
    rig.settle()
    assert rig.in_sync("hv1", 1)
    assert rig.reconciler.has_flows_back("hv1")
    assert "hv1" in rig.links.looked_at
    rig.reconciler.host_reported("hv1", BACK)
    rig.settle()
    assert not rig.reconciler.has_flows_back("hv1")
    assert rig.condition(Kind.HOST, "hv1", "Programmed").status is Truth.TRUE


def test_the_old_process_does_not_end_the_wait_of_the_new_one(rig: Rig) -> None:
    rig.reconciler.host_reported("hv1", WAITING)
    rig.do(put("web2", port("blue", 2, "10.0.0.2")))
    rig.settle()
    assert not rig.reconciler.has_flows_back("hv1")
    rig.disconnect(1)
    assert not rig.reconciler.has_flows_back("hv1")
    rig.connect(1)
    rig.settle()
    assert rig.reconciler.has_flows_back("hv1")


def test_a_wait_that_nobody_ends_is_ended(rig: Rig) -> None:
    rig.reconciler.host_reported("hv1", WAITING)
    rig.settle()
    assert not rig.links.looked_at
    rig.fire()
    assert rig.links.looked_at == ["hv1"]
    assert rig.reconciler.has_flows_back("hv1")


def test_what_others_restored_is_looked_at_again(rig: Rig) -> None:
    rig.disconnect(1)
    rig.reconciler.host_reported("hv1", WAITING)
    rig.connect(1)
    rig.settle()
    rig.bridges[1].flows.clear()
    rig.reconciler.host_reported("hv1", BACK)
    rig.settle()
    assert rig.in_sync("hv1", 1)
