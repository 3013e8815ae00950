import pytest

from tests.support.context import RecordingContext


@pytest.fixture
def ctx() -> RecordingContext:
    return RecordingContext("sensors")
