"""The console command in this process, as in the tests of the command line."""

import pytest

from tests.gateway.cli.conftest import onpath, own_logging

__all__ = ["onpath", "own_logging"]


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    """Tests side by side run where somebody counts columns; lines are wanted whole here."""
    monkeypatch.delenv("COLUMNS", raising=False)
