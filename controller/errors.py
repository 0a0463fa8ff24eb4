# SPDX-License-Identifier: Apache-2.0
"""The exceptions of `controller`.

    ControllerError
    ├── IntentError            a command is refused; nothing of it is stored
    │   ├── Invalid            422  the document itself is wrong
    │   ├── NotFound           404  there is no such object
    │   ├── Conflict           409  another object stands in the way: `holder` names it
    │   ├── StaleRevision      412  If-Match names another revision than the stored one
    │   └── PreconditionRequired 428  an object that exists was written without saying which revision
    ├── StoreUnavailable       the intent store does not answer; nothing was acknowledged
    ├── Overtaken              another controller's commit came first; decide again on what is stored now
    └── SetupError             the process cannot start as asked

An `IntentError` carries a `code` that clients may rely on ("vni-taken"), a JSON `pointer` into the document
they sent, and a sentence for people.
"""

from __future__ import annotations

from ovs_geneve.errors import OvsGeneveError


class ControllerError(OvsGeneveError):
    """The root of what the controller raises on purpose."""


class IntentError(ControllerError):
    """Raised when a command is refused; the intent is as before."""

    http_status = 422

    def __init__(self, code: str, reason: str, *, pointer: str = "", holder: str = "") -> None:
        super().__init__(f"{pointer}: {reason}" if pointer else reason)
        self.code = code
        self.reason = reason
        self.pointer = pointer
        "An RFC 6901 pointer into the document sent, such as /endpoints/0/address; empty for the whole."
        self.holder = holder
        "The object in the way, as kind/name (port/web1); empty when there is none."


class Invalid(IntentError):
    """Raised for a document that is wrong whatever else is stored."""


class NotFound(IntentError):
    """Raised when the object named does not exist."""

    http_status = 404


class Conflict(IntentError):
    """Raised when another object, or the object's own past, stands in the way."""

    http_status = 409


class StaleRevision(IntentError):
    """Raised when If-Match or If-None-Match does not hold."""

    http_status = 412


class PreconditionRequired(IntentError):
    """Raised when a change has to say which revision it replaces and does not."""

    http_status = 428


class StoreUnavailable(ControllerError):
    """Raised when the intent store does not answer; the command may be sent again."""

    retryable = True


class Overtaken(ControllerError):
    """Raised by an intent store when a commit rests on an intent that is no longer the stored one."""

    retryable = True


class SetupError(ControllerError):
    """Raised when the process cannot start as asked; `hint` says what to do."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(f"{reason} ({hint})" if hint else reason)
        self.reason = reason
        self.hint = hint
