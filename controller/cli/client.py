# SPDX-License-Identifier: Apache-2.0
"""The CLI's side of the REST API: requests, and problems put into words."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import httpx

from controller.tls import reason_of, trusting

DEFAULT_SERVER = "127.0.0.1:6680"

COLLECTIONS = {
    "host": "hosts",
    "network": "networks",
    "port": "ports",
    "option-schema": "option-schemas",
    "option-policy": "option-policies",
    "group": "groups",
    "policy": "policies",
    "option-profile": "option-profiles",
    "tunnel": "tunnels",
    "rollout": "rollouts",
}
"Collection by kind."


class Refused(click.ClickException):
    """Raised when the controller refuses a request; shows the problem's field and holder."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.status = problem.get("status")
        text = str(problem.get("detail", problem))
        if problem.get("pointer"):
            text = f"{problem['pointer']}: {text}"
        super().__init__(text)


CA = "OVS_GENEVE_CA"
"The environment variable that names a file of whom to trust."


class Client:
    """One controller, at ADDRESS:PORT, http(s)://ADDRESS:PORT or unix:PATH; `ca` has who signed its certificate."""

    def __init__(self, server: str, ca: Path | None = None) -> None:
        self.server = server
        named = os.environ.get(CA)
        self._ca = ca or (Path(named) if named else None)
        path = server.removeprefix("unix:")
        if path != server:
            transport = httpx.HTTPTransport(uds=path, verify=False)  # nobody is to be trusted: no TLS there
            self._http = httpx.Client(transport=transport, base_url="http://controller", timeout=310)
        else:
            base = server if server.startswith(("http://", "https://")) else f"http://{server}"
            verify = trusting(self._ca) if base.startswith("https:") else True
            self._http = httpx.Client(base_url=base, timeout=310, verify=verify)
        if context := click.get_current_context(silent=True):
            context.call_on_close(self.close)

    def close(self) -> None:
        """End its connections; a command's own client is closed with the command."""
        self._http.close()

    def get(self, path: str, **query: str) -> Any:
        """GET a path under /v1."""
        return self._ask("GET", path, query=query).json()

    def each(self, collection: str) -> Iterator[dict[str, Any]]:
        """Yield all objects of a collection."""
        cursor: str | None = ""
        while cursor is not None:
            page = self.get(collection, cursor=cursor)
            yield from page["items"]
            cursor = page.get("next")

    def post(
        self,
        path: str,
        document: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None,
        **query: str,
    ) -> httpx.Response:
        """POST a document, many of them, or nothing."""
        return self._ask("POST", path, document=document, query=query)

    def put(self, path: str, document: Mapping[str, Any]) -> Any:
        """PUT a document and return the object."""
        return self._ask("PUT", path, document=document, query={}).json()

    def delete(self, path: str, **query: str) -> None:
        """DELETE an object."""
        self._ask("DELETE", path, query=query)

    def _ask(
        self, method: str, path: str, *, query: Mapping[str, str], document: object = None
    ) -> httpx.Response:
        try:
            answer = self._http.request(method, f"/v1/{path}", params=dict(query), json=document)
        except httpx.TransportError as error:
            url = self.server if "://" in self.server else f"http://{self.server}"
            said = reason_of(error, url, self._ca).removeprefix(f"{url}: ")
            raise click.ClickException(
                f"no controller at {self.server}: {said} (start one: ovs-geneve controller, or name it: --server)"
            ) from error
        if answer.is_error:
            raise Refused(answer.json() if "json" in answer.headers.get("content-type", "") else {})
        return answer


def collection_of(kind: str) -> str:
    """Return the collection of a kind, spelled either way; refuse others."""
    if kind in COLLECTIONS.values():
        return kind
    if kind not in COLLECTIONS:
        raise click.UsageError(f"{kind!r} is no kind: want one of {', '.join(COLLECTIONS)}")
    return COLLECTIONS[kind]


def kind_of(kind: str) -> str:
    """Return the singular of a kind, spelled either way; refuse others."""
    collection = collection_of(kind)
    return next(one for one, many in COLLECTIONS.items() if many == collection)


def server_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add --server to a command."""
    return click.option(
        "--server",
        envvar="OVS_GENEVE_SERVER",
        default=DEFAULT_SERVER,
        show_default=True,
        help="ADDRESS:PORT, https://ADDRESS:PORT or unix:PATH of the controller.",
    )(command)
