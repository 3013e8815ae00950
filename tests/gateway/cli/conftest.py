"""The console command in this process."""

import sys

import pytest

from gateway.cli.main import main


@pytest.fixture
def onpath(monkeypatch, capfd):
    """Runs ``onpath ARGS``: (exit code, standard output, standard error)."""

    def run(*args) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["onpath", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capfd.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run
