# SPDX-License-Identifier: Apache-2.0
"""What `transact` answers (RFC 7047 4.1.3 and 5.2): JSON to values, or to the exception it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from uuid import UUID

import msgspec

from ovs_geneve.errors import DecodeError, TransactionFailed, WaitTimedOut
from ovs_geneve.ovsdb.messages import decode_as
from ovs_geneve.ovsdb.operations import Operation, Select
from ovs_geneve.ovsdb.schema import ColumnType, DatabaseSchema, Value, parse_uuid


class OperationResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one operation of a stored transaction did."""

    count: int = 0
    "Rows that an update, mutate or delete took."
    uuid: UUID | None = None
    "The row that an insert made."
    rows: tuple[Mapping[str, Value], ...] = ()
    "The rows that a select found, `_uuid` among their columns."


class _Result(msgspec.Struct, frozen=True):
    count: int = 0
    uuid: tuple[str, str] | None = None
    rows: list[dict[str, object]] = []
    error: str | None = None
    details: str = ""


def decode_results(
    data: msgspec.Raw, operations: Sequence[Operation], schema: DatabaseSchema
) -> tuple[OperationResult, ...] | TransactionFailed:
    """Read the result of `transact`, one a operation; give back, not raise, the failure it may tell."""
    results = decode_as(data, list[_Result | None], "transact reply")
    for index, result in enumerate(results):
        if result is not None and result.error is not None:
            return _failure(result.error, result.details, index if index < len(operations) else None)
    if len(results) != len(operations):
        raise DecodeError("transact reply", f"{len(results)} results for {len(operations)} operations")
    return tuple(_result(*pair, schema) for pair in zip(operations, results, strict=True))


def _failure(error: str, details: str, operation: int | None) -> TransactionFailed:
    kind = WaitTimedOut if error == "timed out" else TransactionFailed
    return kind(error, details, operation)


def _result(operation: Operation, result: _Result | None, schema: DatabaseSchema) -> OperationResult:
    if result is None:
        return OperationResult()
    try:
        uuid = None if result.uuid is None else parse_uuid(result.uuid[1])
        rows = _rows(result.rows, schema.tables[operation.table]) if isinstance(operation, Select) else ()
    except (ValueError, KeyError) as error:
        raise DecodeError("transact reply", str(error)) from error
    return OperationResult(count=result.count, uuid=uuid, rows=rows)


def _rows(wire: list[dict[str, object]], types: Mapping[str, ColumnType]) -> tuple[Mapping[str, Value], ...]:
    return tuple(
        MappingProxyType({name: types[name].decode(json) for name, json in row.items()}) for row in wire
    )
