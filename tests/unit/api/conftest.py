# SPDX-License-Identifier: Apache-2.0
import httpx
import pytest

from controller.api.server import create_app
from tests.unit.api.backend import FakeController, put_all


@pytest.fixture
async def backend():
    controller = FakeController()
    await controller.service.start()
    yield controller
    await controller.service.stop()


@pytest.fixture
async def client(backend):
    transport = httpx.ASGITransport(app=create_app(backend), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://controller") as http:
        yield http


@pytest.fixture
async def topology(client):
    """A client of a controller that holds the objects of the design."""
    await put_all(client)
    return client
