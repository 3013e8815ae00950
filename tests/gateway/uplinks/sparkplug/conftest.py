from __future__ import annotations

import asyncio

import pytest

from tests.gateway.uplinks.sparkplug.scenario import Recorded, record
from tests.gateway.uplinks.sparkplug.scripted import scripted_broker
from tests.support.build import directory_of
from tests.support.uplink import uplink_context


@pytest.fixture
async def broker():
    async with scripted_broker() as started:
        yield started


@pytest.fixture
def ctx(tmp_path):
    with uplink_context(tmp_path / "state", directory_of("m1/power", "m2/power", "frequency")) as context:
        yield context


@pytest.fixture(scope="session")
def recorded() -> Recorded:
    """Sessions of an edge node, recorded once."""
    return asyncio.run(record())
