# SPDX-License-Identifier: Apache-2.0
"""What tests proved, one line each: written where the driver finds it, so that its report can list it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that was seen to hold."""

    test: str
    statement: str
    evidence: str
    "What showed it, as it was printed or counted; one line."


class Book:
    """The facts of one file of tests; without a file they are forgotten."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def add(self, fact: Fact) -> None:
        """Write one down. Only what a test has asserted belongs here."""
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as output:
                output.write(json.dumps(asdict(fact)) + "\n")

    def facts(self) -> list[Fact]:
        """Return what was written so far."""
        if self._file is None or not self._file.exists():
            return []
        return [Fact(**json.loads(line)) for line in self._file.read_text(encoding="utf-8").splitlines()]
