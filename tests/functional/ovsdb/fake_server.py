# SPDX-License-Identifier: Apache-2.0
"""An OVSDB server that misbehaves on request: ends the channel at any point of a session, in any manner."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from enum import Enum, auto

ROW = "11111111-2222-4333-8444-555555555555"

SCHEMA = {
    "name": "Open_vSwitch",
    "version": "8.3.0",
    "tables": {
        "Bridge": {"columns": {"name": {"type": "string"}, "ports": {"type": {"key": "integer", "max": 9}}}}
    },
}

UPDATE = {
    "id": None,
    "method": "update3",
    "params": ["Open_vSwitch", ROW, {"Bridge": {ROW: {"modify": {"name": "y"}}}}],
}


class Ending(Enum):
    """How a session ends."""

    AT_ONCE = auto()
    "Closed as soon as it is accepted."
    AFTER_REQUEST = auto()
    "Closed when the client has asked for the schema."
    HALF_SCHEMA = auto()
    "Cut off with a reset in the middle of the schema."
    BEFORE_SNAPSHOT = auto()
    "Closed instead of an answer to the monitor."
    HALF_SNAPSHOT = auto()
    CLEAN = auto()
    "Closed in service, nothing pending."
    RESET = auto()
    "Reset in service."
    HALF_UPDATE = auto()
    "Reset in the middle of an update."
    GARBAGE = auto()
    "Sends bytes that are no JSON-RPC, and stays."
    BAD_UPDATE = auto()
    "Sends an update of a row it never told of, and stays."
    SILENT = auto()
    "Answers nothing any more, probes neither, and stays."
    HALF_SILENT = auto()
    "Stays, in the middle of an update."
    NEVER = auto()
    "Goes on for ever."


class FakeServer(asyncio.Protocol):
    """One session; `ending` says how it ends."""

    def __init__(self, ending: Ending, gone: Callable[[FakeServer], None]) -> None:
        self.ending = ending
        self.transport: asyncio.Transport
        self._gone = gone
        self._buffer = ""

    def connection_made(self, transport) -> None:
        self.transport = transport
        if self.ending is Ending.AT_ONCE:
            transport.close()

    def connection_lost(self, exc) -> None:
        self._gone(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data.decode()
        while self._buffer:
            try:
                request, end = json.JSONDecoder().raw_decode(self._buffer)
            except ValueError:
                return
            self._buffer = self._buffer[end:]
            self._serve(request)

    def _serve(self, request: dict) -> None:
        method = request.get("method")
        if method == "get_schema":
            self._answer(request, SCHEMA, Ending.AFTER_REQUEST, Ending.HALF_SCHEMA)
        elif method == "monitor_cond_since":
            snapshot = {"Bridge": {ROW: {"initial": {"name": "x"}}}}
            self._answer(request, [False, ROW, snapshot], Ending.BEFORE_SNAPSHOT, Ending.HALF_SNAPSHOT)
            asyncio.get_running_loop().call_soon(self._end)
        elif method == "echo" and self.ending not in (Ending.SILENT, Ending.HALF_SILENT):
            self._send({"id": request["id"], "result": [], "error": None})

    def _answer(self, request: dict, result: object, instead: Ending, half: Ending) -> None:
        message = {"id": request["id"], "result": result, "error": None}
        if self.ending is instead:
            self.transport.close()
        elif self.ending is half:
            self._half(message)
            self.transport.abort()
        else:
            self._send(message)

    def _end(self) -> None:
        """End a session that came as far as its snapshot."""
        match self.ending:
            case Ending.CLEAN:
                self.transport.close()
            case Ending.RESET:
                self.transport.abort()
            case Ending.HALF_UPDATE:
                self._half(UPDATE)
                self.transport.abort()
            case Ending.HALF_SILENT:
                self._half(UPDATE)
            case Ending.GARBAGE:
                self.transport.write(b"\x16\x03\x01 what?")
            case Ending.BAD_UPDATE:
                self._send(json.loads(json.dumps(UPDATE).replace("1111", "2222")))

    def _send(self, message: object) -> None:
        if not self.transport.is_closing():
            self.transport.write(json.dumps(message).encode())

    def _half(self, message: object) -> None:
        text = json.dumps(message).encode()
        self.transport.write(text[: len(text) // 2])


class Fakes:
    """A listening place; session after session ends as `endings` says, the last ending repeats."""

    def __init__(self, endings: list[Ending]) -> None:
        self._endings = list(reversed(endings))
        self.sessions: set[FakeServer] = set()
        self.accepted = 0

    async def listen(self, *, path: str | None = None, tls: ssl.SSLContext | None = None) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        if path is not None:
            return await loop.create_unix_server(self._accept, path)
        return await loop.create_server(self._accept, "127.0.0.1", 0, ssl=tls)

    def _accept(self) -> FakeServer:
        self.accepted += 1
        ending = self._endings.pop() if len(self._endings) > 1 else self._endings[0]
        session = FakeServer(ending, self.sessions.discard)
        self.sessions.add(session)
        return session
