"""A gateway with a console, and somebody who may do everything."""

import pytest

from tests.support.console import api, gateway


@pytest.fixture
async def running(tmp_path):
    async with gateway(tmp_path) as process:
        yield process


@pytest.fixture
async def admin(running):
    async with api(running) as client:
        yield client
