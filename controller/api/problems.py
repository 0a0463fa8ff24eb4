# SPDX-License-Identifier: Apache-2.0
"""Errors as RFC 9457 problem documents: a stable type, a sentence, a pointer to the bad field, the holder."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from controller.api.schema import Problem
from controller.errors import IntentError, StoreUnavailable

_log = logging.getLogger(__name__)

_MEDIA_TYPE = "application/problem+json"
_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`")
_STEP = re.compile(r"\.(?P<key>[^.\[]+)|\[(?P<index>[^\]]*)\]")
_UNKNOWN_FIELD = re.compile(r"unknown field `(?P<name>[^`]*)`")
_MISSING_FIELD = re.compile(r"missing required field `(?P<name>[^`]*)`")

AnyRequest = Request[Any, Any, Any]


def intent_refused(_: AnyRequest, error: IntentError) -> Response[Problem]:
    """Answer a command that the intent refuses."""
    return _answer(
        error.http_status,
        error.code,
        error.reason,
        pointer=error.pointer,
        holder=error.holder,
    )


def store_unavailable(_: AnyRequest, error: StoreUnavailable) -> Response[Problem]:
    """Answer while nothing can be stored."""
    return _answer(503, "store-unavailable", str(error), headers={"Retry-After": "1"})


def invalid_document(_: AnyRequest, error: ValidationException) -> Response[Problem]:
    """Answer a document or parameter that is not of the right shape."""
    extra = error.extra if isinstance(error.extra, list) and error.extra else [{}]
    first = extra[0] if isinstance(extra[0], Mapping) else {}
    message = str(first.get("message") or error.detail)
    if first.get("source") == "query":
        name = first.get("key", "")
        return _answer(400, "parameter-invalid", f"query parameter {name}: {message}")
    return _answer(400, "document-invalid", _PATH.sub("", message), pointer=_pointer(message, first))


def not_utf8(_: AnyRequest, error: UnicodeDecodeError) -> Response[Problem]:
    """Answer a body that is no text."""
    return _answer(
        400, "document-invalid", f"the document is not UTF-8: {error.reason} at byte {error.start}"
    )


def http_error(request: AnyRequest, error: HTTPException) -> Response[Problem]:
    """Answer what the framework refuses: no such path, wrong method, too large a body, malformed JSON."""
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return unexpected(request, error)
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    return _answer(error.status_code, code, error.detail, headers=error.headers or {})


def unexpected(request: AnyRequest, error: Exception) -> Response[Problem]:
    """Answer a fault of ours, without telling its insides."""
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(500, "internal-error", "the controller failed on this request; its log says how")


def _answer(
    status: int,
    code: str,
    detail: str,
    *,
    pointer: str = "",
    holder: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response[Problem]:
    problem = Problem(
        type=f"/problems/{code}",
        title=code.replace("-", " ").capitalize(),
        status=status,
        detail=detail,
        pointer=pointer,
        holder=holder,
    )
    return Response(problem, status_code=status, media_type=_MEDIA_TYPE, headers=dict(headers or {}))


def _pointer(message: str, first: Mapping[str, Any]) -> str:
    """Turn msgspec's path ($.endpoints[0]) and the field it names into an RFC 6901 pointer."""
    found = _PATH.search(message)
    path = found["path"] if found else f".{first['key']}" if first.get("key") else ""
    steps = [match["key"] or match["index"] for match in _STEP.finditer(path)]
    if steps[:1] == ["data"]:
        del steps[0]  # the handler's name for the body
    named = _UNKNOWN_FIELD.search(message) or _MISSING_FIELD.search(message)
    if named:
        steps.append(named["name"])
    return "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps)
