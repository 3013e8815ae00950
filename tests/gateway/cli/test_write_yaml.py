"""Blocks added to a file that a person wrote."""

import pytest

from gateway.cli.write_yaml import add_to_file
from gateway.errors import OnpathError

WRITTEN = """\
# the feeder in the cellar
gateway: feeder-7
adapters:
  bus:   # two meters
    type: modbus
    url: 'tcp://10.0.0.5:502'
    devices:
      m1: {unit: 1, profile: eastron-sdm630}   # by the door
"""
BLOCK = {"adapters": {"bus": {"type": "modbus", "devices": {"m2": {"unit": 2, "profile": "sunspec"}}}}}


def test_comments_order_and_quotes_stay(tmp_path):
    file = tmp_path / "onpath.yaml"
    file.write_text(WRITTEN)
    file.chmod(0o640)
    assert add_to_file(file, [BLOCK])
    text = file.read_text()
    for line in WRITTEN.splitlines():
        assert line in text
    assert "m2:" in text
    assert file.stat().st_mode & 0o777 == 0o640
    assert not add_to_file(file, [BLOCK])
    assert file.read_text() == text


def test_a_file_that_is_not_there_is_made(tmp_path):
    assert add_to_file(tmp_path / "new.yaml", [BLOCK, {"adapters": {"bus": {"devices": {"m3": {"unit": 3}}}}}])
    assert "m3:" in (tmp_path / "new.yaml").read_text()


def test_what_stands_there_wins(tmp_path):
    file = tmp_path / "onpath.yaml"
    file.write_text(WRITTEN)
    assert not add_to_file(file, [{"adapters": {"bus": {"devices": {"m1": {"unit": 9}}}}}])
    assert file.read_text() == WRITTEN


@pytest.mark.parametrize("text", ["a: [", "- a\n- b\n", "a: 1\n---\nb: 2\n"])
def test_a_file_that_is_no_mapping_is_left_as_it_is(tmp_path, text):
    file = tmp_path / "onpath.yaml"
    file.write_text(text)
    with pytest.raises(OnpathError, match=r"onpath\.yaml"):
        add_to_file(file, [BLOCK])
    assert file.read_text() == text
