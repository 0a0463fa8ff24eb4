# SPDX-License-Identifier: Apache-2.0
"""The guard at a control socket that answers as ovs-vswitchd does; the real one is in tests/system/test_guard.py."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from controller.events import EventKind, EventLog
from controller.guard.guard import Guard, control_socket
from controller.guard.shield import ufid_of
from controller.intent.intent import Intent
from tests.builders import Fabric, host, network, put, schema
from tests.unit.guard.vectors import dump, megaflow


class Vswitchd:
    """Holds one cached drop until it is deleted."""

    def __init__(self) -> None:
        self.flows = dump("wrong-length")
        self.refusal: str | None = None
        self.commands: list[list[str]] = []
        self._counter = 7
        self.loses = 0
        "Upcalls, at each look."
        self._lost = 0

    def answer(self, method: str, words: list[str]) -> tuple[str | None, str | None]:
        self.commands.append([method, *words])
        match method:
            case "coverage/read-counter":
                return f"{self._counter}\n", None
            case "upcall/show":
                return (
                    "netdev@ovs-netdev:\n  flows         : (current 7) (avg 4) (max 9) (limit 10000)\n",
                    None,
                )
            case "dpctl/show":
                self._lost += self.loses
                return f"system@ovs-system:\n  lookups: hit:0 missed:{self._lost} lost:{self._lost}\n", None
            case "dpctl/dump-dps":
                return "netdev@ovs-netdev\n", None
            case "dpctl/dump-flows":
                return self.flows, None
            case "dpctl/del-flow":
                self.flows = ""
                self._counter += 1
        return ("", None) if self.refusal is None else (None, self.refusal)

    def told(self, method: str) -> list[list[str]]:
        return [command[1:] for command in self.commands if command[0] == method]

    @asynccontextmanager
    async def listening(self, directory: Path) -> AsyncIterator[None]:
        serving = set[asyncio.Task]()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            serving.add(asyncio.current_task())
            text, decoder = "", json.JSONDecoder()
            while piece := await reader.read(1 << 16):
                text += piece.decode()
                while text:
                    request, end = decoder.raw_decode(text)
                    text = text[end:]
                    result, error = self.answer(request["method"], request["params"])
                    writer.write(json.dumps({"id": request["id"], "result": result, "error": error}).encode())
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

        (directory / "ovs-vswitchd.pid").write_text("4711\n")
        async with await asyncio.start_unix_server(serve, directory / "ovs-vswitchd.4711.ctl"):
            yield
            await asyncio.wait(serving)


def intent() -> Intent:
    fabric = Fabric()
    fabric.do(
        put("hv1", host("fd09::1")),
        put("hv2", host("fd09::2")),
        put("context", schema(1)),
        put("blue", network(1000, "context")),
    )
    return fabric.intent


@asynccontextmanager
async def guarding(directory: Path, events: EventLog) -> AsyncIterator[Guard]:
    held = intent()
    guard = Guard(lambda: {"hv2": directory}, lambda: held, events)
    task = asyncio.create_task(guard.run())
    yield guard
    task.cancel()
    await asyncio.wait({task})


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not what():  # noqa: ASYNC110  # what it waits for has no event
            await asyncio.sleep(0.01)


async def test_a_cached_drop_is_taken_out_and_told_of(tmp_path: Path) -> None:
    vswitchd, events = Vswitchd(), EventLog()
    async with vswitchd.listening(tmp_path), guarding(tmp_path, events) as guard:
        await until(lambda: guard.conditions("hv2"))
        await until(lambda: vswitchd.told("dpctl/add-flow"))
        assert guard.guards("hv2")
        assert not guard.guards("hv1")
        (condition,) = guard.conditions("hv2")
        assert guard.conditions("hv1") == ()
    poison = megaflow("wrong-length")
    assert vswitchd.told("dpctl/del-flow") == [["netdev@ovs-netdev", f"ufid:{poison.ufid}"]]
    datapath, shield, actions = vswitchd.told("dpctl/add-flow")[0]
    assert (datapath, actions) == ("netdev@ovs-netdev", "drop")
    assert shield.startswith(f"ufid:{ufid_of(poison)},")
    assert (condition.type, condition.reason) == ("Degraded", "BadOptions")
    assert "hv1 (fd09::1) sent option context (0xff00/0x01) of 8 bytes" in condition.message
    told = {event.kind: event for event in events.since(0, 10)}
    assert told.keys() == {EventKind.BAD_OPTIONS, EventKind.PEER_CUT_OFF}
    assert told[EventKind.BAD_OPTIONS].count == 3
    assert (told[EventKind.BAD_OPTIONS].peer, told[EventKind.BAD_OPTIONS].network) == ("hv1", "blue")


class Kernel(Vswitchd):
    """Its datapath is the kernel's, which counts no drops; bad packets bring the cached drop back at once."""

    def answer(self, method: str, words: list[str]) -> tuple[str | None, str | None]:
        if method in ("coverage/read-counter", "dpctl/del-flow"):
            self.commands.append([method, *words])
            return ("0\n" if method == "coverage/read-counter" else ""), None
        return super().answer(method, words)


