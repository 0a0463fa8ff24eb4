# SPDX-License-Identifier: Apache-2.0
"""Which ports have a place on a host at all."""

from __future__ import annotations

from controller.compiler.compile import Compiler
from controller.compiler.seats import Seat, Seats
from controller.intent.intent import Intent
from controller.intent.model import BindingSpec, Change, HostKind, Kind, Object, Payload
from tests.builders import after, bind, host, network, port, put


def test_a_port_of_ip_has_no_seat_at_a_bridge() -> None:
    """A store may say so all the same: the bridge then gets nothing of it, and others nothing that leads there."""
    intent = after(
        Intent(),
        put("hv1", host("192.0.2.1")),
        put("hv2", host("192.0.2.2")),
        put("lx1", host("192.0.2.3", kind=HostKind.LINUX)),
        put("routed", network(7, payload=Payload.IP)),
        put("blue", network(8)),
        put("ip1", port("routed", 1, "10.0.0.1")),
        put("ip2", port("routed", 2, "10.0.0.2")),
        put("web1", port("blue", 1, "10.0.0.1")),
        bind("ip2", "lx1"),
        bind("web1", "hv1"),
    )
    before = _compiled(intent)
    held: Object = Object(
        kind=Kind.BINDING, name="ip1", key=intent.ports["ip1"].key, spec=BindingSpec(host="hv1"), revision=99
    )
    bound = intent.with_changes((Change(kind=Kind.BINDING, name="ip1", old=None, new=held),), 99)
    seats = Seats()
    assert seats.move("ip1", bound) == (None, None)
    assert seats.move("ip2", bound) == (None, Seat("routed", "lx1"))
    assert seats.move("web1", bound) == (None, Seat("blue", "hv1"))
    for name in ("hv1", "hv2"):
        assert _compiled(bound).desired(name) == before.desired(name)


def _compiled(intent: Intent) -> Compiler:
    compiler = Compiler()
    objects = (one for kind in Kind for one in intent.objects(kind).values())
    compiler.update(intent, [Change(kind=one.kind, name=one.name, old=None, new=one) for one in objects])
    return compiler
