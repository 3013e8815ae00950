"""The console command in this process."""

import logging
import sys

import pytest

from gateway.cli.main import main


@pytest.fixture
def own_logging():
    """What a verb sets up writes to the standard error of its test, which is closed after it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.fixture
def onpath(monkeypatch, capfd, own_logging):
    """Runs ``onpath ARGS``: (exit code, standard output, standard error)."""

    def run(*args) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["onpath", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capfd.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run
