# SPDX-License-Identifier: Apache-2.0
"""The routes of agents: what a Linux host's kernel should hold, and what its agent tells of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, HeaderParameter, JSONBody
from litestar.response import Stream

from controller.api.body import CheckBody
from controller.api.handlers import Backend
from controller.kernels.hosts import LinuxHosts
from controller.kernels.report import AgentReport, PartUpdate, Synced
from controller.linux.part import Part

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
        yield _batch(hosts, host, hosts.compiler.parts(host))
        while True:
            waited = await feed.wait(turn, HEARTBEAT_SECONDS)
            if waited is None:
                return
            yield _batch(hosts, host, waited) if waited else b": alive\n\n"
    finally:
        hosts.left(host, feed, turn)


def _batch(hosts: LinuxHosts, host: str, parts: Iterable[Part]) -> bytes:
    events = [_event("part", one) for one in hosts.updates(host, parts)]
    return b"".join([*events, _event("synced", hosts.synced(host))])


def _event(name: str, value: PartUpdate | Synced) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(value))
