# SPDX-License-Identifier: Apache-2.0
"""JSON-RPC messages of OVSDB (RFC 7047 4, ovsdb-server(7) 4.1.12 to 4.1.18): bytes to structs and back.

The stream has no delimiter: a message ends where its outermost brace closes. `MessageScanner` finds these
ends without parsing; `decode_message` reads the envelope and leaves the payload raw, so that a large
monitor reply is parsed once, straight into the shape its receiver wants. Nothing here talks to anybody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from ovs_geneve.errors import DecodeError, EncodeError

MAX_MESSAGE = 1 << 28
"Bytes that one message may have by default: a full dump of 100,000 ports is about half of it."

_LONG = 4096
"Bytes from which counting braces is worth it."

_OUTSIDE = re.compile(rb'(?:[^"{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+([{}"])?', re.DOTALL)
"Skips whole strings and all else up to a brace, or up to the quote of a string that the chunk cuts off."

_INSIDE = re.compile(rb'(?:[^"\\]++|\\.)*+(["\\])?', re.DOTALL)
"Skips the rest of a string; group 1 is its closing quote, or a backslash that ends the chunk."

_BETWEEN = re.compile(rb"\}[ \t\r\n]*+\{")
"The end of one message and the beginning of the next: inside of one a comma stands there."

_BLANK = re.compile(rb"[ \t\r\n]*+")

_T = TypeVar("_T")

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"Any JSON, as we send it."


class MessageScanner:
    """Cuts a byte stream into JSON objects, in time linear in the bytes however they are cut.

    A message over `limit` bytes, or anything but blanks between messages, raises DecodeError: the stream
    cannot be followed any further then.
    """

    __slots__ = ("_depth", "_escaped", "_in_string", "_limit", "_parts", "_size")

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._depth = 0
        self._in_string = False
        self._escaped = False

    @property
    def partial(self) -> bool:
        """Tell whether the stream stands in the middle of a message."""
        return self._depth > 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes; return the messages they complete, oldest first."""
        messages: list[bytes] = []
        position = 0
        while position < len(chunk):
            if not self._depth:
                position = _skip_blanks(chunk, position)
            start, position = position, self._advance(chunk, position)
            self._keep(chunk[start:position])
            if not self._depth and self._parts:
                messages.append(b"".join(self._parts))
                self._parts.clear()
                self._size = 0
        return messages

    def _advance(self, chunk: bytes, position: int) -> int:
        """Move behind the brace that closes the message, or to the end of the chunk."""
        while position < len(chunk):
            between = _BETWEEN.search(chunk, position)
            stop = between.start() + 1 if between else len(chunk)
            if stop - position < _LONG or not self._count(chunk[position:stop]):
                return self._walk(chunk, position)
            position = stop
            if not self._depth:
                break
        return position

    def _count(self, part: bytes) -> bool:
        """Take a part whole by counting its braces, ten times as fast as visiting them.

        False, and nothing taken, where the message ends before the part does, or an escape is cut by either end.
        """
        plain = part.replace(b"\\\\", b"__").replace(b'\\"', b"__") if b"\\" in part else part
        if self._escaped or plain.endswith(b"\\"):
            return False
        pieces = plain.split(b'"')
        outside = b'"'.join(pieces[self._in_string :: 2])
        depth = self._depth + outside.count(b"{") - outside.count(b"}")
        if depth < 0 or (depth == 0 and not outside.endswith(b"}")):
            return False
        self._depth = depth
        self._in_string ^= len(pieces) % 2 == 0
        return True

    def _walk(self, chunk: bytes, position: int) -> int:
        """Move on as `_advance` does, brace by brace."""
        if self._in_string:
            position = self._leave_string(chunk, position)
        while position < len(chunk):
            match = _OUTSIDE.match(chunk, position)
            assert match is not None  # it matches the empty string
            position = match.end()
            token = match.group(1)
            if token == b"{":
                self._depth += 1
            elif token == b"}":
                self._depth -= 1
                if not self._depth:
                    break
            elif token == b'"':
                position = self._leave_string(chunk, position)
        return position

    def _leave_string(self, chunk: bytes, position: int) -> int:
        match = _INSIDE.match(chunk, position + self._escaped)
        assert match is not None  # it matches the empty string
        self._in_string = match.group(1) != b'"'
        self._escaped = match.group(1) == b"\\"
        return match.end()

    def _keep(self, part: bytes) -> None:
        if not part:
            return
        self._size += len(part)
        if self._size > self._limit:
            raise DecodeError("JSON-RPC message", f"over {self._limit} bytes")
        self._parts.append(part)


