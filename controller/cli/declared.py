# SPDX-License-Identifier: Apache-2.0
"""What is declared, for commands that work without a controller too: from a file, else from the REST API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import click

from controller.api.documents import to_layout
from controller.cli.client import DEFAULT_SERVER, Client
from controller.cli.yaml_documents import read_documents
from ovs_geneve.errors import OvsGeneveError
from ovs_geneve.geneve.fields import OptionLayout


@dataclass(frozen=True, slots=True)
class Carried:
    """A network's VNI, None when it is left to the allocator, and its options in the order of their slots."""

    vni: int | None
    layouts: tuple[OptionLayout, ...]


def declared_layouts(schemas: IO[str] | None, server: str | None) -> tuple[OptionLayout, ...]:
    """Return the declared options; none, with a word to the user, when no controller was named and none answers."""
    try:
        return tuple(_layouts(_documents("option-schema", schemas, server)))
    except _NoAnswer:
        click.echo(
            "no controller answers: no declared option is known (--server or --schemas name them)", err=True
        )
        return ()


def carried_layouts(network: str, schemas: IO[str] | None, server: str | None) -> Carried:
    """Return what our senders put on packets of a network, in the order in which OVS writes it.

    A file says nothing of slots: there they are taken to be given in the order of its schemas, which is what an
    empty controller does.
    """
    try:
        documents = list(_documents("", schemas, server))
    except _NoAnswer as error:
        raise click.ClickException(str(error)) from error
    found = next((doc for kind, name, doc in documents if (kind, name) == ("network", network)), None)
    if found is None:
        raise click.ClickException(f"there is no network {network}")
    options = found.get("options") or ()
    schemas_sent = (
        (kind, name, document)
        for kind, name, document in documents
        if kind == "option-schema" and name in options and document.get("direction") != "receive"
    )
    return Carried(found.get("vni"), tuple(_layouts(schemas_sent)))


class _NoAnswer(click.ClickException):
    """Raised when nobody named a controller and the usual one does not answer."""


_Documents = Iterator[tuple[str, str, Mapping[str, Any]]]


def _documents(kind: str, schemas: IO[str] | None, server: str | None) -> _Documents:
    """Yield kind, name and document of one kind or, for "", of all that matter; schemas in the order of slots."""
    if schemas is not None:
        found: _Documents = (one for one in read_documents(schemas) if kind in ("", one[0]))
    else:
        found = _asked(kind, server)
    yield from found


def _asked(kind: str, server: str | None) -> _Documents:
    client = Client(server or DEFAULT_SERVER)
    try:
        held = list(client.each("option-schemas"))
        networks = list(client.each("networks")) if not kind else []
    except click.ClickException as error:
        if server is not None:
            raise
        raise _NoAnswer(error.message) from error
    held.sort(key=lambda item: item["status"].get("slot", 0))
    for item in (*held, *networks):
        yield item["kind"], item["name"], item["spec"]


def _layouts(documents: _Documents) -> Iterator[OptionLayout]:
    for _, name, document in documents:
        try:
            yield to_layout(document, name)
        except (OvsGeneveError, ValueError) as error:
            raise click.ClickException(f"option-schema {name}: {error}") from error
