# SPDX-License-Identifier: Apache-2.0
"""Errors as RFC 9457 problem documents: a stable type, a sentence, a pointer to the bad field, the holder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from controller.api.answers import Problem
from controller.errors import IntentError, StoreUnavailable

_log = logging.getLogger(__name__)

_MEDIA_TYPE = "application/problem+json"

AnyRequest = Request[Any, Any, Any]


def intent_refused(_: AnyRequest, error: IntentError) -> Response[Problem]:
    """Answer a command that the intent refuses."""
    return _response(intent_problem(error))


def store_unavailable(_: AnyRequest, error: StoreUnavailable) -> Response[Problem]:
    """Answer while nothing can be stored."""
    return _response(store_problem(error), headers={"Retry-After": "1"})


def intent_problem(error: IntentError, at: str = "") -> Problem:
    """Describe why a command is refused; `at` points to its document in the body."""
    return _problem(
        error.http_status, error.code, error.reason, pointer=at + error.pointer, holder=error.holder
    )


def store_problem(error: StoreUnavailable, at: str = "") -> Problem:
    """Describe why nothing can be stored."""
    return _problem(503, "store-unavailable", str(error), pointer=at)


def fault_problem(what: str, error: BaseException, at: str = "") -> Problem:
    """Describe a fault of ours without telling its insides, which go to the log."""
    _log.error("%s failed", what, exc_info=error)
    return _problem(
        500, "internal-error", "the controller failed on this request; its log says how", pointer=at
    )


def parameters_invalid(_: AnyRequest, error: ValidationException) -> Response[Problem]:
    """Answer parameters of the wrong type; bodies were looked at before (`body.py`)."""
    extra = error.extra if isinstance(error.extra, list) and error.extra else [{}]
    first = extra[0] if isinstance(extra[0], Mapping) else {}
    message = str(first.get("message") or error.detail)
    detail = f"{first.get('source')} {first.get('key')}: {message}"
    return _response(_problem(400, "parameter-invalid", detail))


_RENAMED = {413: "content-too-large", 422: "unprocessable-content"}
"Phrases that RFC 9110 changed: Python has the new ones since 3.13, and a problem has one name whatever runs it."


def http_error(request: AnyRequest, error: HTTPException) -> Response[Problem]:
    """Answer what the framework refuses: no such path, wrong method, too large a body, malformed JSON."""
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return unexpected(request, error)
    code = _RENAMED.get(error.status_code) or HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    return _response(_problem(error.status_code, code, error.detail), headers=error.headers)


def unexpected(request: AnyRequest, error: Exception) -> Response[Problem]:
    """Answer a fault of ours, without telling its insides."""
    return _response(fault_problem(f"{request.method} {request.url.path}", error))


def _problem(status: int, code: str, detail: str, *, pointer: str = "", holder: str = "") -> Problem:
    return Problem(
        type=f"/problems/{code}",
        title=code.replace("-", " ").capitalize(),
        status=status,
        detail=detail,
        pointer=pointer,
        holder=holder,
    )


def _response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response[Problem]:
    return Response(problem, status_code=problem.status, media_type=_MEDIA_TYPE, headers=dict(headers or {}))
