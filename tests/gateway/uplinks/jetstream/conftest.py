import pytest

from gateway.frame import Frame
from tests.support.build import directory_of
from tests.support.nats import nats_broker
from tests.support.uplink import uplink_context


@pytest.fixture
async def broker(tmp_path):
    async with nats_broker(tmp_path / "broker") as started:
        yield started


@pytest.fixture
def ctx(tmp_path):
    with uplink_context(tmp_path / "state", directory_of("m1/power", "m2/power")) as context:
        yield context


@pytest.fixture
def sample():
    def made(n: int, point: int = 0) -> Frame:
        return Frame.of([point], n * 1_000_000, [n + 0.5])

    return made
