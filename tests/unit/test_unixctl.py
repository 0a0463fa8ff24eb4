# SPDX-License-Identifier: Apache-2.0
"""Commands to a daemon's control socket. The real daemon answers in tests/system/test_guard.py."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ovs_geneve.errors import ConnectionLost
from ovs_geneve.unixctl import CommandFailed, call


@asynccontextmanager
async def daemon(
    path: Path, answer: Callable[[dict], bytes], *, hang_up: bool = False
) -> AsyncIterator[Path]:
    served = list[asyncio.Task]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        decoder, text = json.JSONDecoder(), ""
        while not hang_up and (piece := await reader.read(65536)):
            text += piece.decode()
            while text:
                request, end = decoder.raw_decode(text)
                text = text[end:]
                raw = answer(request)
                for at in range(0, len(raw), 1000):
                    writer.write(raw[at : at + 1000])
                    await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_unix_server(serve, path)
    async with server:
        yield path
        await asyncio.wait(served or [asyncio.create_task(asyncio.sleep(0))])


def reply(request: dict, result: str | None, error: str | None = None) -> bytes:
    return json.dumps({"id": request["id"], "result": result, "error": error}).encode()


async def test_replies_come_in_order_and_errors_are_told(tmp_path: Path) -> None:
    def answer(request: dict) -> bytes:
        if request["method"] == "bad":
            return reply(request, None, "no such thing\n")
        return reply(request, " ".join([request["method"], *request["params"]]))

    async with daemon(tmp_path / "ctl", answer) as path:
        first, second, third = await call(path, [("a", "1"), ("bad",), ("c",)])
    assert (first.text, third.text) == ("a 1", "c")
    assert first.error is None
    with pytest.raises(CommandFailed, match=r"^no such thing$"):
        assert second.text


async def test_a_long_answer_with_braces_at_every_place(tmp_path: Path) -> None:
    long = "}{" * 40_000
    async with daemon(tmp_path / "ctl", lambda request: reply(request, long)) as path:
        (got,) = await call(path, [("dump",)])
    assert got.text == long


async def test_a_daemon_that_is_not_there_or_hangs_up(tmp_path: Path) -> None:
    with pytest.raises(ConnectionLost):
        await call(tmp_path / "none", [("a",)])
    async with daemon(tmp_path / "ctl", lambda request: b"", hang_up=True) as path:
        with pytest.raises(ConnectionLost):
            await call(path, [("a",)])
