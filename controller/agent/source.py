# SPDX-License-Identifier: Apache-2.0
"""Where an agent gets what its kernel should hold, and tells how it is: by default a controller's REST API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import httpx
import msgspec

from controller.errors import ControllerError
from controller.kernels.report import AgentReport, PartUpdate, Synced
from controller.tls import reason_of, trusting
from ovs_geneve.kernel.objects import KernelState

_SILENCE_SECONDS = 30.0
"Three heartbeats of the controller."
_ANSWER_SECONDS = 10.0


class SourceUnavailable(ControllerError):
    """Raised when the source does not answer, or not sensibly; asking again may help."""

    retryable = True


class SourceRefused(ControllerError):
    """Raised when the source says that there is nothing for this host; `code` says why."""

    retryable = False

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Parts that changed together."""

    parts: Mapping[str, KernelState | None]
    whole: bool
    "These are all parts: others are no more."
    generation: str


class Source(Protocol):
    """What an agent follows."""

    def batches(self) -> AsyncIterator[Batch]:
        """Yield the whole, then what changes, until SourceUnavailable or SourceRefused is raised."""

    async def report(self, report: AgentReport) -> None:
        """Tell how the host is. Raises as `batches` does."""


class RestSource:
    """A controller at an http:// or https:// address, or at unix:PATH. An asynchronous context.

    Raises SetupError when nobody can be trusted with `ca`.
    """

    def __init__(self, url: str, host: str, ca: Path | None = None) -> None:
        path = url.removeprefix("unix:")
        base = "http://controller" if path != url else url if "://" in url else f"http://{url}"
        # Reading whom the system trusts takes longer than all else that an agent does before its first look.
        verify = trusting(ca) if ca is not None or base.startswith("https:") else False
        transport = httpx.AsyncHTTPTransport(uds=path, verify=False) if path != url else None
        self._url = url if path != url else base
        self._ca = ca
        self._http = httpx.AsyncClient(
            transport=transport,
            base_url=f"{base.rstrip('/')}/v1/hosts/{host}/",
            verify=verify,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield the whole, then what changes."""
        timeout = httpx.Timeout(_ANSWER_SECONDS, read=_SILENCE_SECONDS)
        parts: dict[str, KernelState | None] = {}
        whole = True
        try:
            async with self._stream(timeout) as answer:
                await _check(answer)
                async for name, data in _events(answer):
                    if name == "part":
                        update = msgspec.json.decode(data, type=PartUpdate)
                        parts[update.part] = update.state
                    elif name == "synced":
                        synced = msgspec.json.decode(data, type=Synced)
                        yield Batch(parts=parts, whole=whole, generation=synced.generation)
                        parts, whole = {}, False
        except (httpx.HTTPError, msgspec.DecodeError) as error:
            raise SourceUnavailable(reason_of(error, self._url, self._ca)) from error
        raise SourceUnavailable("the controller ended the stream")

    async def report(self, report: AgentReport) -> None:
        """Tell how the host is."""
        body = msgspec.json.encode(report)
        headers = {"Content-Type": "application/json"}
        try:
            answer = await self._http.post("report", content=body, headers=headers, timeout=_ANSWER_SECONDS)
            await _check(answer)
        except httpx.HTTPError as error:
            raise SourceUnavailable(reason_of(error, self._url, self._ca)) from error

    def _stream(self, timeout: httpx.Timeout) -> AbstractAsyncContextManager[httpx.Response]:
        return self._http.stream("GET", "kernel", headers={"Accept": "text/event-stream"}, timeout=timeout)


async def _events(answer: httpx.Response) -> AsyncIterator[tuple[str, str]]:
    """Yield the events of a stream with their data (HTML Living Standard, 9.2.6)."""
    name, data = "", ""
    async for line in answer.aiter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            data += value
        elif not line and data:
            yield name, data
            name, data = "", ""


async def _check(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    await answer.aread()
    is_problem = "json" in answer.headers.get("content-type", "")
    problem = answer.json() if is_problem else {}
    reason = str(problem.get("detail", f"HTTP status {answer.status_code}"))
    if answer.is_client_error:
        raise SourceRefused(str(problem.get("type", "")).rpartition("/")[2], reason)
    raise SourceUnavailable(reason)
