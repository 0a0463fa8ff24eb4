# SPDX-License-Identifier: Apache-2.0
"""Headers and query parameters, from text to values."""

from __future__ import annotations

import re

from controller.errors import Invalid

_DURATION = re.compile(r"(?P<number>\d{1,6}(\.\d{1,3})?)(?P<unit>ms|s|m)?", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}

MAX_WAIT = 300.0

ANY_REVISION = "*"
NO_REVISION = -1


class BadParameter(Invalid):
    """Raised for a header or query parameter that cannot be read."""

    http_status = 400


def parse_duration(text: str) -> float:
    """Read "5", "5s", "500ms" or "1m" as seconds."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise BadParameter("parameter-invalid", f"timeout {text!r}: want such as 5s or 500ms")
    return min(float(match["number"]) * _UNITS[match["unit"]], MAX_WAIT)


def parse_wait(text: str | None) -> bool:
    """Read ?wait=; the one thing to wait for is "programmed"."""
    if text not in (None, "programmed"):
        raise BadParameter("parameter-invalid", f"wait {text!r}: want programmed")
    return text is not None


def parse_etag(header: str | None) -> int | None:
    """Read If-Match as a revision; None when it asks for none in particular.

    What is no ETag of ours is a revision that no object has: the condition is well formed and does not hold.
    """
    if header is None or header == ANY_REVISION:
        return None
    text = header.removeprefix('"').removesuffix('"')
    return int(text) if text.isascii() and text.isdigit() and header != text else NO_REVISION


def parse_none_match(header: str | None) -> bool:
    """Read If-None-Match; only "*", create and never replace, is known."""
    if header not in (None, "*"):
        raise BadParameter("parameter-invalid", f"If-None-Match {header}: want *")
    return header is not None


def parse_label(text: str | None) -> tuple[str, str] | None:
    """Read ?label=KEY=VALUE."""
    if text is None:
        return None
    key, equals, value = text.partition("=")
    if not equals:
        raise BadParameter("parameter-invalid", f"label {text!r}: want KEY=VALUE")
    return key, value


def etag(revision: int) -> str:
    """Return the strong ETag of a revision."""
    return f'"{revision}"'
