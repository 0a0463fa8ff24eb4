# SPDX-License-Identifier: Apache-2.0
"""The routes of agents: what a Linux host's kernel should hold, and what its agent tells of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, HeaderParameter, JSONBody
from litestar.response import Stream

from controller.api.body import CheckBody
from controller.api.handlers import Backend
from controller.kernels.hosts import LinuxHosts
from controller.kernels.report import AgentReport, HostKernel, PartUpdate, Synced

HEARTBEAT_SECONDS = 10.0
"How often a stream with nothing to tell says that it lives."

_EVENTS = "text/event-stream"
_Accept = Annotated[
    str,
    HeaderParameter(name="Accept", description="text/event-stream: all parts, then changed ones, for ever."),
]


@get("/hosts/{name:str}/kernel", summary="What a Linux host's kernel should hold", tags=["hosts"])
async def kernel(backend: Backend, name: FromPath[str], accept: _Accept = "*/*") -> Response[Any]:
    """Show it, or stream it: events `part`, after each batch `synced`, between them comments that keep it alive."""
    hosts = backend.linux
    found = hosts.kernel(name)
    if _EVENTS not in accept:
        return Response(msgspec.json.encode(found), media_type="application/json")
    return Stream(_events(hosts, name), media_type=_EVENTS, headers={"Cache-Control": "no-store"})


@post(
    "/hosts/{name:str}/report",
    summary="An agent's report",
    tags=["hosts"],
    status_code=204,
    before_request=CheckBody(AgentReport),
)
async def report(backend: Backend, name: FromPath[str], data: JSONBody[AgentReport]) -> None:
    """Take in what an agent tells of its host: interfaces, what the kernel lacks and refuses, how far it is."""
    backend.linux.report(name, data)


async def _events(hosts: LinuxHosts, host: str) -> AsyncIterator[bytes]:
    feed = hosts.follow(host)
    turn = feed.turn
    try:
        changed = frozenset(hosts.kernel(host).parts)
        first = True
        while True:
            if changed or first:
                found = hosts.kernel(host)
                for event in _batch(found, changed):
                    yield event
            else:
                yield b": alive\n\n"
            first = False
            waited = await feed.wait(turn, HEARTBEAT_SECONDS)
            if waited is None:
                return
            changed = waited
    finally:
        hosts.left(host, feed, turn)


def _batch(found: HostKernel, parts: frozenset[str]) -> list[bytes]:
    updates = [
        PartUpdate(part=part, state=found.parts.get(part), revision=found.revision) for part in sorted(parts)
    ]
    synced = Synced(generation=found.generation, revision=found.revision)
    return [*(_event("part", one) for one in updates), _event("synced", synced)]


def _event(name: str, value: PartUpdate | Synced) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(value))
