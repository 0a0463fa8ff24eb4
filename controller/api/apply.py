# SPDX-License-Identifier: Apache-2.0
"""POST /v1/apply: many documents in one request, each of them as a PUT of its own would be decided.

    array ─► runs ─► commands, in order ─► one submit_all a run ─► what became of each, in order
                                           one commit

A run ends where the option values of a document may need a schema that the run holds, and after MAX_BATCH documents.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from litestar import post
from litestar.params import JSONBody

from controller.api.answers import AppliedView, ApplyView, Problem
from controller.api.backend import Controller
from controller.api.body import CheckBody, DocumentInvalid, convert
from controller.api.documents import to_spec
from controller.api.handlers import Backend, Timeout, Wait, is_programmed
from controller.api.parameters import parse_duration, parse_wait
from controller.api.problems import fault_problem, intent_problem, store_problem
from controller.api.schema import DOCUMENTS, NAME_KEYS, LooseName, NameDocument
from controller.errors import IntentError, StoreUnavailable
from controller.intent.checks.documents import pointer
from controller.intent.commands import Put
from controller.intent.intent import Intent
from controller.intent.model import AnyObject, Kind
from controller.intent.service import MAX_BATCH, Result

_Outcome = Result | BaseException

_T = TypeVar("_T")

_SPEC = "spec"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """A document as it was sent."""

    at: str
    "Pointer to it, without `inside`."
    inside: str
    "Pointer within it to the keys of a PUT: empty, or /spec."
    kind: str
    name: str
    value: Any


@post(
    "/apply",
    status_code=200,
    summary="Apply many documents",
    tags=["bulk"],
    before_request=CheckBody(list[Any]),
)
async def apply(
    backend: Backend, data: JSONBody[list[Any]], wait: Wait = None, timeout: Timeout = "5s"
) -> ApplyView:
    """Create or replace objects: an array of documents, each with the keys of a PUT, and `kind` and `name`.

    The keys of a PUT may stand below `spec`, as a GET shows them; a host's own `kind` has no other place.
    They are decided in their order, so a network precedes its ports. Each stands for itself: one that is
    refused, or has no shape, keeps no other from being stored; `items` says what became of each. The
    request itself is refused only when it is no JSON array.
    """
    waits, seconds = parse_wait(wait), parse_duration(timeout)
    said = [_read_name(position, value) for position, value in enumerate(data)]
    outcomes = [outcome for run in _runs(said) for outcome in await _submit(backend, run)]
    if waits:
        await _acknowledged(backend, [one for one in outcomes if isinstance(one, Result)], seconds)
    return ApplyView(
        revision=backend.intent.revision,
        items=[_view(backend, *pair, waits=waits) for pair in zip(said, outcomes, strict=True)],
    )


def _read_name(position: int, value: Any) -> _Said:
    """Read what a document calls itself, if it does; whether that is allowed is looked at later."""
    loose = convert(value, LooseName) if isinstance(value, Mapping) else LooseName()
    inside = f"/{_SPEC}" if isinstance(value, Mapping) and _SPEC in value else ""
    return _Said(at=pointer(position), inside=inside, kind=str(loose.kind), name=str(loose.name), value=value)


def _runs(documents: Iterable[_Said]) -> Iterator[list[_Said]]:
    run = list[_Said]()
    has_schema = False
    for said in documents:
        is_schema = said.kind == Kind.OPTION_SCHEMA
        if len(run) == MAX_BATCH or (has_schema and not is_schema):
            yield run
            run, has_schema = [], False
        run.append(said)
        has_schema = has_schema or is_schema
    if run:
        yield run


async def _submit(backend: Controller, run: Sequence[_Said]) -> list[_Outcome]:
    """Have a run decided and stored; give what became of each, in order."""
    read = [_read(said, backend.intent) for said in run]
    results = iter(await backend.submit_all([one for one in read if isinstance(one, Put)]))
    return [
        _placed(next(results), said) if isinstance(one, Put) else one
        for one, said in zip(read, run, strict=True)
    ]


def _read(said: _Said, intent: Intent) -> Put | IntentError:
    try:
        named = convert(said.value, NameDocument)
        rest = {key: said.value[key] for key in said.value if key not in NAME_KEYS}
        if said.inside:
            rest = _only_spec(rest)
    except IntentError as error:
        return error
    try:
        return _command(named, rest, intent)
    except IntentError as error:
        return _placed(error, said)


def _placed(outcome: _T, said: _Said) -> _T:
    """Have an error point into the document as it was sent."""
    if isinstance(outcome, IntentError):
        outcome.pointer = f"{said.inside}{outcome.pointer}"
    return outcome


def _only_spec(rest: Mapping[str, Any]) -> Any:
    beside = next((key for key in rest if key != _SPEC), None)
    if beside is not None:
        raise DocumentInvalid(
            "what a PUT takes stands below spec, or beside kind, not both", pointer=pointer(beside)
        )
    return rest[_SPEC]


def _command(named: NameDocument, rest: Any, intent: Intent) -> Put:
    document = convert(rest, DOCUMENTS[named.kind])
    return Put(
        kind=Kind(named.kind),
        name=named.name,
        spec=to_spec(document, named.name, intent),
        labels=tuple(document.labels.items()),
    )


async def _acknowledged(backend: Controller, results: Iterable[Result], seconds: float) -> None:
    """Wait for the bridges that any of the results concerns, as long as they may take."""
    try:
        async with asyncio.timeout(seconds):
            for result in results:
                held = _stored(result)
                await backend.acknowledged(backend.hosts_concerned(held), result.revision, held.key)
                if held.kind is Kind.NETWORK:
                    await backend.rolled_out(held.name)
    except TimeoutError:
        return  # the conditions of each tell


def _view(backend: Controller, said: _Said, outcome: _Outcome, *, waits: bool) -> AppliedView:
    if not isinstance(outcome, Result):
        problem = _problem(said, outcome)
        return AppliedView(
            kind=said.kind, name=said.name, status=problem.status, outcome="refused", problem=problem
        )
    held = _stored(outcome)
    status = 201 if outcome.created else 200
    return AppliedView(
        kind=said.kind,
        name=said.name,
        status=202 if waits and not is_programmed(backend, held) else status,
        outcome="created" if outcome.created else "configured" if outcome.changes else "unchanged",
        revision=held.revision,
    )


def _problem(said: _Said, error: BaseException) -> Problem:
    match error:
        case IntentError():
            return intent_problem(error, said.at)
        case StoreUnavailable():
            return store_problem(error, said.at)
        case _:
            return fault_problem(f"apply {said.kind}/{said.name}", error, said.at)


def _stored(result: Result) -> AnyObject:
    assert result.object is not None  # a PUT leaves one
    return result.object
