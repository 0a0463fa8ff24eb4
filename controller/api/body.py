# SPDX-License-Identifier: Apache-2.0
"""Request bodies, strictly: what is not a document of its kind is refused with a pointer to the bad place.

Litestar itself would take "7" for 7, and msgspec says [...] where a key of an object is meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar.exceptions import HTTPException, InternalServerException

from controller.errors import IntentError
from controller.intent.checks.documents import pointer

T = TypeVar("T")

# "Expected `int`, got `str` - at `$.fields[0].bits`"
_PLACE = re.compile(r" - at `(?:key in )?\$(?P<path>.*)`$", re.DOTALL)
_STEP = re.compile(r"\.(?P<key>[^.\[]+)|\[(?P<index>\d+)\]|(?P<any>\[\.\.\.\])")
_NAMED = re.compile(r"(?:unknown|missing required) field `(?P<name>.*)`", re.DOTALL)
_GOT = re.compile(r"got `(?P<got>\w+)`")
_ANY = "[...]"

_JSON_NAMES: dict[type, str] = {
    dict: "object",
    list: "array",
    str: "str",
    bool: "bool",
    int: "int",
    float: "float",
    type(None): "null",
}
"What msgspec calls the values of JSON."


class DocumentInvalid(IntentError):
    """Raised for a body that is no JSON, or not of the shape its kind has."""

    http_status = 400

    def __init__(self, reason: str, *, pointer: str = "") -> None:
        super().__init__("document-invalid", reason, pointer=pointer)


@dataclass(frozen=True, slots=True)
class CheckBody:
    """Looks at the body of a PUT or POST before Litestar does (a before_request hook)."""

    document: Any
    "What the body has to fit: a struct, or a list."

    async def __call__(self, request: Request[Any, Any, Any]) -> None:
        """Raise for a body that is no such document."""
        if request.method not in ("PUT", "POST"):
            return
        check_content_type(request)
        try:
            raw = await request.body()
        except InternalServerException as error:
            # Whoever is killed while it sends: that is no fault of ours (litestar/connection/request.py, stream).
            raise HTTPException("the client went before its body was whole", status_code=400) from error
        decode(raw, self.document)


def check_content_type(request: Request[Any, Any, Any]) -> None:
    """Refuse a body that does not say it is JSON."""
    said = next((value for name, value in request.scope["headers"] if name == b"content-type"), b"")
    if said.partition(b";")[0].strip().lower() != b"application/json":
        raise HTTPException("want Content-Type: application/json", status_code=415)


def decode(raw: bytes, document: Any) -> Any:
    """Read a JSON document as a struct; raise DocumentInvalid."""
    try:
        return msgspec.json.decode(raw, type=document)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), _parse(raw)) from error
    except UnicodeDecodeError as error:
        raise DocumentInvalid(f"not UTF-8: {error.reason} at byte {error.start}") from error
    except RecursionError as error:
        raise DocumentInvalid("nested too deep") from error
    except msgspec.DecodeError as error:
        raise DocumentInvalid(str(error)) from error


def convert(value: Any, document: type[T]) -> T:
    """Read a part of a parsed body as a struct; raise DocumentInvalid."""
    try:
        return msgspec.convert(value, document)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), value) from error


def _parse(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None  # a number beyond all types, or nesting beyond all sense


def _refusal(message: str, body: Any) -> DocumentInvalid:
    place = _PLACE.search(message)
    reason = message[: place.start()] if place else message
    at = _resolve(place["path"] if place else "", reason, body)
    if named := _NAMED.search(reason):
        at += pointer(named["name"])
    return DocumentInvalid(reason.replace("`", ""), pointer=at)


def _resolve(path: str, reason: str, body: Any) -> str:
    """Turn msgspec's path into a pointer; for [...] look which key holds what is complained about."""
    steps = [match["key"] or match["any"] or int(match["index"]) for match in _STEP.finditer(path)]
    got = _GOT.search(reason)
    wanted = got["got"] if got else None
    places = _expand(body, steps)
    try:
        return next((pointer(*taken) for taken, value in places if _fits(value, wanted)), "")
    except (KeyError, IndexError, TypeError, AttributeError):
        return ""  # the body could not be parsed: there is no place to show


def _expand(value: Any, steps: list[str | int]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield every place that the steps may mean, with what is there."""
    if not steps:
        yield (), value
        return
    step, rest = steps[0], steps[1:]
    inside = list(value.items()) if step == _ANY else [(step, value[step])]
    for key, item in inside:
        try:
            yield from (((key, *taken), leaf) for taken, leaf in _expand(item, rest))
        except (KeyError, IndexError, TypeError, AttributeError):
            continue  # another key's value has the place that is meant


def _fits(value: Any, wanted: str | None) -> bool:
    return wanted is None or _JSON_NAMES.get(type(value)) == wanted
