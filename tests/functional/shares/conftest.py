# SPDX-License-Identifier: Apache-2.0
import tempfile
from pathlib import Path

import pytest

from controller.intent.embedded import EmbeddedDatabase


@pytest.fixture
async def database():
    """An ovsdb-server with an empty intent; its socket's path is short."""
    with tempfile.TemporaryDirectory(prefix="shares-") as folder:
        async with EmbeddedDatabase(Path(folder) / "state") as database:
            yield database