async def test_where_no_counter_moves_it_looks_again_soon_after_a_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.guard.guard._DUMP_EVERY", 1000.0)
    vswitchd, events = Kernel(), EventLog()
    vswitchd.flows = dump("kernel unknown-critical").replace("tun_id=0x3e9", "tun_id=0x3e8")
    async with vswitchd.listening(tmp_path), guarding(tmp_path, events) as guard:
        await until(lambda: len(vswitchd.told("dpctl/del-flow")) > 2)
        (condition,) = guard.conditions("hv2")
    assert vswitchd.told("dpctl/add-flow") == []
    assert "hv1 (fd09::1) sent 8 bytes of options that Open vSwitch refuses" in condition.message
    assert {event.kind for event in events.since(0, 10)} == {EventKind.BAD_OPTIONS, EventKind.PEER_CUT_OFF}


async def test_what_cannot_be_done_is_told(tmp_path: Path) -> None:
    vswitchd, events = Vswitchd(), EventLog()
    vswitchd.refusal = "dpctl/add-flow is not a valid command\n"
    async with vswitchd.listening(tmp_path), guarding(tmp_path, events):
        await until(lambda: any(event.kind is EventKind.CANNOT_HEAL for event in events.since(0, 10)))


async def test_a_host_whose_vswitchd_comes_later_is_guarded_then(tmp_path: Path) -> None:
    vswitchd, events = Vswitchd(), EventLog()
    async with guarding(tmp_path, events) as guard:
        await asyncio.sleep(0.1)
        assert not guard.guards("hv2")
        async with vswitchd.listening(tmp_path):
            await until(lambda: guard.guards("hv2"))
            await until(lambda: events.since(0, 1))


def test_where_vswitchd_takes_commands(tmp_path: Path) -> None:
    assert control_socket(tmp_path) is None
    (tmp_path / "ovs-vswitchd.pid").write_text("4711\n")
    assert control_socket(tmp_path) == tmp_path / "ovs-vswitchd.4711.ctl"
    (tmp_path / "ovs-vswitchd.ctl").touch()
    assert control_socket(tmp_path) == tmp_path / "ovs-vswitchd.ctl"


async def test_lost_upcalls_are_told_of(tmp_path: Path) -> None:
    vswitchd, events = Vswitchd(), EventLog()
    vswitchd.flows, vswitchd.loses = "", 3
    async with vswitchd.listening(tmp_path), guarding(tmp_path, events) as guard:
        await until(lambda: guard.conditions("hv2"))
        (condition,) = guard.conditions("hv2")
    assert (condition.type, condition.reason) == ("Degraded", "UpcallsLost")
    assert "took none of 3 packets" in condition.message
    assert [event.kind for event in events.since(0, 10)] == [EventKind.UPCALLS_LOST]
