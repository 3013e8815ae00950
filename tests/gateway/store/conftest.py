"""Opened databases that are closed again."""

import pytest

from gateway.store.database import open_database


@pytest.fixture
def database(tmp_path):
    """Opens (and closes and opens again) the database of one folder."""
    opened = []

    def again():
        while opened:
            opened.pop().close()
        opened.append(open_database(tmp_path, 1))
        return opened[-1]

    yield again
    while opened:
        opened.pop().close()
