# SPDX-License-Identifier: Apache-2.0
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.lab import Lab, LabSettings, down


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("system"):
            item.add_marker(pytest.mark.skip(reason="needs root: makes network namespaces"))


@pytest.fixture(scope="module")
def bring_up() -> Iterator[Callable[..., Lab]]:
    """Labs of this module by settings; each is taken down when the module ends, whatever happened to it."""
    made: list[LabSettings] = []

    def up(**wanted: object) -> Lab:
        made.append(settings(**wanted))
        return Lab.up(made[-1])

    yield up
    for one in made:
        down(one)


@pytest.fixture
def some_settings() -> Iterator[LabSettings]:
    one = settings(hosts=2)
    yield one
    down(one)


def settings(**wanted: object) -> LabSettings:
    # Sockets need short paths: not pytest's tmp_path.
    directory = Path(tempfile.mkdtemp(prefix="lab"))
    shutil.rmtree(directory)
    return LabSettings(name=f"t{directory.name[3:].translate(_PLAIN)}".lower(), directory=directory, **wanted)  # type: ignore[arg-type]  # whatever the test asks for


_PLAIN = str.maketrans("_", "0")
