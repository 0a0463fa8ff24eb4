# SPDX-License-Identifier: Apache-2.0
import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def directory(request):
    """A short path (a Unix socket's has 107 bytes), removed when the test went well."""
    path = Path(tempfile.mkdtemp(prefix="intent-"))
    failed = request.session.testsfailed
    yield path / "state"
    if request.session.testsfailed == failed:
        shutil.rmtree(path)
