"""The console command in this process, as in the tests of the command line."""

from tests.gateway.cli.conftest import onpath, own_logging

__all__ = ["onpath", "own_logging"]
