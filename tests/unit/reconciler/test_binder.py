# SPDX-License-Identifier: Apache-2.0
"""Bindings follow interfaces, through a store that may be away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from controller.errors import NotFound, StoreUnavailable
from controller.intent.commands import Bind, Unbind, evaluate
from controller.intent.intent import Intent
from controller.intent.model import HostKind, Payload
from controller.reconciler import binder as binder_module
from controller.reconciler.binder import Binder
from tests.builders import after, bind, delete, group, group_policy, host, network, port, put


class Rig:
    """A binder on an intent that its commands change."""

    def __init__(self) -> None:
        self.intent = after(
            Intent(),
            put("hv1", host("192.0.2.1")),
            put("hv2", host("192.0.2.2")),
            put("blue", network(100)),
            put("web1", port("blue", 1)),
            put("db1", port("blue", 2, interface_id="disk")),
        )
        self.commands: list[Bind | Unbind] = []
        self.failures: list[Exception] = []
        self.binder = Binder(lambda: self.intent, self._submit)

    async def _submit(self, command) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.commands.append(command)
        changes = evaluate(self.intent, command).changes
        self.intent = self.intent.with_changes(changes, self.intent.revision + 1)

    def report(self, name: str, *interfaces: str) -> None:
        self.binder.report(name, frozenset(interfaces))

    async def settled(self) -> list[Bind | Unbind]:
        for _ in range(5):
            await asyncio.sleep(0)
        commands, self.commands = self.commands, []
        return commands


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    task = asyncio.create_task(made.binder.run())
    yield made
    task.cancel()
    await asyncio.wait({task})


async def test_port_is_bound_by_its_name_or_its_interface_id(rig: Rig) -> None:
    rig.report("hv1", "web1", "disk", "db1", "nobody's")
    assert await rig.settled() == [bind("db1", "hv1"), bind("web1", "hv1")]


async def test_port_follows_its_interface(rig: Rig) -> None:
    rig.report("hv1", "web1")
    rig.report("hv2")
    await rig.settled()
    rig.report("hv2", "web1")
    assert await rig.settled() == [bind("web1", "hv2")]
    rig.report("hv1")
    assert await rig.settled() == []
    rig.report("hv2")
    assert await rig.settled() == [Unbind(port="web1")]


async def test_interface_that_was_there_before_its_port(rig: Rig) -> None:
    rig.report("hv1", "late")
    assert await rig.settled() == []
    rig.intent = after(rig.intent, put("late", port("blue", 3)))
    rig.binder.look_again(["late"])
    assert await rig.settled() == [bind("late", "hv1")]


async def test_host_that_reports_first_loses_ports_it_does_not_have(rig: Rig) -> None:
    rig.intent = after(rig.intent, bind("web1", "hv1"))
    rig.report("hv2")
    assert await rig.settled() == [], "hv1 was not heard from"
    rig.report("hv1")
    assert await rig.settled() == [Unbind(port="web1")]


async def test_host_that_is_dropped_gives_its_ports_to_others(rig: Rig) -> None:
    rig.report("hv2", "web1")
    rig.report("hv1", "web1")
    await rig.settled()
    rig.intent = after(rig.intent, delete(f"host/{rig.intent.host_of('web1') or 'hv2'}"))
    gone = "hv1" if "hv1" not in rig.intent.hosts else "hv2"
    rig.binder.drop(gone)
    assert [command.host for command in await rig.settled()] == ["hv2" if gone == "hv1" else "hv1"]


async def test_port_is_not_bound_where_it_cannot_be_until_it_can(rig: Rig) -> None:
    routed = put("far", network(200, payload=Payload.IP)), put("ip1", port("far", 3, "10.0.0.1"))
    linux = put("lx1", host("192.0.2.3", kind=HostKind.LINUX))
    rig.intent = after(rig.intent, linux, *routed)
    rig.report("lx1", "ip1")
    assert await rig.settled() == [bind("ip1", "lx1")]
    assert rig.binder.refusal_of("ip1") == ""
    # It turns up where it cannot be, and stays while it is still where it can.
    rig.report("hv1")
    rig.report("hv1", "ip1")
    assert await rig.settled() == []
    assert "host hv1 cannot do networks of IP" in rig.binder.refusal_of("ip1")
    rig.report("lx1")
    assert await rig.settled() == [Unbind(port="ip1")]
    assert "host hv1 cannot" in rig.binder.refusal_of("ip1")
    rig.report("hv1")
    await rig.settled()
    assert rig.binder.refusal_of("ip1") == ""


async def test_what_kept_a_port_from_a_host_goes(rig: Rig) -> None:
    stateful = group_policy("red", "web", stateful=True)
    rig.intent = after(
        rig.intent,
        put("lx1", host("192.0.2.3", kind=HostKind.LINUX)),
        put("web", group()),
        put("red", network(300, "identity")),
        put("r1", port("red", 3, group="web")),
        put("p", stateful),
    )
    rig.report("lx1", "r1")
    assert await rig.settled() == []
    assert "policy/p needs that of port/r1" in rig.binder.refusal_of("r1")
    rig.intent = after(rig.intent, put("p", replace(stateful, stateful=False)))
    rig.binder.look_at_refused()
    assert await rig.settled() == [bind("r1", "lx1")]
    assert rig.binder.refusal_of("r1") == ""


async def test_store_that_is_away_is_asked_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binder_module, "_RETRY_SECONDS", 0.0)
    rig.failures = [StoreUnavailable("away"), StoreUnavailable("away")]
    rig.report("hv1", "web1")
    async with asyncio.timeout(5):
        while not rig.commands:  # noqa: ASYNC110 - the binder tells nobody
            await asyncio.sleep(0)
    assert rig.commands == [bind("web1", "hv1")]


async def test_port_that_goes_meanwhile_stops_nothing(rig: Rig) -> None:
    rig.failures = [NotFound("not-found", "there is no port/web1")]
    rig.report("hv1", "web1")
    assert await rig.settled() == []
    rig.report("hv1", "web1", "disk")
    assert await rig.settled() == [bind("db1", "hv1")]


async def test_port_whose_interface_is_plugged_is_bound_as_it_is_declared(rig: Rig) -> None:
    rig.report("hv1", "new", "disk9")
    assert rig.binder.follow_up(put("new", port("blue", 9))) == bind("new", "hv1")
    assert rig.binder.follow_up(put("other", port("blue", 9, interface_id="disk9"))) == bind("other", "hv1")
    assert rig.binder.follow_up(put("other", port("blue", 9))) is None
    assert rig.binder.follow_up(delete("port/web1")) is None
    assert rig.binder.follow_up(put("red", network(101))) is None