def _skip_blanks(chunk: bytes, position: int) -> int:
    match = _BLANK.match(chunk, position)
    assert match is not None  # it matches the empty string
    position = match.end()
    if position < len(chunk) and chunk[position] != 0x7B:
        raise DecodeError("JSON-RPC stream", f"no message starts with {chunk[position : position + 16]!r}")
    return position


class Message(msgspec.Struct, frozen=True):
    """One request, response or notification (RFC 7047 4); the payload is not parsed yet."""

    method: str | None = None
    params: Raw = Raw(b"null")
    result: Raw = Raw(b"null")
    error: object = None
    id: object = None


class RowUpdate(msgspec.Struct, frozen=True):
    """What `monitor` and `update` say of one row (RFC 7047 4.1.6)."""

    old: dict[str, object] | UnsetType = UNSET
    new: dict[str, object] | UnsetType = UNSET


class RowUpdate2(msgspec.Struct, frozen=True):
    """What `monitor_cond`, `monitor_cond_since`, `update2` and `update3` say of one row, 4.1.14."""

    initial: dict[str, object] | UnsetType = UNSET
    insert: dict[str, object] | UnsetType = UNSET
    modify: dict[str, object] | UnsetType = UNSET
    delete: dict[str, object] | UnsetType | None = UNSET


TableUpdates: TypeAlias = dict[str, dict[str, RowUpdate]]
TableUpdates2: TypeAlias = dict[str, dict[str, RowUpdate2]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Contents of the monitored tables, whole or a difference, whichever method sent them."""

    tables: TableUpdates | TableUpdates2
    snapshot: bool = False
    "True when rows that are not mentioned do not exist: a first monitor reply that found no start."
    txn_id: str | None = None
    "The transaction after which these are the contents; monitor_cond_since only."


def encode_request(request_id: int, method: str, params: Sequence[object] | Mapping[str, object]) -> bytes:
    """Encode a request; its answer carries the same id."""
    return _encode({"id": request_id, "method": method, "params": params})


def encode_notification(method: str, params: Sequence[object]) -> bytes:
    """Encode a message that gets no answer."""
    return _encode({"id": None, "method": method, "params": params})


def encode_reply(request_id: object, result: object, error: object = None) -> bytes:
    """Encode the answer to a request of the peer, with `result` or `error`."""
    return _encode({"id": request_id, "result": result, "error": error})


def decode_message(data: bytes) -> Message:
    """Read the envelope of one message as `MessageScanner` cut it."""
    return decode_as(data, Message, "JSON-RPC message")


def decode_as(data: bytes | Raw, shape: type[_T], where: str) -> _T:
    """Parse JSON into `shape`; DecodeError names `where`."""
    try:
        return msgspec.json.decode(data, type=shape)
    except (ValueError, RecursionError) as error:  # msgspec's errors and UnicodeDecodeError are ValueErrors
        raise DecodeError(where, str(error)) from error


def decode_notification(message: Message) -> tuple[object, Update] | None:
    """Read `update`, `update2`, `update3` as (monitor id, what changed); None for any other method."""
    where = f"{message.method} notification"
    if message.method == "update":
        monitor, tables = decode_as(message.params, tuple[object, TableUpdates], where)
        return monitor, Update(tables=tables)
    if message.method == "update2":
        monitor, tables2 = decode_as(message.params, tuple[object, TableUpdates2], where)
        return monitor, Update(tables=tables2)
    if message.method == "update3":
        monitor, txn_id, tables2 = decode_as(message.params, tuple[object, str, TableUpdates2], where)
        return monitor, Update(tables=tables2, txn_id=txn_id)
    return None


def decode_monitor_reply(method: str, result: Raw) -> Update:
    """Read the result of `monitor`, `monitor_cond` or `monitor_cond_since`."""
    where = f"{method} reply"
    if method == "monitor":
        return Update(tables=decode_as(result, TableUpdates, where), snapshot=True)
    if method == "monitor_cond":
        return Update(tables=decode_as(result, TableUpdates2, where), snapshot=True)
    found, txn_id, tables = decode_as(result, tuple[bool, str, TableUpdates2], where)
    return Update(tables=tables, snapshot=not found, txn_id=txn_id)


def _encode(message: Mapping[str, object]) -> bytes:
    try:
        return msgspec.json.encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise EncodeError("JSON-RPC message", str(error)) from error
