# SPDX-License-Identifier: Apache-2.0
"""The exceptions of `ovs_geneve`.

    OvsGeneveError
    ├── DecodeError            the peer sent bytes or text that break the format
    ├── EncodeError            we were asked to send what the format cannot carry
    ├── NotSupported           the other side lacks a feature
    ├── ConnectionLost         the channel ended; the outcome of what was in flight is unknown
    ├── OvsdbError
    │   ├── TransactionFailed  the database refused an operation; nothing of the transaction is stored
    │   └── WaitTimedOut       a `wait` operation did not come true; nothing is stored
    └── OpenFlowError          the switch refused a message

`retryable` says whether the same call may succeed later without anybody changing the input.
"""

from __future__ import annotations


class OvsGeneveError(Exception):
    """The root: catch it to catch everything this package raises on purpose."""

    retryable = False


class DecodeError(OvsGeneveError):
    """Raised when bytes or text from outside break the format. `where` names the field."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason


class EncodeError(OvsGeneveError, ValueError):
    """Raised, mostly when a value is built, for what cannot be carried. `field` names the culprit."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class NotSupported(OvsGeneveError):
    """Raised when the other side lacks `feature`; `since` tells which release brings it."""

    def __init__(self, feature: str, since: str) -> None:
        super().__init__(f"{feature}: needs {since}")
        self.feature = feature
        self.since = since


class ConnectionLost(OvsGeneveError):
    """Raised when the channel ends. What was in flight may or may not have been done."""

    retryable = True


class OvsdbError(OvsGeneveError):
    """The root of what talking to an OVSDB server can raise."""


class TransactionFailed(OvsdbError):
    """Raised when the server refuses an operation (RFC 7047 5.2); nothing is stored.

    `error` is the server's word ("constraint violation", …), `operation` the index of the culprit
    in the request, or None when the commit as a whole failed.
    """

    def __init__(self, error: str, details: str, operation: int | None) -> None:
        super().__init__(f"{error}: {details}" if details else error)
        self.error = error
        self.details = details
        self.operation = operation


class WaitTimedOut(TransactionFailed):
    """Raised when a `wait` operation does not come true in time: somebody else changed the rows."""

    retryable = True


class OpenFlowError(OvsGeneveError):
    """Raised when the switch refuses a message: `name` as OVS spells it, and the bytes it refused."""

    def __init__(self, name: str, error_type: int, code: int, request: bytes) -> None:
        super().__init__(f"{name} (type {error_type}, code {code})")
        self.name = name
        self.error_type = error_type
        self.code = code
        self.request = request
