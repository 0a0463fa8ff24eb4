# SPDX-License-Identifier: Apache-2.0
"""Why a host is waited for, and who acts for which hosts."""

from __future__ import annotations

import pytest

from controller.intent.commands import Record
from controller.intent.model import CapabilitySpec, Kind
from controller.rollout.hosts import RolloutHosts
from ovs_geneve.openflow.tlv_table import TlvMap
from tests.builders import bind, host, network, port, put, schema
from tests.unit.reconciler.test_reconciler import Rig

OPTION = TlvMap(0xFF00, 1, 4, 0)


class Shared:
    """Other controllers: who holds what, and who is behind."""

    name = "me"

    def __init__(self, **holders: str) -> None:
        self.holders = holders
        self.behind: set[str] = set()

    def holder_of(self, host: str) -> str | None:
        return self.holders.get(host)

    def is_behind(self, host: str, revision: int) -> bool:
        return host in self.behind


@pytest.fixture
def rig() -> Rig:
    made = Rig()
    made.do(
        put("hv1", host("192.0.2.1")),
        put("hv2", host("192.0.2.2")),
        put("context", schema(1)),
        put("blue", network(100, "context")),
        put("web1", port("blue", 1)),
        bind("web1", "hv1"),
    )
    made.report("hv1", 1, web1=1)
    return made


def lacks(rig: Rig, sight: RolloutHosts, name: str, option: TlvMap | None = OPTION) -> str:
    held = rig.intent.get(Kind.NETWORK, "blue")
    assert held is not None
    return sight.lacks(name, rig.intent.revision, held.key, option)


def test_a_host_of_ours(rig: Rig) -> None:
    sight = RolloutHosts(rig.reconciler)
    assert sight.hosts_of("blue") == {"hv1"}
    assert lacks(rig, sight, "hv1") == "not connected"
    rig.connect(1)
    assert lacks(rig, sight, "hv1") == "not acknowledged yet"
    rig.settle()
    assert lacks(rig, sight, "hv1") == ""
    rig.disconnect(1)
    assert lacks(rig, sight, "hv1") == "", "it has it, whether or not it is there"
    rig.do(put("blue", network(100, "context", values={"context.tier": 1})))
    assert lacks(rig, sight, "hv1") == "not connected"


def test_a_host_on_which_somebody_else_has_the_slot(rig: Rig) -> None:
    sight = RolloutHosts(rig.reconciler)
    rig.connect(1)
    rig.bridges[1].tlv_maps = frozenset({TlvMap(0xFF77, 1, 4, 0)})
    rig.settle()
    assert lacks(rig, sight, "hv1").startswith("SlotTaken, tun_metadata0 is to be class 0xff00")


def test_a_host_of_another_controller(rig: Rig) -> None:
    rig.reconciler.serve(frozenset({"hv1"}))
    sight = RolloutHosts(rig.reconciler)
    sight.shared = shared = Shared(hv1="me", hv2="other")
    assert lacks(rig, sight, "hv2") == ""
    shared.behind.add("hv2")
    assert lacks(rig, sight, "hv2") == "not acknowledged yet"
    foreign = CapabilitySpec(foreign=(TlvMap(0xFF77, 1, 4, 0),))
    rig.do(Record(name="hv2", spec=foreign))
    assert lacks(rig, sight, "hv2") == "SlotTaken, tun_metadata0"
    assert lacks(rig, sight, "hv2", None) == "not acknowledged yet", "what goes out needs no slot"
    del shared.holders["hv2"]
    assert lacks(rig, sight, "hv2") == "no controller serves it"


def test_one_acts_the_holder_of_the_first_host_that_anybody_holds(rig: Rig) -> None:
    sight = RolloutHosts(rig.reconciler)
    assert sight.is_ours({"hv1", "hv2"}), "all are ours"
    sight.shared = Shared(hv1="me", hv2="other")
    assert sight.is_ours({"hv1", "hv2"})
    assert not sight.is_ours({"hv2"})
    sight.shared = Shared(hv2="other")
    assert not sight.is_ours({"hv1", "hv2"}), "nobody holds hv1"
    sight.shared = Shared()
    assert sight.is_ours({"hv1"}), "somebody must"
