# SPDX-License-Identifier: Apache-2.0
import shutil
import tempfile
from pathlib import Path

import pytest

from controller.intent.embedded import EmbeddedDatabase
from tests.functional.intent.cluster import Cluster


@pytest.fixture
def directory(request):
    """A short path (a Unix socket's has 107 bytes), removed when the test went well."""
    path = Path(tempfile.mkdtemp(prefix="intent-"))
    failed = request.session.testsfailed
    yield path / "state"
    if request.session.testsfailed == failed:
        shutil.rmtree(path)


@pytest.fixture
async def database(directory):
    """An ovsdb-server with an empty intent."""
    async with EmbeddedDatabase(directory) as database:
        yield database


@pytest.fixture
def cluster(directory):
    """Three ovsdb-servers that elect a leader."""
    cluster = Cluster(directory)
    try:
        cluster.wait_complete()
        yield cluster
    finally:
        cluster.stop()
