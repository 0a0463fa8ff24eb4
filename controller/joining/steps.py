# SPDX-License-Identifier: Apache-2.0
"""The steps of joining and leaving as values, and how they read."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


@dataclass(frozen=True, slots=True)
class Run:
    """Run a command; when it fails, `advice` says what to do."""

    why: str
    command: tuple[str, ...]
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Write:
    """Make a file hold a text."""

    why: str
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a file, and the directory it was in if that is empty then."""

    why: str
    path: str


@dataclass(frozen=True, slots=True)
class Enrol:
    """PUT the host's document."""

    why: str
    rest: str
    host: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Dismiss:
    """DELETE the host; no matter when the controller does not know it."""

    why: str
    rest: str
    host: str


class Awaited(Enum):
    """What can be waited for."""

    MANAGER = "the controller's OVSDB answers"
    RELEASE = "the controller has taken what is its own off Open vSwitch"


@dataclass(frozen=True, slots=True)
class Await:
    """Look at the host's OVSDB until something is so."""

    why: str
    what: Awaited
    target: str
    advice: str


@dataclass(frozen=True, slots=True)
class AwaitAgent:
    """Ask the controller until it hears the host's agent."""

    why: str
    rest: str
    host: str
    advice: str


Step = Run | Write | Remove | Enrol | Dismiss | Await | AwaitAgent


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing is done, and what would help."""

    reason: str
    advice: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in their order; none of them is taken while there is a refusal."""

    steps: tuple[Step, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()
    "What the operator should know when all is done."


def render(step: Step) -> str:
    """Say what a step does, as a shell would be told where that is possible."""
    match step:
        case Run(command=command):
            return shlex.join(command)
        case Write(path=path, text=text):
            return f"cat >{path} <<'END'\n{text}END"
        case Remove(path=path):
            return f"rm {path}"
        case Enrol(rest=rest, host=host, document=document):
            body = shlex.quote(json.dumps(document))
            return f"curl -X PUT {rest}/v1/hosts/{host} -H 'content-type: application/json' -d {body}"
        case Dismiss(rest=rest, host=host):
            return f"curl -X DELETE {rest}/v1/hosts/{host}"
        case Await(what=what):
            return f"# wait until {what.value}"
        case AwaitAgent(rest=rest, host=host):
            return f"# wait until {rest}/v1/hosts/{host} is Connected"
