# SPDX-License-Identifier: Apache-2.0
"""A real bridge on which somebody else mapped options: theirs stay, and what of ours does not fit is said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from controller.intent.commands import Delete, Put
from controller.intent.model import DatapathChoice, HostSpec, Kind
from controller.process import ControllerProcess, running
from controller.reconciler.status import Condition, Truth
from controller.settings import Settings
from tests.functional.fabric import BRIDGE, OvsHost
from tests.unit.intent.builders import network, port, schema

OURS = (0xFF00, 1, 4, 0)
THEIRS = (0xFF77, 1, 8, 0)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[OvsHost]:
    made = await asyncio.to_thread(OvsHost.start, "hv1", tmp_path / "hv1")
    yield made
    await asyncio.to_thread(made.daemons.end_all)


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[ControllerProcess]:
    async with running(Settings(state_directory=tmp_path / "state", slot_rest=0.2)) as made:
        yield made


async def put(process: ControllerProcess, name: str, kind: Kind, spec) -> None:
    await process.submit(Put(kind=kind, name=name, spec=spec))


async def enrol(process: ControllerProcess, host: OvsHost) -> None:
    spec = HostSpec(
        ovsdb=host.daemons.remote, endpoints=(IPv4Address("192.0.2.1"),), datapath=DatapathChoice.NETDEV
    )
    await put(process, "hv1", Kind.HOST, spec)


def programmed(process: ControllerProcess) -> Condition:
    (found,) = (one for one in process.conditions(process.intent.hosts["hv1"]) if one.type == "Programmed")
    return found


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


async def somebody(host: OvsHost, *arguments: str) -> None:
    """Do what another user of the bridge does, with ovs-ofctl."""
    await asyncio.to_thread(host.daemons.tool, "ovs-ofctl", arguments[0], BRIDGE, *arguments[1:])


async def mapped(host: OvsHost) -> set[tuple[int, int, int, int]]:
    return set((await asyncio.to_thread(host.held)).tlv_maps)


async def test_what_others_mapped_outlives_ours(process: ControllerProcess, host: OvsHost) -> None:
    await enrol(process, host)
    await until(lambda: programmed(process).status is Truth.TRUE, "hv1 is programmed")
    await somebody(host, "add-tlv-map", "{class=0xff77,type=2,len=8}->tun_metadata63")
    foreign = (0xFF77, 2, 8, 63)
    await put(process, "context", Kind.OPTION_SCHEMA, schema(1))
    await until(lambda: programmed(process).status is Truth.TRUE, "the option is mapped")
    assert await mapped(host) == {foreign, OURS}
    process.reconciler.programmers["hv1"].observe_again()
    await until(lambda: programmed(process).status is Truth.TRUE, "compared")
    await process.submit(Delete(kind=Kind.OPTION_SCHEMA, name="context"))
    await until(lambda: programmed(process).status is Truth.TRUE, "ours is let go")
    assert await mapped(host) == {foreign}


async def test_a_slot_that_is_taken_is_said_and_used_once_it_is_let_go(
    process: ControllerProcess, host: OvsHost
) -> None:
    # Somebody was there before us: the same bridge, not ours yet.
    await asyncio.to_thread(
        host.daemons.vsctl, "add-br", BRIDGE, "--", "set", "Bridge", BRIDGE, "datapath_type=netdev",
        "external_ids:ovs-geneve-owner=ovs-geneve",
    )  # fmt: skip
    await somebody(host, "add-tlv-map", "{class=0xff77,type=1,len=8}->tun_metadata0")
    await put(process, "context", Kind.OPTION_SCHEMA, schema(1))
    await put(process, "blue", Kind.NETWORK, network(100, "context"))
    await put(process, "web1", Kind.PORT, port("blue", 1, "10.0.0.1"))
    await enrol(process, host)
    await until(lambda: programmed(process).reason == "SlotTaken", "it is said")
    assert "tun_metadata0 is to be class 0xff00, type 0x01" in programmed(process).message
    assert await asyncio.to_thread(host.plug, "web1")
    await until(lambda: process.intent.host_of("web1") == "hv1", "web1 is bound")
    web1 = process.intent.ports["web1"]

    def port_says() -> str:
        return next(one.reason for one in process.conditions(web1) if one.type == "Programmed")

    await until(lambda: port_says() == "SlotTaken", "its port says why it does not work")
    held = await asyncio.to_thread(host.held)
    assert set(held.tlv_maps) == {THEIRS}
    assert held.flows, "what needs no option is there"
    assert not [flow for flow in held.flows if "tun_metadata" in flow]

    await somebody(host, "del-tlv-map", "{class=0xff77,type=1,len=8}->tun_metadata0")
    process.reconciler.programmers["hv1"].observe_again()
    await until(lambda: programmed(process).status is Truth.TRUE, "it is ours now")
    held = await asyncio.to_thread(host.held)
    assert set(held.tlv_maps) == {OURS}
    assert [flow for flow in held.flows if "tun_metadata" in flow]
    assert port_says() == "Acknowledged"


async def test_a_slot_rests_as_long_as_somebody_s_flow_holds_on_to_it(
    process: ControllerProcess, host: OvsHost
) -> None:
    await enrol(process, host)
    await put(process, "context", Kind.OPTION_SCHEMA, schema(1))
    await until(lambda: programmed(process).status is Truth.TRUE, "the option is mapped")
    await somebody(host, "add-flow", "cookie=0x1234,table=200,priority=7,tun_metadata0=1,actions=drop")
    await process.submit(Delete(kind=Kind.OPTION_SCHEMA, name="context"))
    await until(lambda: programmed(process).reason == "NXTTMFC_INVALID_TLV_DEL", "OVS does not let go of it")
    await asyncio.sleep(0.5)
    assert await mapped(host) == {OURS}
    assert process.intent.retired_slots, "it rests, whatever time has passed"
    await somebody(host, "del-flows", "cookie=0x1234/-1")
    await until(lambda: not process.intent.retired_slots, "it is tried again, and its rest ends")
    assert await mapped(host) == set()
