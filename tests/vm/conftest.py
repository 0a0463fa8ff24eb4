# SPDX-License-Identifier: Apache-2.0
"""The lab of tests/system on the kernel's datapath, and the book of what was proved on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.conftest import make_overlay, overlay
from tests.vm.facts import Book, Fact
from tests.vm.modules import lacking

__all__ = ["make_overlay", "overlay"]

FACTS = "VM_FACTS"
"The environment variable that names the file for facts."

_HERE = Path(__file__).parent

Prove = Callable[[str, str], None]
"Say what was proved, and by what."


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if _HERE in item.path.parents]
    problem = lacking() if ours else ""
    for item in ours if problem else ():
        item.add_marker(pytest.mark.skip(reason=problem))


@pytest.fixture
def prove(request: pytest.FixtureRequest) -> Prove:
    """Write a fact down, behind the assertion that shows it."""
    file = os.environ.get(FACTS)
    book = Book(None if file is None else Path(file))

    def write(statement: str, evidence: str) -> None:
        book.add(Fact(request.node.name, statement, " ".join(evidence.split())))

    return write
