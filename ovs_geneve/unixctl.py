# SPDX-License-Identifier: Apache-2.0
"""The control socket of an OVS daemon on this machine: what `ovs-appctl` talks to (ovs-appctl(8)).

JSON-RPC 1.0 over a Unix socket, as OVS `lib/unixctl.c` has it: the method is the command, the parameters are words,
the result is text, and so is an error.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ovs_geneve.errors import ConnectionLost

Command = tuple[str, ...]
"A command and its arguments."

_SECONDS = 5.0
"A daemon that takes longer is busy with something worse than us."

_MOST = 64 << 20
"Bytes of all answers of one call: about 100,000 megaflows."


class CommandFailed(Exception):
    """Raised by `Reply.text` of a command that the daemon refused; the text is what it said."""


class Reply:
    """What a daemon answered to one command."""

    def __init__(self, result: str | None, error: str | None) -> None:
        self.error = error
        "None when the command was carried out."
        self._result = result or ""

    @property
    def text(self) -> str:
        """Return what the command printed, or raise CommandFailed."""
        if self.error is not None:
            raise CommandFailed(self.error.strip())
        return self._result


async def call(socket: Path, commands: Sequence[Command]) -> list[Reply]:
    """Send commands in one write and return their replies, in order; ConnectionLost when the daemon is not there.

    ovs-vswitchd carries out up to ten of them in one turn of its main loop, which also polls the userspace datapath's
    ports: no packet comes between them (OVS lib/unixctl.c, run_connection).
    """
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_unix_connection(socket, limit=_MOST)
            try:
                writer.write(b"".join(_encode(number, command) for number, command in enumerate(commands)))
                return await _replies(reader, len(commands))
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError) as error:
        raise ConnectionLost(f"{socket}: {error or 'no answer'}") from error


def _encode(number: int, command: Command) -> bytes:
    return json.dumps({"method": command[0], "params": command[1:], "id": number}).encode()


async def _replies(reader: asyncio.StreamReader, count: int) -> list[Reply]:
    """Read so many objects: nothing is between them but what JSON itself has."""
    decoder, replies, raw = json.JSONDecoder(), list[Reply](), bytearray()
    while len(replies) < count:
        piece = await reader.read(1 << 20)
        if not piece or len(raw) + len(piece) > _MOST:
            raise ConnectionResetError("it hung up" if not piece else "too much to take in")
        raw += piece
        if not raw.rstrip().endswith(b"}"):
            continue  # a dump comes in many pieces: decoding each time would be quadratic
        text = raw.decode(errors="replace").lstrip()
        while text:
            try:
                answer, end = decoder.raw_decode(text)
            except json.JSONDecodeError:
                break
            replies.append(Reply(answer.get("result"), answer.get("error")))
            text = text[end:].lstrip()
        raw = bytearray(text.encode())
    return replies
