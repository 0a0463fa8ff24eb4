# SPDX-License-Identifier: Apache-2.0
"""What interfaces are asked to carry, and which hosts have to be looked at when that changes."""

from __future__ import annotations

from controller.intent.commands import evaluate
from controller.intent.intent import Intent
from controller.reconciler.mtus import Mtus
from tests.builders import bind, host, network, port, put, rolled_out, schema


class Rig:
    def __init__(self) -> None:
        self.intent, self.mtus = Intent(), Mtus()

    def do(self, *commands) -> frozenset[str]:
        changes = []
        for command in commands:
            decided = evaluate(self.intent, command).changes
            self.intent = self.intent.with_changes(decided, self.intent.revision + 1)
            changes += decided
        return self.mtus.follow(self.intent, changes)


def declared(address: str, mtu: int | None = 1600):
    return host(address, underlay_mtu=mtu)


def rig() -> Rig:
    made = Rig()
    made.do(
        put("hv1", declared("192.0.2.1")),
        put("hv2", declared("192.0.2.2")),
        put("context", schema(1)),
        put("blue", network(100)),
        put("red", network(200)),
        put("web1", port("blue", 1, interface_id="tap1")),
        put("far1", port("red", 1)),
        bind("web1", "hv1"),
        bind("far1", "hv2"),
    )
    return made


def test_an_interface_carries_what_its_network_does():
    made = rig()
    assert made.mtus.interface("tap1") == made.mtus.network("blue") == 1550
    assert made.mtus.interface("web1") is None, "its iface-id is another"
    assert made.mtus.interface("stranger") is None


def test_options_make_it_narrower_where_the_network_is():
    made = rig()
    assert made.do(put("blue", network(100, "context"))) == {"hv1"}
    assert made.mtus.interface("tap1") == 1542
    assert made.mtus.interface("far1") == 1550
    made.do(put("blue", network(100)))
    assert made.mtus.interface("tap1") == 1542, "it is still on its way out"
    assert made.do(rolled_out("blue", "context")) == {"hv1"}
    assert made.mtus.interface("tap1") == 1550


def test_a_narrower_host_concerns_all():
    made = rig()
    assert made.do(put("hv3", declared("192.0.2.3"))) == frozenset(), "two are as narrow already"
    assert made.do(put("hv3", declared("192.0.2.3", 1400))) == {"hv1", "hv2", "hv3"}
    assert made.mtus.network("red") == 1350


def test_nothing_is_asked_on_an_assumption():
    made = rig()
    made.do(put("hv3", declared("192.0.2.3", None)))
    assert made.mtus.network("blue") == 1450
    assert made.mtus.interface("tap1") is None
    made.do(put("hv3", declared("192.0.2.3", 1600)))
    assert made.mtus.interface("tap1") == 1550


def test_a_port_that_comes_or_goes_concerns_its_host():
    made = rig()
    assert made.do(put("web2", port("blue", 2)), bind("web2", "hv2")) == {"hv2"}
    assert made.do(put("web1", port("blue", 1, "10.0.0.1", interface_id="tap1"))) == frozenset()
