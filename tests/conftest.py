"""For all tests."""

import os
import signal
import sys

import pytest
from hypothesis import settings

from tests.support.trials import trials

# A shell that starts something in the background has it ignore SIGINT, and whoever inherits that is deaf to Ctrl-C
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Where a shell forbids byte code, every daemon that a test starts would compile the whole program: half of its start
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How long an example takes is a matter of what else the machine does
settings.register_profile("busy", deadline=None, max_examples=trials(200))
settings.load_profile("busy")


@pytest.fixture(scope="session", autouse=True)
def _development_mode_is_for_this_process():
    """What tests start need not inherit it: nobody reads its warnings there, and asyncio's takes a third of the CPU."""
    os.environ.pop("PYTHONDEVMODE", None)


def pytest_ignore_collect(collection_path, config):
    """Few files hold tests that run alone: the others are not even read for them."""
    if config.option.markexpr == "alone" and collection_path.name.startswith("test_") and collection_path.is_file():
        return "mark.alone" not in collection_path.read_text() or None
    return None


def pytest_collection_modifyitems(items):
    """Those that say that they take long begin: otherwise one process ends with them while the others are done."""
    items.sort(key=_patience_s, reverse=True)


def _patience_s(item):
    marker = item.get_closest_marker("timeout")
    return marker.args[0] if marker is not None and marker.args and marker.args[0] > 120 else 0
