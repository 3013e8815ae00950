"""A test that is wrong stays so."""

import json

import pytest

from tests.support import again

SOME = """
from pathlib import Path

def test_busy():
    seen = Path(__file__).with_name("seen")
    assert seen.exists() or seen.write_text("") is None and False

def test_wrong():
    assert False
"""


@pytest.fixture
def told(tmp_path):
    tests, cache = tmp_path / "test_some.py", tmp_path / "cache"
    tests.write_text(SOME)
    (cache / "v" / "cache").mkdir(parents=True)

    def run(code, *names):
        (cache / "v" / "cache" / "lastfailed").write_text(json.dumps({f"{tests}::{name}": True for name in names}))
        return again.main(code, cache)

    (tmp_path / "seen").write_text("")
    return run


def test_what_failed_beside_others_counts_by_itself(told, capfd):
    assert told(1, "test_busy") == 0
    assert "test_some.py::test_busy" in capfd.readouterr().out
    assert told(1, "test_wrong") == 1
    assert told(1, "test_busy", "test_wrong") == 1


def test_many_failures_and_other_ends_are_not_tried_again(told, capfd):
    assert told(1, "test_busy", "a", "b", "c") == 1
    assert told(2, "test_busy") == 2
    assert told(1) == 1
    assert "once more" not in capfd.readouterr().out
