# SPDX-License-Identifier: Apache-2.0
"""Taking a lab away, whole or half built, whoever built it.

Nothing here trusts the state file to be complete. Namespaces are known by the lab's prefix; processes by being
inside one of these, or by naming a file in the lab's directory on the command line. No process is ended on the
word of a pid file: the number may be somebody else's by now.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from controller.lab import commands, namespaces
from controller.lab.errors import LabError
from controller.lab.settings import DEFAULT_PARENT, LabSettings, owns_namespace
from controller.lab.state import StateFile

_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftovers:
    """What there is, or was, of a lab."""

    namespaces: tuple[str, ...]
    processes: tuple[int, ...]
    directory: Path | None
    "None when there is none, or it holds something that no lab wrote."

    def __bool__(self) -> bool:
        return bool(self.namespaces or self.processes or self.directory)


def find(what: LabSettings | Path | str | None = None) -> Leftovers:
    """Find what there is of a lab, given by its settings, its directory, its name, or by default."""
    name, directory = _identify(what)
    found = tuple(space for space in namespaces.names() if name and owns_namespace(name, space))
    pids = namespaces.processes(found) | commands.daemons_of(directory)
    return Leftovers(
        namespaces=found,
        processes=tuple(sorted(pids - {os.getpid()})),
        directory=directory if StateFile(directory).is_removable() else None,
    )


def down(what: LabSettings | Path | str | None = None) -> Leftovers:
    """End every process of a lab, remove its namespaces and its directory; return what there was.

    Complete after any crash, harmless when there is nothing. Raises LabError when called from inside the lab.
    """
    commands.require_root()
    first = find(what)
    _refuse_inside(first.namespaces)
    left = first
    # A program that a killed `up` had just started may arrive between two looks.
    for _ in range(_ROUNDS):
        if not left:
            return first
        commands.end(left.processes)
        for name in left.namespaces:
            namespaces.remove(name)
        if left.directory is not None and not left.processes:
            StateFile(left.directory).remove()
        left = find(what)
    raise LabError(f"the lab keeps coming back: {left}", "is another program bringing it up?")


def _identify(what: LabSettings | Path | str | None) -> tuple[str | None, Path]:
    if isinstance(what, Path):
        directory = what.absolute()
        state = StateFile(directory)
        if state.is_present():
            return state.load().name, directory
        # `up` writes the state before it makes anything else: without one there is nothing to name.
        return directory.name if directory.parent == DEFAULT_PARENT else None, directory
    settings = what if isinstance(what, LabSettings) else LabSettings(name=what) if what else LabSettings()
    return settings.name, settings.home


def _refuse_inside(spaces: tuple[str, ...]) -> None:
    if os.getpid() in namespaces.processes(spaces):
        raise LabError("this program runs inside the lab", "leave its network namespace first")
