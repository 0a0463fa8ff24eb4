# SPDX-License-Identifier: Apache-2.0
"""Takes the steps of a plan, one after the other, and stops at the first that fails, saying what to do."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from controller.errors import SetupError
from controller.joining.facts import OvsFacts
from controller.joining.observe import Machine, read_ovs
from controller.joining.steps import (
    Await,
    AwaitAgent,
    Awaited,
    Dismiss,
    Enrol,
    Plan,
    Remove,
    Run,
    Step,
    Write,
)

_PATIENCE = 15.0
"Seconds that a controller has to answer, or to take away what is its own."

_COMMAND_SECONDS = 120
"A command that takes longer hangs."

_PAUSE = 0.2


class Api(Protocol):
    """The controller's REST API, as far as a host needs it."""

    def put_host(self, rest: str, host: str, document: Mapping[str, Any]) -> None:
        """Declare a host."""

    def delete_host(self, rest: str, host: str) -> None:
        """Forget a host; no matter when it is not known."""

    def hears(self, rest: str, host: str) -> bool:
        """Tell whether the controller is connected with a host, or its agent."""


def carry_out(plan: Plan, machine: Machine, api: Api, say: Callable[[Step], None]) -> None:
    """Take all steps; SetupError names the one that failed. Those before it stay done: run the command again."""
    for step in plan.steps:
        say(step)
        _take(step, machine, api)


def _take(step: Step, machine: Machine, api: Api) -> None:
    match step:
        case Run():
            _run(step, machine)
        case Write(path=name, text=text):
            path = machine.path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        case Remove(path=name):
            path = machine.path(name)
            path.unlink(missing_ok=True)
            with suppress(OSError):  # others have files in it
                path.parent.rmdir()
        case Enrol(rest=rest, host=host, document=document):
            api.put_host(rest, host, document)
        case Dismiss(rest=rest, host=host):
            api.delete_host(rest, host)
        case Await():
            _wait(step, lambda: _is_so(step, asyncio.run(read_ovs(machine))))
        case AwaitAgent(rest=rest, host=host):
            _wait(step, lambda: api.hears(rest, host))


def _run(step: Run, machine: Machine) -> None:
    command = list(step.command)
    if command[0] == "ovs-vsctl":
        command.insert(1, f"--db={machine.ovsdb}")
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=_COMMAND_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"{step.why}: {error}", step.advice) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().removeprefix("ovs-vsctl: ")
        raise SetupError(f"{step.why}: {command[0]}: {said or f'status {done.returncode}'}", step.advice)


def _wait(step: Await | AwaitAgent, is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not is_so():
        if time.monotonic() > end:
            raise SetupError(f"{step.why}: not within {_PATIENCE:.0f} s", step.advice)
        time.sleep(_PAUSE)


def _is_so(step: Await, ovs: OvsFacts | None) -> bool:
    if ovs is None:
        return False
    if step.what is Awaited.MANAGER:
        return any(one.target == step.target and one.connected for one in ovs.managers)
    return not ovs.bridges
